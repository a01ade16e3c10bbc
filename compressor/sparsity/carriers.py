"""Which entries carry a unit: those that a method scores, masks or gates while it trains."""

from torch import nn

from compressor.couplings.coupling import Coupling, Member

CHANNEL_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
"""Norms whose statistics are those of each channel alone."""


def makers(coupling: Coupling) -> tuple[Member, ...]:
    """All members that make what a unit gives: filters, biases, scales and shifts."""
    return coupling.of_kind("filter", "bias", "scale", "shift")


def carriers(coupling: Coupling, model: nn.Module) -> tuple[Member, ...]:
    """The members that are zero when a unit gives nothing.

    Scales and shifts of its norms, where it has as many scales as producing layers and no norm
    mixes it with other units; else all that makes it. A residual stream that a layer reads beside
    its norms still gives that layer what comes before them.
    """
    filters, scales = coupling.of_kind("filter"), coupling.of_kind("scale")
    if len(scales) >= len(filters) > 0 and not is_mixed(coupling, model):
        return coupling.of_kind("scale", "shift")
    return makers(coupling)


def is_mixed(coupling: Coupling, model: nn.Module) -> bool:
    """Whether a norm takes statistics over several units of the coupling, as layer norms do."""
    norms = (scale.tensor.rpartition(".")[0] for scale in coupling.of_kind("scale"))
    if not all(isinstance(model.get_submodule(name), CHANNEL_NORMS) for name in norms):
        return True
    return _meets_nameless_norm(coupling, model)


def _meets_nameless_norm(coupling: Coupling, model: nn.Module) -> bool:
    """Whether the network has a norm as wide as the coupling that mixes channels without scales.

    No member names such a norm, so its width has to do.
    """
    widths = {member.index.numel() for member in coupling.of_kind("filter")}
    for layer in model.modules():
        if isinstance(layer, nn.GroupNorm):
            mixed, is_nameless = {layer.num_channels}, not layer.affine
        elif isinstance(layer, nn.LayerNorm | nn.RMSNorm):
            mixed, is_nameless = {*layer.normalized_shape}, not layer.elementwise_affine
        else:
            continue
        if is_nameless and widths & mixed:
            return True
    return False

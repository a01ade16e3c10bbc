"""A trained network, and what a method says of it -> a slim one with its proof."""

from dataclasses import dataclass

from torch import Tensor, nn

from compressor.api.given import counts_of, read
from compressor.count import layer_macs
from compressor.couplings.coupling import Couplings
from compressor.errors import BudgetError, RecipeError
from compressor.package.description import Counts
from compressor.sparsity.base import Sparsifier
from compressor.stages.weight_level import live_support, slim_masks, zero_outside_
from compressor.strip.apply import apply
from compressor.strip.budget import solve
from compressor.strip.certificate import Certificate, certify
from compressor.strip.cost import Cost
from compressor.strip.plan import StripPlan, make_plan
from compressor.strip.settings import StripSettings
from compressor.structure import Structure

OF_COUPLINGS = frozenset({"engine", "heads", "depth", "keep", "freeze"})
OF_A_RUN = frozenset({"keep_latency", "latency_ms", "at_epoch"})
"""Settings of stripping that act before it, and those that need what a run has measured."""

OF_CHOICES = frozenset({"floor_share", "round_to", "order", "widths"})
"""Settings by which units are chosen; a structure has chosen already."""


@dataclass(frozen=True)
class Stripped:
    """A network that has been cut, and what there is to say of it.

    Attributes:
        network: The slim network, a copy; train it on.
        certificate: The figures of stripped against masked, held against their bounds already.
        structure: Units that stayed.
        plan: The cuts; ``compressor.apply(plan, model)`` makes the same of a network of full width.
        dense: Size of the network before, its MACs for one image.
        masks: Single weights of the slim network that stay, where the method keeps such; attach
            ``compressor.Held(masks)`` to hold the others at zero. Else None.
    """

    network: nn.Module
    certificate: Certificate
    structure: Structure
    plan: StripPlan
    dense: Counts
    masks: Structure | None = None


def strip_network(
    model: nn.Module,
    couplings: Couplings,
    kept: Sparsifier | Structure,
    images: Tensor,
    keep_macs: float | None = None,
    settings: StripSettings | None = None,
) -> Stripped:
    """Remove units of ``model`` physically, and prove it on ``images``; the model is not touched.

    Norm statistics of the result are those of the full network: ``compressor.reestimate_norms``
    takes new ones, and some tuning brings the accuracy back.

    >>> import torch, compressor
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3), nn.Flatten())
    >>> images = torch.randn(4, 1, 8, 8)
    >>> couplings = compressor.find_couplings(net, images, "index-flow")
    >>> kept = compressor.Structure({"0": torch.arange(8) < 5})
    >>> stripped = compressor.strip_network(net, couplings, kept, images)
    >>> stripped.network[0].out_channels, stripped.network[2].in_channels
    (5, 5)
    >>> stripped.certificate.max_rel_diff_fp32 < 1e-5
    True

    Args:
        model: The trained network; a method that was attached to it is detached.
        couplings: Those of ``find_couplings`` that the method was attached with.
        kept: A method, whose path fills a budget and whose structure is kept without one; or a
            structure of units, which is kept as it is.
        images: Inputs as the network takes them, shape ``(images, ...)``, at least 2 that differ,
            where the network is.
        keep_macs: Share of the MACs that stays, in (0, 1]; other budgets stand in ``settings``.
        settings: As in ``[strip]``: budget, floors, rounding of widths. By default every coupling
            keeps a tenth, and widths are multiples of 8, of couplings with fewer channels of 4.

    Raises:
        StructureError: The structure is not one of these couplings.
        BudgetError: The budget cannot be met, or is one for recipes.
        RecipeError: A setting that does not act here, or two budgets, be they equal.
        CheckError: The stripped network is not the masked one.
    """
    asked, masks = _asked(keep_macs, settings, kept), None
    if isinstance(kept, Structure):
        structure = kept
    else:
        path, support = kept.path(), kept.structure()
        if support.granularity != "channel":
            masks, support = support, live_support(couplings, support, path)
        cost = Cost.of(model, couplings, layer_macs(model, images))
        structure = solve(couplings, cost, path, support, asked)
    certificate = certify(model, couplings, structure, [images], statistics=asked.statistics)
    certificate.check()
    plan = make_plan(model, couplings, structure)
    slim = apply(plan, model)
    if masks is not None:
        masks = slim_masks(plan, model, slim, masks)
        zero_outside_(slim, masks)
    return Stripped(slim, certificate, structure, plan, counts_of(model, images), masks)


def _asked(
    keep_macs: float | None, settings: StripSettings | None, kept: Sparsifier | Structure
) -> StripSettings:
    """The settings of a cut, all of which act.

    Raises:
        BudgetError: A budget in time or epochs.
        RecipeError: Two budgets, one for a structure, or a setting of another place.
    """
    given = {} if settings is None else settings.model_dump(exclude_unset=True)
    if keep_macs is not None:
        if given.get("keep_macs") is not None:
            raise RecipeError(
                f"keep_macs = {keep_macs:g} and keep_macs = {given['keep_macs']:g} in the settings "
                "are two budgets. Give one."
            )
        given["keep_macs"] = keep_macs
    if foreign := sorted(given.keys() & OF_A_RUN):
        raise BudgetError(
            f"{foreign[0]} needs what a run measures. Give keep_macs or keep_params, or write a "
            "recipe."
        )
    if foreign := sorted(given.keys() & OF_COUPLINGS):
        raise RecipeError(
            f"{foreign[0]} acts where couplings are found, not where they are cut. Give it to "
            "find_couplings, or freeze couplings with couplings.freeze."
        )
    if given.get("round_to") == "auto":
        raise RecipeError('round_to = "auto" needs a target. Give a number, or write a recipe.')
    asked = read(StripSettings, "strip settings", given)
    if isinstance(kept, Structure) and asked.budget():
        raise RecipeError(
            "A structure is kept as it is, and a budget chooses another. Give the method for the "
            "budget, or the structure alone."
        )
    if isinstance(kept, Structure) and (idle := sorted(given.keys() & OF_CHOICES)):
        raise RecipeError(
            f"A structure is kept as it is, so {' and '.join(idle)} would change nothing. Leave it "
            "out, or give the method in place of the structure."
        )
    return asked

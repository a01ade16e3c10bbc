"""A network and its images -> what can be removed, what cannot and why, and whether it exports.

A minute is meant to be enough: couplings are traced and tried on small images where the network
runs on them, and the trial export gets the time that is left.
"""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.count import WEIGHTED, layer_macs
from compressor.couplings.coupling import Agreement, Coupling, Couplings, Engine
from compressor.errors import BudgetError, CompressorError, CouplingError, ModelError
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.inspection.records import (
    ExportTrial,
    Held,
    ImageShape,
    Inspection,
    Outlook,
    Share,
    Unreached,
)
from compressor.strip.budget import Cost, StripSettings, removed_units, solve
from compressor.strip.find import find_couplings
from compressor.strip.trial import FORWARD_FAILURES
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.time_limit import TimeOver, within

SECONDS = 60.0
"""Default time for everything."""
TRACE_SHARE = 0.75
"""Share of the time that tracing may take."""
MIN_EXPORT_SECONDS = 10.0
"""The trial export gets this much also where nothing is left."""

SMALL_SIDE = 64
"""Couplings do not depend on the size of the images, and 64 pixels are soon computed."""
SIDE_MULTIPLE = 32
"""Sides of small images are multiples of this, the total stride of most networks."""

BUDGETS = (0.5, 0.25)
"""Shares of the MACs whose outlook is given."""
NARROWEST = 3
"""How many of the narrowest couplings an outlook names."""

EXPORTER = "torch.onnx"


def inspect_model(
    model: nn.Module,
    example: Tensor,
    engine: Engine = "both",
    *,
    seconds: float = SECONDS,
    say: Callable[[str], None] = lambda _line: None,
) -> Inspection:
    """What can be removed from ``model``, what cannot and why, and whether it exports.

    Args:
        model: Takes one batch of images and gives one tensor; left as it is.
        example: Two images that differ, shape ``(2, channels, height, width)``.
        engine: What finds the couplings.
        seconds: Time for everything; trace and export are stopped when their part of it is over.
        say: Told what is being done.

    Raises:
        ModelError: The network does not run on such images.
        CouplingError: Its couplings cannot be found; see ``couplings.trace``.
    """
    started = time.monotonic()
    macs = _macs(model, example)
    small = small_images(model, example)
    say(f"tracing and trying the couplings on images of {_words(small)}")
    couplings = _couplings(model, small, engine, seconds * TRACE_SHARE)
    cost = Cost.of(model, couplings, macs)
    missed = _missed(cost)
    outlooks = tuple(outlook(couplings, cost, keep_macs) for keep_macs in BUDGETS)
    say(f"trying the ONNX export for images of {_words(example)}")
    left = seconds - (time.monotonic() - started)
    export = try_export(model, _shape(example), max(left, MIN_EXPORT_SECONDS))
    return Inspection(
        image_shape=_shape(example),
        traced_shape=_shape(small),
        macs=sum(macs.values()),
        params=sum(parameter.numel() for parameter in model.parameters()),
        couplings=tuple(_share(cost, coupling) for coupling in couplings.free),
        frozen=tuple(
            Held(held.name, held.num_units, held.reason, missed.get(held.name, 0.0))
            for held in couplings.frozen
        ),
        unreached=_unreached(model, couplings, missed, macs),
        unreached_share=sum(missed.values()),
        outlooks=outlooks,
        export=export,
        form=couplings.form,
        second_engine=_in_words(couplings.agreement),
        unknown_operators=dict(couplings.program.unknown) if couplings.program else {},
    )


def _in_words(agreement: Agreement | None) -> str:
    if agreement is None or not agreement.note and len(agreement.engines) < 2:
        return "not asked"
    if agreement.note:
        return f"gives no answer: {agreement.note.rstrip('.')}"
    refuted = f", {len(agreement.refuted)} refuted by cutting" if agreement.refuted else ""
    return f"agrees on {agreement.same} couplings{refuted}"


def _couplings(model: nn.Module, example: Tensor, engine: Engine, seconds: float) -> Couplings:
    """The final couplings, each of them tried; the one place that says how they are found."""
    try:
        return within(
            seconds, lambda: find_couplings(model, example, engine, check_seconds=seconds / 4)
        )
    except TimeOver as over:
        raise CouplingError(
            f"Tracing and trying the couplings took more than {seconds:g} s and was stopped. "
            "Give smaller images (--input-shape), or use a smaller network of the family."
        ) from over


def _macs(model: nn.Module, example: Tensor) -> dict[str, int]:
    try:
        return layer_macs(model, example)
    except FORWARD_FAILURES as failure:
        raise ModelError(
            f"{type(model).__name__} does not run on one batch of images of {_words(example)}: "
            f"{_first_line(failure)}. Give the shape of its images (--input-shape), and a network "
            "that takes one tensor."
        ) from failure


@torch.no_grad()
def small_images(model: nn.Module, example: Tensor) -> Tensor:
    """Smaller images of about the same proportions, or ``example`` if the network refuses them.

    Args:
        model: The network, which runs in evaluation mode and is left as it is.
        example: Shape ``(images, channels, height, width)``.
    """
    scale = SMALL_SIDE / min(example.shape[2:])
    if scale >= 1:
        return example
    height, width = (
        SIDE_MULTIPLE * math.ceil(scale * s / SIDE_MULTIPLE) for s in example.shape[2:]
    )
    small = example[:, :, :height, :width].contiguous()
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()(small)
    except FORWARD_FAILURES:
        return example
    finally:
        for module, mode in modes.items():
            module.training = mode
    return small


def _share(cost: Cost, coupling: Coupling) -> Share:
    removed = {coupling.name: coupling.num_units - 1}
    return Share(
        name=coupling.name,
        units=coupling.num_units,
        tensors=tuple(dict.fromkeys(member.tensor for member in coupling.members)),
        macs_share=_part(cost.macs({}) - cost.macs(removed), cost.macs({})),
        params_share=_part(cost.params({}) - cost.params(removed), cost.params({})),
    )


def _part(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _missed(cost: Cost) -> dict[str, float]:
    """Share of the parameters that no free coupling cuts, by the layer that owns them."""
    shares: dict[str, float] = {}
    for name, shape in cost.shapes.items():
        if name not in cost.cut_axes:
            owner = name.rpartition(".")[0]
            shares[owner] = shares.get(owner, 0.0) + _part(math.prod(shape), cost.params({}))
    return shares


def _unreached(
    model: nn.Module, couplings: Couplings, missed: dict[str, float], macs: dict[str, int]
) -> tuple[Unreached, ...]:
    frozen = {held.name for held in couplings.frozen}
    return tuple(
        Unreached(name, type(model.get_submodule(name)).__name__, reason, share)
        for name, share in missed.items()
        if name not in frozen
        for reason in [_why_unreached(model.get_submodule(name), name in macs)]
    )


def _why_unreached(layer: nn.Module, has_macs: bool) -> str:
    if isinstance(layer, WEIGHTED) and not has_macs:
        return "never used by the forward pass"
    return "only in couplings that are kept whole, or in none"


def thinned(couplings: Couplings, cost: Cost, keep_macs: float) -> Structure:
    """The structure of ``keep_macs`` if every coupling is thinned evenly, other settings as usual.

    Raises:
        BudgetError: Widths do not allow it.
    """
    # Scores fall alike from 1 to 0 in all couplings; equal ones would fill the first to the brim.
    scores = {
        coupling.name: 1 - (torch.arange(coupling.num_units) + 0.5) / coupling.num_units
        for coupling in couplings.free
    }
    path, settings = UnitsPath.of_scores("even", scores), StripSettings(keep_macs=keep_macs)
    return solve(couplings, cost, path, couplings.everything(), settings)


def outlook(couplings: Couplings, cost: Cost, keep_macs: float) -> Outlook:
    """What ``keep_macs`` leaves if every coupling is thinned evenly, other settings as usual."""
    try:
        structure = thinned(couplings, cost, keep_macs)
    except BudgetError as failure:
        return Outlook(keep_macs, None, None, (), str(failure))
    removed = removed_units(structure)
    widths = [(kept, name) for name, kept in structure.widths().items()]
    units = {coupling.name: coupling.num_units for coupling in couplings.free}
    return Outlook(
        keep_macs,
        macs_share=cost.macs(removed) / cost.macs({}),
        params_share=cost.params(removed) / cost.params({}),
        narrowest=tuple((name, kept, units[name]) for kept, name in sorted(widths)[:NARROWEST]),
        failure=None,
    )


def try_export(model: nn.Module, image_shape: ImageShape, seconds: float) -> ExportTrial:
    """How the export of ``model`` to ONNX goes; a failure is part of the answer."""
    settings, started = ExportSettings(), time.monotonic()
    failure, num_bytes, exporter = None, None, EXPORTER
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.onnx"
        try:
            how = within(seconds, lambda: export_onnx(model, image_shape, path, settings))
            exporter = f"{EXPORTER}, {how.exporter}"
            num_bytes = path.stat().st_size
        except TimeOver:
            failure = (
                f"It was stopped after {round(seconds, 1):g} s. In a run it may take its time."
            )
        except (CompressorError, *FORWARD_FAILURES) as fault:
            failure = _first_line(fault)
    elapsed = time.monotonic() - started
    return ExportTrial(exporter, settings.opset, elapsed, num_bytes, failure)


def _first_line(failure: Exception) -> str:
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0]


def _shape(images: Tensor) -> ImageShape:
    channels, height, width = images.shape[1:]
    return channels, height, width


def _words(images: Tensor) -> str:
    return " x ".join(map(str, images.shape[1:]))

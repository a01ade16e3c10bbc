"""Plans opened: after their sidecar was compared, and never without a GPU.

A version-compatible plan holds code that opening it runs. Open only plans that you built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.errors import CheckError, ModelError
from compressor.memory import no_collection
from compressor.tensorrt.inspector import UNKNOWN, PlanLayer, read_layers
from compressor.tensorrt.messages import Messages, advice, make_logger, one_line
from compressor.tensorrt.module import Kit, check_device, cuda_build, make
from compressor.tensorrt.serialise import Order
from compressor.tensorrt.settings import BuildSettings
from compressor.tensorrt.sidecar import (
    Here,
    Shapes,
    Sidecar,
    check_sidecar,
    check_source,
    read_sidecar,
)


@dataclass(frozen=True)
class OpenPlan:
    """A plan in memory.

    Attributes:
        engine: The engine's object of it.
        runtime: What made the engine; it has to live as long.
        logger: What both of them write to; the same.
    """

    engine: Any
    runtime: Any
    logger: Any


@dataclass(frozen=True)
class Inspected:
    """Layers of a plan, or why they are not known: one of the two is ``None``."""

    layers: tuple[PlanLayer, ...] | None
    reason: str | None


def load_plan(kit: Kit, plan: Path, onnx: Path | None = None) -> tuple[OpenPlan, Sidecar]:
    """A plan that fits this engine and this GPU.

    Args:
        kit: The engine.
        plan: The plan, its sidecar beside it.
        onnx: The file that it should have been built from, if that matters.

    Raises:
        ModelError: There is no GPU, the plan is for another engine, release or GPU, comes from
            another file, or cannot be opened.
    """
    check_device(kit)
    sidecar = read_sidecar(plan)
    check_sidecar(plan, sidecar, here(kit))
    if onnx is not None:
        check_source(plan, sidecar, onnx)
    return open_plan(kit, plan, plan.read_bytes(), sidecar.settings), sidecar


# As in ``serialise``: nothing of the engine may be freed while it calls the logger.
@no_collection()
def open_plan(kit: Kit, plan: Path, serialised: bytes, settings: BuildSettings) -> OpenPlan:
    """The engine of a plan's bytes.

    Args:
        kit: The engine; a GPU is known to be there.
        plan: What to call the plan.
        serialised: Its bytes.
        settings: Those it was built with.

    Raises:
        ModelError: The engine does not open it.
    """
    messages = Messages()
    logger = make_logger(kit.trt, messages)
    runtime = make(kit.trt.Runtime, logger, kit)
    if settings.version_compatible:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(serialised)
    if engine is None:
        told = "; ".join(dict.fromkeys(map(one_line, messages.errors))) or "it gave no reason"
        everything = "\n".join(messages.errors)
        raise ModelError(
            f"{plan}: {kit.flavour} {kit.version} cannot open it ({told}). {advice(everything)}"
        )
    return OpenPlan(engine, runtime, logger)


def inspect_plan(kit: Kit, plan: Path, serialised: bytes, order: Order) -> Inspected:
    """The layers of a plan, read back from the engine where there is a GPU.

    Layers whose types the engine does not show are not known: a gate could say nothing of them.

    Args:
        kit: The engine.
        plan: What to call the plan.
        serialised: Its bytes.
        order: What was built.

    Raises:
        ModelError: TensorRT does not open what it built on this GPU.
    """
    if not kit.cuda.is_available():
        return Inspected(None, "there was no CUDA device to open the plan on")
    try:
        opened = open_plan(kit, plan, serialised, order.settings)
    except ModelError as error:
        if kit.flavour == "tensorrt":
            raise
        # TensorRT-RTX builds for other GPUs as well, and this one need not be among them.
        return Inspected(None, str(error))
    try:
        text = layer_information(kit, plan, opened.engine, order.shapes)
        layers = read_layers(text, str(plan), order.graph.product_nodes())
        check_typed(plan, layers)
    except CheckError as error:
        return Inspected(None, str(error))
    return Inspected(layers, None)


@no_collection()
def layer_information(kit: Kit, plan: Path, engine: Any, shapes: Mapping[str, Shapes]) -> str:
    """What the engine's inspector says of a plan, with the inputs at their best sizes.

    Without sizes it shows no types where any of them is free.

    Raises:
        CheckError: There is no memory to run the plan, or it does not take these sizes.
    """
    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context()
    if context is None:
        raise CheckError(
            f"{plan}: there is no memory left to look into it. Free some of the GPU's."
        )
    for name, sizes in shapes.items():
        if not context.set_input_shape(name, sizes.opt):
            raise CheckError(
                f"{plan} does not take {name} of {list(sizes.opt)}, its own best sizes, and its "
                "precision cannot be checked. Build it with another batch."
            )
    inspector.execution_context = context
    return str(inspector.get_engine_information(kit.trt.LayerInformationFormat.JSON))


def check_typed(plan: Path, layers: Sequence[PlanLayer]) -> None:
    """Refuse layers of which nothing can be said.

    Raises:
        CheckError: The engine shows the type of no product.
    """
    products = [layer for layer in layers if layer.is_product]
    if products and all(layer.precision == UNKNOWN for layer in products):
        raise CheckError(
            f"{plan}: the engine does not show in which types its layers compute, and its "
            "precision cannot be checked. Build it for one batch size, or without a gate."
        )


def here(kit: Kit) -> Here:
    """Engine and GPU of this machine."""
    gpu = kit.cuda.gpu() if kit.cuda.is_available() else None
    return Here(
        flavour=kit.flavour, version=kit.version, cuda_build=cuda_build(kit.flavour), gpu=gpu
    )

"""An ONNX file -> a plan and its sidecar, both proved to be what was asked for."""

from pathlib import Path

from compressor.engines import GpuEngine
from compressor.errors import CheckError, ModelError
from compressor.file_profile import UNKNOWN, check_profile, read_profile
from compressor.files import sha256, whole_file
from compressor.tensorrt.graph import read_graph
from compressor.tensorrt.load import Inspected, here, inspect_plan
from compressor.tensorrt.messages import Messages, one_line
from compressor.tensorrt.module import Kit, check_device
from compressor.tensorrt.precision import check_graph, check_plan, plan_precisions
from compressor.tensorrt.profile import input_shapes
from compressor.tensorrt.serialise import Order, serialise
from compressor.tensorrt.settings import BuilderSettings, BuildSettings
from compressor.tensorrt.sidecar import Sidecar, sidecar_path, write_sidecar
from compressor.tensorrt.sparse import check_eligible, report_of_build

SHOWN_WARNINGS = 20


def build_plan(kit: Kit, onnx: Path, plan: Path, settings: BuildSettings) -> Sidecar:
    """Build ``onnx`` into ``plan`` and write the sidecar beside it; on failure neither is written.

    Args:
        kit: The engine. TensorRT needs a GPU; TensorRT-RTX builds without one, and the plan is
            then not read back.
        onnx: The file; its types are the precision.
        plan: Where the plan goes.
        settings: How to build.

    Returns:
        What the sidecar says.

    Raises:
        ModelError: The file cannot be built with these settings here.
        CheckError: Fewer layers than ``settings.gate`` asks for are at its precision, in the file
            or in the plan.
    """
    order = plan_order(kit, onnx, settings)
    if kit.flavour == "tensorrt":
        check_device(kit)
    messages = Messages()
    serialised = serialise(kit, order, messages)
    inspected = inspect_plan(kit, plan, serialised, order)
    check_gate(kit, plan, inspected, settings)
    # An old sidecar must never stand beside a new plan, not even for an instant.
    sidecar_path(plan).unlink(missing_ok=True)
    with whole_file(plan) as temporary:
        temporary.write_bytes(serialised)
    sidecar = describe(kit, order, plan, inspected, messages)
    write_sidecar(plan, sidecar)
    return sidecar


def check_gate(kit: Kit, plan: Path, inspected: Inspected, settings: BuildSettings) -> None:
    """Hold the plan against the gate. TensorRT-RTX chooses at load, and may have nothing to show.

    Raises:
        CheckError: Too few layers run at the precision that was meant, or TensorRT shows none.
    """
    if settings.gate is None:
        return
    if inspected.layers is not None:
        check_plan(str(plan), inspected.layers, settings.gate)
    elif kit.flavour == "tensorrt":
        raise CheckError(str(inspected.reason))


def plan_order(kit: Kit, onnx: Path, settings: BuildSettings) -> Order:
    """All that can be refused before the engine is asked.

    Raises:
        ModelError, CheckError: See ``build_plan``.
    """
    check_flavour(kit.flavour, settings)
    graph = read_graph(onnx)
    check_profile(onnx, kit.flavour)
    shapes = input_shapes(graph, settings.batch)
    if settings.gate is not None:
        check_graph(graph, settings.gate)
    return Order(
        graph, settings, shapes, check_eligible(graph) if settings.sparse_weights else None
    )


def check_flavour(flavour: GpuEngine, settings: BuilderSettings) -> None:
    """Refuse a setting that the engine would pass over in silence.

    Raises:
        ModelError: Names it.
    """
    if flavour == "tensorrt" and settings.compute_capabilities:
        raise ModelError(
            f"compute_capabilities is {', '.join(settings.compute_capabilities)}, and TensorRT "
            "builds for the GPU at hand. Leave it out, or build with tensorrt-rtx."
        )
    if flavour == "tensorrt-rtx":
        check_untimed(settings)


def check_untimed(settings: BuilderSettings) -> None:
    """Refuse what TensorRT-RTX, which times nothing while it builds, would pass over.

    Raises:
        ModelError: Names it.
    """
    if settings.hardware_compatible != "none":
        raise ModelError(
            f"hardware_compatible is {settings.hardware_compatible}, and TensorRT-RTX knows no "
            "such thing: its plans run on Ampere and later. Leave it out."
        )
    for name in ("timing_cache", "avg_timing_iterations"):
        if (value := getattr(settings, name)) is not None:
            raise ModelError(
                f"{name} is {value}, and TensorRT-RTX times nothing while it builds. Leave it out."
            )


def describe(
    kit: Kit, order: Order, plan: Path, inspected: Inspected, messages: Messages
) -> Sidecar:
    """The sidecar of a plan that was just written."""
    layers = inspected.layers
    profile = read_profile(order.graph.path).name
    sparse = order.sparse
    if sparse is not None:
        sparse = report_of_build(sparse, layers, messages.sparsity)
    return Sidecar(
        built_with=here(kit),
        settings=order.settings,
        plan_sha256=sha256(plan),
        onnx_name=order.graph.path.name,
        onnx_sha256=sha256(order.graph.path),
        onnx_profile=None if profile == UNKNOWN else profile,
        onnx_precisions=order.graph.precisions(),
        shapes=order.shapes,
        sparse=sparse,
        precisions=None if layers is None else plan_precisions(layers),
        not_inspected=inspected.reason,
        warnings=tuple(dict.fromkeys(map(one_line, messages.warnings)))[:SHOWN_WARNINGS],
    )

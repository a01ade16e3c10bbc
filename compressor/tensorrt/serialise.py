"""The build itself: an ONNX file through parser, configuration and builder to a plan's bytes.

One strongly typed way for all releases, read off the bindings of 10.12 to 11.4 and of TensorRT-RTX
1.7; ``names.py`` lists every name used.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.errors import ModelError
from compressor.memory import no_collection
from compressor.tensorrt.graph import OnnxGraph
from compressor.tensorrt.messages import Messages, advice, make_logger, one_line
from compressor.tensorrt.module import Kit, make
from compressor.tensorrt.settings import BuildSettings
from compressor.tensorrt.sidecar import Shapes
from compressor.tensorrt.sparse import SparseReport
from compressor.tensorrt.timing_cache import attach_cache, keep_cache

HARDWARE_LEVELS = {
    "none": "NONE",
    "ampere-plus": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}


AVG_TIMING_ITERATIONS = 8  # the default of NVIDIA's command line tool


@dataclass(frozen=True)
class Order:
    """What is to be built.

    Attributes:
        graph: The file, as read.
        settings: How.
        shapes: Input -> sizes it may take.
        sparse: Layers that may run sparse; ``None`` if that is not asked for.
    """

    graph: OnnxGraph
    settings: BuildSettings
    shapes: dict[str, Shapes]
    sparse: SparseReport | None


# An older builder or logger that the collector frees inside the engine's call of the logger waits
# for a lock that the engine holds.
@no_collection()
def serialise(kit: Kit, order: Order, messages: Messages) -> bytes:
    """The plan's bytes.

    Raises:
        ModelError: The engine cannot read or cannot build the file.
    """
    trt = kit.trt
    # The logger and the network have to live until the build is over: the engine keeps pointers.
    logger = make_logger(trt, messages)
    builder = make(trt.Builder, logger, kit)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parse(kit, network, logger, order.graph.path)
    config = configure(kit, builder, order.settings)
    add_profile(builder, config, order)
    cache = order.settings.timing_cache
    attached = attach_cache(config, Path(cache)) if cache is not None else None
    host = builder.build_serialized_network(network, config)
    if host is None:
        told = "; ".join(dict.fromkeys(map(one_line, messages.errors))) or "it gave no reason"
        everything = "\n".join(messages.errors)
        raise ModelError(
            f"{order.graph.path}: {kit.flavour} {kit.version} cannot build it ({told}). "
            f"{advice(everything)}"
        )
    if cache is not None:
        keep_cache(config, Path(cache))
    del attached
    return bytes(host)


def parse(kit: Kit, network: Any, logger: Any, path: Path) -> None:
    """Read the file into ``network``.

    Raises:
        ModelError: Names each node that the engine cannot read, and what to do about the first.
    """
    parser = kit.trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(path)):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = [
        f"{error.node_name() or 'the file'} ({error.node_operator() or 'no operator'}): "
        f"{one_line(error.desc())}"
        for error in errors
    ]
    text = "\n".join(error.desc() for error in errors)
    raise ModelError(
        f"{path}: {kit.flavour} {kit.version} cannot read {'; '.join(told) or 'it'}. {advice(text)}"
    )


def configure(kit: Kit, builder: Any, settings: BuildSettings) -> Any:
    """The settings as the engine takes them."""
    trt = kit.trt
    config = builder.create_builder_config()
    if settings.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    config.builder_optimization_level = settings.optimization_level
    if kit.flavour == "tensorrt":
        config.avg_timing_iterations = settings.avg_timing_iterations or AVG_TIMING_ITERATIONS
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    asked = {
        "SPARSE_WEIGHTS": settings.sparse_weights,
        "VERSION_COMPATIBLE": settings.version_compatible,
        "REFIT": settings.refit,
    }
    for name in (name for name, is_asked in asked.items() if is_asked):
        config.set_flag(getattr(trt.BuilderFlag, name))
    if settings.hardware_compatible != "none":
        level = HARDWARE_LEVELS[settings.hardware_compatible]
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
    choose_targets(trt, config, settings)
    return config


def choose_targets(trt: Any, config: Any, settings: BuildSettings) -> None:
    """Name the GPUs to build for; only TensorRT-RTX can.

    Raises:
        ModelError: This release does not take one of them.
    """
    wanted = settings.compute_capabilities
    if not wanted:
        return
    config.num_compute_capabilities = len(wanted)
    for index, name in enumerate(wanted):
        target = getattr(trt.ComputeCapability, name, None)
        if target is None or not config.set_compute_capability(target, index):
            raise ModelError(
                f"compute_capabilities: this release cannot build for {name}. Leave it out."
            )


def add_profile(builder: Any, config: Any, order: Order) -> None:
    """Tell the builder which sizes the inputs may take, where any is free.

    Raises:
        ModelError: The engine does not take them.
    """
    free = {
        name: order.shapes[name] for name, sizes in order.graph.inputs.items() if is_free(sizes)
    }
    if not free:
        return
    profile = builder.create_optimization_profile()
    for name, shapes in free.items():
        profile.set_shape(name, shapes.min, shapes.opt, shapes.max)
    if not profile or config.add_optimization_profile(profile) < 0:
        raise ModelError(
            f"{order.graph.path}: the engine does not take batches of {order.settings.batch}. "
            "Set batch to sizes that the network can run."
        )


def is_free(sizes: tuple[Any, ...]) -> bool:
    """Whether any size of an input is free."""
    return not all(isinstance(size, int) for size in sizes)

"""Every name of the engine's module that this package uses, and the arguments it gives.

Releases add and remove names: 11.0 dropped all flags of precision. A feature is known by its name
being there, never by the text of a version. The lists are held against the bindings of several
releases, and the package's own code against the lists.
"""

from collections.abc import Iterator
from typing import Any

METHODS: dict[str, dict[str, tuple[str, ...]]] = {
    "Builder": {
        "__init__": ("logger",),
        "create_network": ("flags",),
        "create_builder_config": (),
        "create_optimization_profile": (),
        "build_serialized_network": ("network", "config"),
    },
    "OnnxParser": {
        "__init__": ("network", "logger"),
        "parse_from_file": ("model",),
        "get_error": ("index",),
    },
    "ParserError": {"desc": (), "node_name": (), "node_operator": ()},
    "IBuilderConfig": {
        "set_memory_pool_limit": ("pool", "pool_size"),
        "set_flag": ("flag",),
        "clear_flag": ("flag",),
        "add_optimization_profile": ("profile",),
        "create_timing_cache": ("serialized_timing_cache",),
        "set_timing_cache": ("cache", "ignore_mismatch"),
        "get_timing_cache": (),
    },
    "IOptimizationProfile": {"set_shape": ("input", "min", "opt", "max"), "__bool__": ()},
    "ITimingCache": {"serialize": ()},
    "Runtime": {"__init__": ("logger",), "deserialize_cuda_engine": ("serialized_engine",)},
    "ICudaEngine": {
        "get_tensor_name": ("index",),
        "get_tensor_mode": ("name",),
        "get_tensor_dtype": ("name",),
        "get_tensor_profile_shape": ("name", "profile_index"),
        "create_engine_inspector": (),
        "create_execution_context": (),
    },
    "EngineInspector": {"get_engine_information": ("format",)},
    "IProfiler": {"__init__": (), "report_layer_time": ("layer_name", "ms")},
    "IExecutionContext": {
        "set_input_shape": ("name", "shape"),
        "infer_shapes": (),
        "get_tensor_shape": ("name",),
        "set_tensor_address": ("name", "memory"),
        "execute_async_v3": ("stream_handle",),
        "report_to_profiler": (),
    },
}
"""Class -> method -> names of the arguments that are given, in order."""

PROPERTIES: dict[str, tuple[str, ...]] = {
    "OnnxParser": ("num_errors",),
    "IBuilderConfig": (
        "builder_optimization_level",
        "avg_timing_iterations",
        "profiling_verbosity",
        "hardware_compatibility_level",
    ),
    "Runtime": ("engine_host_code_allowed",),
    "ICudaEngine": ("num_io_tensors",),
    "EngineInspector": ("execution_context",),
    "IExecutionContext": ("profiler", "enqueue_emits_profile"),
}
"""Class -> properties."""

MEMBERS: dict[str, tuple[str, ...]] = {
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "BuilderFlag": ("TF32", "SPARSE_WEIGHTS", "VERSION_COMPATIBLE", "REFIT"),
    "MemoryPoolType": ("WORKSPACE",),
    "ProfilingVerbosity": ("DETAILED",),
    "HardwareCompatibilityLevel": ("NONE", "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"),
    "LayerInformationFormat": ("JSON",),
    "TensorIOMode": ("INPUT", "OUTPUT"),
    "DataType": ("FLOAT", "HALF", "BF16", "INT8", "INT32", "INT64", "BOOL", "UINT8", "FP8"),
}
"""Enum -> members."""

OTHERS = ("ILogger", "__version__")
"""Names that stand for themselves."""

RTX_METHODS: dict[str, dict[str, tuple[str, ...]]] = {
    "IBuilderConfig": {"set_compute_capability": ("compute_capability", "index")},
}
"""Methods that only TensorRT-RTX has."""

RTX_PROPERTIES: dict[str, tuple[str, ...]] = {"IBuilderConfig": ("num_compute_capabilities",)}
"""Properties that only TensorRT-RTX has."""

RTX_MEMBERS: dict[str, tuple[str, ...]] = {
    "ComputeCapability": ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121"),
}
"""Enum members that only TensorRT-RTX has."""


def missing_names(trt: Any) -> list[str]:
    """Names of the lists that the module ``trt`` has not, those of TensorRT-RTX left out."""
    return [name for name in used_names() if not has_name(trt, name)]


def used_names() -> Iterator[str]:
    """All names that both engines must have, as ``Class.name``, or alone."""
    yield from OTHERS
    for owners in (METHODS, PROPERTIES, MEMBERS):
        for owner, names in owners.items():
            yield from (f"{owner}.{name}" for name in names)


def has_name(trt: Any, path: str) -> bool:
    """Whether ``trt`` has what the dotted ``path`` says."""
    for name in path.split("."):
        if not hasattr(trt, name):
            return False
        trt = getattr(trt, name)
    return True

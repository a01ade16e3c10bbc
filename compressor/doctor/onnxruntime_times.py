"""What each kernel of ONNX files takes, by ONNX Runtime's own profiler."""

import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from compressor.bench.finite import check_finite
from compressor.bench.onnxruntime_runner import CPU_PROVIDER, open_session, session_options
from compressor.bench.runner import import_engine
from compressor.bench.stopwatch import Stopwatch
from compressor.doctor.graphs import Exported, replaced
from compressor.doctor.kernels import Images, Kernel, KernelTimes
from compressor.files import read_json
from compressor.memory import no_collection
from compressor.onnx_graph import load_onnx, onnx_module

WARM_RUNS = 2
"""Runs of each file that do not count: the first fills arenas and caches."""

OVERHEAD_US = 8.0
"""Kernels that move less than 2 kB took 3 to 5 microseconds (ONNX Runtime 1.31, an AVX-512 Xeon);
below twice that the fixed cost of calling a kernel is about half of it."""

KERNEL_SUFFIX = "_kernel_time"


def profile_files(
    files: Mapping[str, Path],
    images: Images,
    num_threads: int,
    runs: int,
    watch: Stopwatch | None = None,
) -> dict[str, KernelTimes]:
    """Times of each file's kernels, by its name; the files run by turns.

    Args:
        files: ONNX files that take the same images.
        images: One batch, shape ``(batch, channels, height, width)``.
        num_threads: Of the engine.
        runs: Runs of each file that count, after `WARM_RUNS` that do not.
        watch: What is held for the length of a round, nothing unless given; it times nothing.

    Raises:
        ModelError: A file cannot be run.
        CheckError: An output is not finite.
        MissingExtra: ONNX Runtime is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, no_collection():
        sessions = {}
        for index, (name, path) in enumerate(files.items()):
            place = Path(folder) / str(index)
            place.mkdir()
            session = _profiled_session(path, num_threads, place)
            # Its profile is finished while the folder stands, also after a failure.
            stack.callback(session.end_profiling)
            sessions[name] = session
        for index in range(WARM_RUNS + runs):
            names = list(sessions)
            # Threads are made in the first runs, so they are there before priorities are changed.
            timed = index >= WARM_RUNS
            with watch.round() if watch and timed else contextlib.nullcontext():
                for name in names if index % 2 == 0 else names[::-1]:
                    _run(files[name], sessions[name], images)
        return {
            name: _times(files[name], session, Path(folder) / str(index), runs)
            for index, (name, session) in enumerate(sessions.items())
        }


def _profiled_session(path: Path, num_threads: int, place: Path) -> Any:
    # Opened plainly first: what cannot be run is refused there, in the words of the runner.
    open_session(path, num_threads)
    ort = import_engine("onnxruntime", "onnxruntime")
    options = session_options(ort, num_threads)
    options.enable_profiling = True
    options.profile_file_prefix = str(place / "profile")
    options.optimized_model_filepath = str(place / "optimized.onnx")
    return ort.InferenceSession(str(path), options, providers=[CPU_PROVIDER])


def _run(path: Path, session: Any, images: Images) -> None:
    output = session.run(None, {session.get_inputs()[0].name: images})[0]
    check_finite(torch.from_numpy(output), str(path))


def _times(path: Path, session: Any, place: Path, runs: int) -> KernelTimes:
    events = read_json(Path(session.end_profiling()))
    optimized = onnx_module().load(place / "optimized.onnx").graph
    kernels = kernels_of(events, runs)
    name_after_kernels_(optimized, kernels)
    exported = Exported(load_onnx(path).graph)
    return KernelTimes(
        kernels=tuple(kernels),
        exported=exported,
        nodes=tuple(optimized.node),
        work=replaced(exported, optimized),
        overhead_us=OVERHEAD_US,
    )


def name_after_kernels_(optimized: Any, kernels: Sequence[Kernel]) -> None:
    """Give nodes without a name that of their kernel.

    The engine leaves those nameless that it made of an operator's definition, and its profiler
    makes up names for them. Both lists are in the order in which nodes run.
    """
    named = {node.name for node in optimized.node}
    made_up: dict[str, list[str]] = defaultdict(list)
    for kernel in kernels:
        if kernel.name not in named:
            made_up[kernel.op].append(kernel.name)
    for node in optimized.node:
        if not node.name and made_up[node.op_type]:
            node.name = made_up[node.op_type].pop(0)


def kernels_of(events: Sequence[Mapping[str, Any]], runs: int) -> list[Kernel]:
    """The kernels in a profile's events; its last ``runs`` runs count.

    Args:
        events: As the profiler writes them, in order of time.
        runs: Runs that count; `WARM_RUNS` more stand before them.
    """
    calls: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        name = event["name"]
        if event.get("cat") == "Node" and name.endswith(KERNEL_SUFFIX):
            key = name.removesuffix(KERNEL_SUFFIX), event["args"].get("node_index", "")
            calls[key].append(event)
    # A node inside a loop is called several times in one run.
    return [
        _kernel(name, same[len(same) * WARM_RUNS // (WARM_RUNS + runs) :], runs)
        for (name, _index), same in calls.items()
    ]


def _kernel(name: str, counted: Sequence[Mapping[str, Any]], runs: int) -> Kernel:
    arguments = counted[0]["args"]
    return Kernel(
        name=name,
        op=arguments["op_name"],
        us=min(float(event["dur"]) for event in counted) * len(counted) / runs,
        moved_bytes=int(arguments["activation_size"]) + int(arguments["output_size"]),
        weight_bytes=int(arguments["parameter_size"]),
    )

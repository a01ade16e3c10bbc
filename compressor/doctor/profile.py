"""The kernels of ONNX files and what each takes, by ONNX Runtime's own profiler."""

import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressor.bench.onnxruntime_runner import CPU_PROVIDER, open_session, session_options
from compressor.bench.runner import import_engine
from compressor.bench.stopwatch import Stopwatch
from compressor.errors import CheckError
from compressor.files import read_json
from compressor.memory import no_collection

WARM_RUNS = 2
"""Runs of each file that do not count: the first fills arenas and caches."""

KERNEL_SUFFIX = "_kernel_time"

Images = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Kernel:
    """One operator as the engine runs it.

    Attributes:
        name: Of its node in the optimised graph.
        op: Its operator there.
        us: Microseconds of one run: the fastest of all, whole microseconds only. Other programs
            can only add to it.
        moved_bytes: Of its inputs and outputs, activations alone, channels padded as the engine
            pads them.
        weight_bytes: Of its weights, so far as the engine counts them.
    """

    name: str
    op: str
    us: float
    moved_bytes: int
    weight_bytes: int


@dataclass(frozen=True)
class Profile:
    """One file's kernels in the order in which they run, and the graph they are of.

    Attributes:
        kernels: Each once.
        optimized: The engine's own graph (an ONNX ``GraphProto``), its nodes named as the kernels.
        runs: Runs that counted.
    """

    kernels: tuple[Kernel, ...]
    optimized: Any
    runs: int


def profile_files(
    files: Mapping[str, Path],
    images: Images,
    num_threads: int,
    runs: int,
    watch: Stopwatch | None = None,
) -> dict[str, Profile]:
    """Profile of each file, by its name; the files run by turns.

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
            name: _profile(session, Path(folder) / str(index), runs)
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
    if not np.isfinite(output).all():
        raise CheckError(
            f"{path}: its outputs for a normal random batch are NaN or infinite. "
            "Do not use this file; export the network again."
        )


def _profile(session: Any, place: Path, runs: int) -> Profile:
    onnx = import_engine("onnx", "onnx")
    events = read_json(Path(session.end_profiling()))
    optimized = onnx.load(place / "optimized.onnx").graph
    kernels = kernels_of(events, runs)
    name_nodes_(optimized, kernels)
    return Profile(tuple(kernels), optimized, runs)


def name_nodes_(optimized: Any, kernels: Sequence[Kernel]) -> None:
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

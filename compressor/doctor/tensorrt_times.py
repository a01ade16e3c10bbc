"""What each layer of TensorRT plans takes, by the engine's own profiler; a layer is a kernel here.

Not measured: no GPU was at hand where this was written.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compressor.bench.finite import check_finite
from compressor.doctor.graphs import REFORMAT_OP, Exported
from compressor.doctor.kernels import Images, Kernel, KernelTimes
from compressor.memory import no_collection
from compressor.onnx_graph import load_onnx
from compressor.tensorrt.build import build_plan
from compressor.tensorrt.inspector import PlanLayer
from compressor.tensorrt.load import load_plan
from compressor.tensorrt.module import Kit, check_device
from compressor.tensorrt.profiled import ProfiledSession
from compressor.tensorrt.settings import BatchRange, BuildSettings

WARM_RUNS = 10
"""Runs of each plan that do not count: clocks of a GPU rise with its first work."""

OVERHEAD_US = 5.0
"""Below this a kernel is taken to be its own launch; a guess, not measured on any GPU."""

US_PER_MS = 1000.0


@dataclass(frozen=True)
class EngineNode:
    """A layer of a plan, as the alignment with the exported graph asks for it."""

    name: str
    op_type: str
    input: tuple[str, ...]
    output: tuple[str, ...]


def build_plans(
    kit: Kit, files: Mapping[str, Path], batch_size: int, folder: Path
) -> dict[str, Path]:
    """A plan of each ONNX file, for one batch size; made in ``folder``, under the same name.

    Raises:
        ModelError: There is no GPU, said before anything is built; or a file cannot be built.
    """
    check_device(kit)
    settings = BuildSettings(batch=BatchRange(min=batch_size, opt=batch_size, max=batch_size))
    plans = {name: folder / f"{name}.plan" for name in files}
    for name, path in files.items():
        build_plan(kit, path, plans[name], settings)
    return plans


@no_collection()
def profile_plans(
    kit: Kit, plans: Mapping[str, Path], files: Mapping[str, Path], images: Images, runs: int
) -> dict[str, KernelTimes]:
    """Times of each plan's layers, by its name; the plans run by turns.

    Args:
        kit: The engine.
        plans: With their sidecars beside them.
        files: The ONNX file that each was built from.
        images: One batch, shape ``(batch, channels, height, width)``.
        runs: Runs of each plan that count, after `WARM_RUNS` that do not.

    Raises:
        ModelError: There is no GPU, or a plan does not fit or cannot be run.
        CheckError: An output is not finite, or a plan does not say what its layers are.
    """
    with ExitStack() as stack:
        sessions = {}
        for name, plan in plans.items():
            opened, _ = load_plan(kit, plan, files[name])
            session = ProfiledSession(kit, opened, str(plan))
            stack.callback(session.close)
            session.reshape(images.shape)
            session.fill(torch.from_numpy(images))
            sessions[name] = session
        counted: dict[str, list[dict[str, float]]] = {name: [] for name in sessions}
        for index in range(WARM_RUNS + runs):
            names = list(sessions)
            for name in names if index % 2 == 0 else names[::-1]:
                times = _run(files[name], sessions[name])
                if index >= WARM_RUNS:
                    counted[name].append(times)
        return {
            name: plan_times(
                session.layers(), counted[name], Exported(load_onnx(files[name]).graph)
            )
            for name, session in sessions.items()
        }


def _run(path: Path, session: ProfiledSession) -> dict[str, float]:
    times = session.run_layers()
    assert session.buffers is not None, "it has run"
    for output in session.buffers.outputs.values():
        check_finite(output, str(path))
    return times


def plan_times(
    layers: Sequence[PlanLayer], runs: Sequence[Mapping[str, float]], exported: Exported
) -> KernelTimes:
    """The profiled layers of one plan beside the graph that it was built from.

    Args:
        layers: What the inspector says; a layer that it does not list holds no node.
        runs: Milliseconds of each layer, run by run.
        exported: The graph of the ONNX file.
    """
    listed = {layer.name: layer for layer in layers}
    names = list(runs[0])
    fastest = {name: min(run[name] for run in runs if name in run) for name in names}
    return KernelTimes(
        kernels=tuple(_kernel(name, fastest[name], listed.get(name)) for name in names),
        exported=exported,
        nodes=tuple(_node(name, listed.get(name)) for name in names),
        work={name: _work(listed.get(name), exported) for name in names},
        overhead_us=OVERHEAD_US,
    )


def _kernel(name: str, ms: float, layer: PlanLayer | None) -> Kernel:
    tensors = () if layer is None else (*layer.inputs, *layer.outputs)
    return Kernel(
        name=name,
        op=_op(layer),
        us=ms * US_PER_MS,
        moved_bytes=sum(tensor.num_bytes or 0 for tensor in tensors),
        weight_bytes=0,
    )


def _node(name: str, layer: PlanLayer | None) -> EngineNode:
    if layer is None:
        return EngineNode(name, _op(layer), (), ())
    reads, makes = (tuple(tensor.name for tensor in side) for side in (layer.inputs, layer.outputs))
    return EngineNode(name, _op(layer), reads, makes)


def _op(layer: PlanLayer | None) -> str:
    if layer is None:
        return "unknown"
    return REFORMAT_OP if layer.is_reformat else layer.kind


def _work(layer: PlanLayer | None, exported: Exported) -> list[Any]:
    """The exported nodes that a layer holds, last one first; those that it moves it only moves."""
    if layer is None or layer.is_reformat:
        return []
    held = set(layer.nodes)
    return [node for name, node in reversed(exported.named.items()) if name in held]

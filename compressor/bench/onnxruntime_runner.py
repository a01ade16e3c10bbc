"""ONNX Runtime as an engine: its CPU provider, all graph optimisations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressor.bench.environment import without_vnni
from compressor.bench.runner import import_engine
from compressor.errors import ModelError
from compressor.file_profile import check_profile

CPU_PROVIDER = "CPUExecutionProvider"
LOG_ERRORS = 3  # ONNX Runtime's severity: 2 is warning, 3 is error


class OnnxRuntimeRunner:
    """Runs an ONNX file with one input and one output.

    Raises:
        ModelError: The file is not there, is not ONNX, was made for another engine, or cannot be
            run by the CPU provider.
        MissingExtra: ONNX Runtime is not installed.
    """

    engine = "onnxruntime"

    def __init__(self, path: Path, num_threads: int) -> None:
        self._path = path
        self._session = self._open(path, num_threads)
        self._input = self._session.get_inputs()[0]
        self._feed: dict[str, np.ndarray[Any, Any]] = {}

    def _open(self, path: Path, num_threads: int) -> Any:
        return open_session(path, num_threads)

    def prepare(self, batch: Tensor) -> None:
        """Fix the input of every following ``run``; shape ``(batch, *image_shape)``.

        Raises:
            ModelError: The file takes inputs of another shape.
        """
        check_shape(self._path, self._input.shape, tuple(batch.shape))
        # Contiguous here, or the engine would copy it in every timed run.
        self._feed = {self._input.name: batch.detach().cpu().contiguous().numpy()}

    def run(self) -> Tensor:
        """Output for the prepared batch: the file's first.

        Raises:
            ModelError: The file cannot be run for a batch of this size.
        """
        assert self._feed, "prepare comes before run"
        try:
            return torch.from_numpy(self._session.run(None, self._feed)[0])
        except refusals() as error:
            (batch,) = self._feed.values()
            raise ModelError(
                f"{self._path} cannot be run for inputs of {list(batch.shape)}: "
                f"{str(error).splitlines()[0]}. Export the network again."
            ) from error

    def close(self) -> None:
        """Drop the session with its weights and threads."""
        del self._session
        self._feed = {}


def open_session(path: Path, num_threads: int) -> Any:
    """ONNX Runtime session for ``path`` on the CPU, sequential, fully optimised."""
    ort = import_engine("onnxruntime", "onnxruntime")
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file. Export the network first.")
    check_profile(path, OnnxRuntimeRunner.engine)
    options = session_options(ort, num_threads)
    try:
        session = ort.InferenceSession(str(path), options, providers=[CPU_PROVIDER])
    except refusals() as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path} cannot be opened: {reason}. Export the network again.") from error
    check_provider(path, session.get_providers())
    return session


def refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises of a file: each status of its own, with no base but Exception."""
    state = import_engine("onnxruntime.capi.onnxruntime_pybind11_state", "onnxruntime")
    return (
        *(state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument, state.NoModel),
        *(state.NotImplemented, state.Fail, state.RuntimeException),
    )


def session_options(ort: Any, num_threads: int) -> Any:
    """Options that make runs comparable: fixed threads, one operator at a time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = LOG_ERRORS
    if without_vnni():
        # Sums of products of 8-bit numbers saturate there, and are wrong: a slower, exact kernel.
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Idle threads spin for a while after a run: they would steal the time of the next runner.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def check_provider(path: Path, providers: Sequence[str]) -> None:
    """Refuse a session that does not run on the CPU provider: it falls back in silence."""
    if not providers or providers[0] != CPU_PROVIDER:
        raise ModelError(
            f"{path}: ONNX Runtime runs it with {list(providers)}, not with {CPU_PROVIDER}. "
            "Install onnxruntime alone, without onnxruntime-gpu beside it."
        )


def check_shape(path: Path, wanted: Sequence[int | str | None], given: tuple[int, ...]) -> None:
    """Refuse an input whose fixed sizes differ from the file's; named sizes are free."""
    fits = len(wanted) == len(given) and all(
        size == other for size, other in zip(wanted, given, strict=True) if isinstance(size, int)
    )
    if not fits:
        raise ModelError(
            f"{path} takes inputs of shape {list(wanted)}, it was given {list(given)}. "
            "Give images of the size that the network was exported with."
        )

"""How networks are profiled."""

from pydantic import Field

from compressor.doctor.names import DoctorClock, DoctorEngine
from compressor.settings import Settings


class DoctorSettings(Settings):
    """How networks are profiled."""

    engine: DoctorEngine = "onnxruntime"
    """What runs them: ONNX Runtime on the CPU, or TensorRT on a GPU, for which both are built."""
    batch_size: int = Field(default=1, ge=1)
    """Images in one run."""
    num_threads: int = Field(default=1, ge=1)
    """Threads of ONNX Runtime."""
    runs: int = Field(default=30, ge=2)
    """Runs of each network that count; of every kernel the fastest is taken."""
    clock: DoctorClock = "wall"
    """``realtime``: ONNX Runtime under real-time priority, one round at a time, where the system
    allows it."""

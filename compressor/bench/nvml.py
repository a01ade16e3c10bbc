"""A GPU's clocks, temperature, power and what holds its clocks down, as NVML says.

Through ``pynvml`` of the package nvidia-ml-py, each function known by its name being there; tested
over fakes and unmeasured. What NVML refuses is said with its reason: a comparison in which nobody
looked for throttling is not one without.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from compressor.bench.runner import import_engine
from compressor.errors import MissingExtra
from compressor.tensorrt.cuda import Cuda

INSTALL = "'nvidia-ml-py>=12'"
MILLI = 1000.0
SM_CLOCK, MEMORY_CLOCK, GPU_SENSOR = 1, 2, 0  # NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU

REASONS: dict[str, int] = {
    "gpu_idle": 0x001,
    "applications_clocks_setting": 0x002,
    "sw_power_cap": 0x004,
    "hw_slowdown": 0x008,
    "sync_boost": 0x010,
    "sw_thermal_slowdown": 0x020,
    "hw_thermal_slowdown": 0x040,
    "hw_power_brake_slowdown": 0x080,
    "display_clock_setting": 0x100,
    "board_limit": 0x200,
    "reliability": 0x400,
}
"""Bits of nvml.h's clocks event reasons, called throttle reasons before driver 535."""

HARMLESS = frozenset({"gpu_idle", "applications_clocks_setting", "display_clock_setting"})
"""Clocks that somebody set, or that nothing asks for; every other reason is throttling."""

Query = tuple[str, tuple[int, ...]]

QUERIES: dict[str, tuple[tuple[Query, ...], float]] = {
    "sm_mhz": ((("nvmlDeviceGetClockInfo", (SM_CLOCK,)),), 1.0),
    "memory_mhz": ((("nvmlDeviceGetClockInfo", (MEMORY_CLOCK,)),), 1.0),
    "temperature_c": (
        (
            ("nvmlDeviceGetTemperatureV", (GPU_SENSOR,)),
            ("nvmlDeviceGetTemperature", (GPU_SENSOR,)),
        ),
        1.0,
    ),
    "power_w": ((("nvmlDeviceGetPowerUsage", ()),), MILLI),
    "reasons": (
        (
            ("nvmlDeviceGetCurrentClocksEventReasons", ()),
            ("nvmlDeviceGetCurrentClocksThrottleReasons", ()),
        ),
        1.0,
    ),
}
"""Figure -> functions that give it, newest first, and what they count in one of its units."""


@dataclass(frozen=True)
class State:
    """One look at a GPU; ``None`` for what NVML refused.

    Attributes:
        sm_mhz: Clock of the multiprocessors.
        memory_mhz: Clock of the memory.
        temperature_c: Of the chip, in degrees Celsius.
        power_w: Drawn by the board.
        reasons: Why the clocks are not higher, keys of `REASONS`; bits that are not among them as
            ``bit 0x800``.
    """

    sm_mhz: float | None
    memory_mhz: float | None
    temperature_c: float | None
    power_w: float | None
    reasons: tuple[str, ...] | None

    @property
    def throttling(self) -> tuple[str, ...]:
        """Those of the reasons that nobody asked for."""
        return tuple(reason for reason in self.reasons or () if reason not in HARMLESS)

    def to_json(self) -> dict[str, Any]:
        """The fields, lists for tuples."""
        return {**asdict(self), "reasons": None if self.reasons is None else list(self.reasons)}


class Gauge:
    """Reads one GPU's state; keeps why a figure was refused.

    Args:
        nvml: The module ``pynvml``, started.
        handle: What it calls the GPU.

    Attributes:
        refused: Figure -> NVML's reason.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self.refused: dict[str, str] = {}

    def read(self) -> State:
        """The state now."""
        found = {figure: self._ask(figure) for figure in QUERIES}
        bits = found.pop("reasons")
        return State(**found, reasons=None if bits is None else reasons(int(bits)))

    def _ask(self, figure: str) -> float | None:
        """One figure, by the first function that gives it."""
        functions, per_unit = QUERIES[figure]
        refusal = "pynvml has no function for it"
        for name, arguments in functions:
            try:
                ask: Callable[..., float] = getattr(self._nvml, name)
                value = ask(self._handle, *arguments) / per_unit
            except AttributeError:
                continue
            except self._nvml.NVMLError as error:
                refusal = str(error)
                continue
            self.refused.pop(figure, None)
            return value
        self.refused[figure] = refusal
        return None

    def close(self) -> None:
        """Give NVML back."""
        self._nvml.nvmlShutdown()


def reasons(bits: int) -> tuple[str, ...]:
    """Names of the bits that are set, those that are not known by their number."""
    known = [name for name, bit in REASONS.items() if bits & bit]
    rest = bits & ~sum(REASONS.values())
    return (*known, *(f"bit {1 << at:#x}" for at in range(rest.bit_length()) if rest >> at & 1))


def open_gauge(
    cuda: Cuda, importer: Callable[[str, str], Any] = import_engine
) -> tuple[Gauge | None, str | None]:
    """A gauge for the current device; or ``None``, and why there is none.

    Args:
        cuda: Says which device it is.
        importer: Imports a module; gets its name and what to install.
    """
    try:
        nvml = importer("pynvml", INSTALL)
    except MissingExtra as missing:
        return None, str(missing)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return None, f"NVML does not start ({error}). Check the driver."
    uuid = cuda.uuid()
    try:
        return Gauge(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid)), None
    except nvml.NVMLError as error:
        nvml.nvmlShutdown()
        return (
            None,
            f"NVML does not show {uuid} ({error}). A part of a GPU has no clocks of its own.",
        )

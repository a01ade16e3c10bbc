import pytest

from compressor.bench.nvml import QUERIES, REASONS, Gauge, State, open_gauge, reasons
from compressor.bench.runner import import_engine
from compressor.errors import MissingExtra

from .gpu_fakes import FakeDevice, FakeNvml, NVMLError

COOL = (1980, 2619, 40, 120_000, 0x0)
HOT = (1410, 2619, 85, 700_000, 0x44)
IDLE = (345, 2619, 38, 70_000, 0x1)


def opened(*looks):
    nvml = FakeNvml(*looks)
    gauge, why_not = open_gauge(FakeDevice(), lambda *_: nvml)
    assert why_not is None
    return nvml, gauge


def test_a_look_has_clocks_temperature_power_in_watts_and_reasons_by_name():
    _, gauge = opened(HOT)

    wanted = State(1410, 2619, 85, 700.0, ("sw_power_cap", "hw_thermal_slowdown"))
    assert gauge.read() == wanted
    assert gauge.refused == {}


def test_clocks_that_somebody_set_or_nothing_asks_for_are_no_throttling():
    harmless = 0x1 | 0x2 | 0x100

    assert State(1, 1, 1, 1, reasons(harmless)).throttling == ()
    assert State(1, 1, 1, 1, reasons(harmless | 0x4)).throttling == ("sw_power_cap",)


def test_bits_that_are_not_known_are_kept_by_number_and_count_as_throttling():
    found = reasons(0x1800 | 0x8)

    assert found == ("hw_slowdown", "bit 0x800", "bit 0x1000")
    assert State(1, 1, 1, 1, found).throttling == found


def test_a_refused_figure_is_none_with_nvmls_reason_and_the_others_are_read():
    refused = NVMLError("Not Supported")
    _, gauge = opened((1980, 2619, 40, refused, refused))

    state = gauge.read()

    assert (state.sm_mhz, state.power_w, state.reasons) == (1980, None, None)
    assert gauge.refused == {"power_w": "Not Supported", "reasons": "Not Supported"}


def test_the_newer_function_is_asked_first_and_the_older_where_the_driver_has_it_not():
    nvml, gauge = opened(COOL)
    nvml.nvmlDeviceGetCurrentClocksEventReasons = lambda _handle: 0x8
    assert gauge.read().reasons == ("hw_slowdown",)

    def missing(_handle):
        raise NVMLError("Function Not Found")

    nvml.nvmlDeviceGetCurrentClocksEventReasons = missing
    assert gauge.read().reasons == ()
    assert gauge.refused == {}


def test_a_module_without_any_function_for_a_figure_is_a_refusal():
    gauge = Gauge(type("Old", (), {"NVMLError": NVMLError})(), "handle")

    assert gauge.read() == State(None, None, None, None, None)
    assert set(gauge.refused) == set(QUERIES)


def test_a_missing_package_is_said_with_what_to_install():
    def missing(name, install):
        raise MissingExtra(f"{name} cannot be imported. Install it: {install}")

    gauge, why_not = open_gauge(FakeDevice(), missing)

    assert gauge is None
    assert "pynvml" in why_not
    assert "nvidia-ml-py" in why_not


def test_a_library_that_does_not_start_is_said():
    _, why_not = open_gauge(FakeDevice(), lambda *_: FakeNvml(COOL, start="Driver Not Loaded"))

    assert "does not start (Driver Not Loaded)" in why_not


def test_a_device_that_nvml_does_not_show_is_said_and_nvml_given_back():
    nvml = FakeNvml(COOL, knows="GPU-other")

    gauge, why_not = open_gauge(FakeDevice(), lambda *_: nvml)

    assert (gauge, nvml.num_open) == (None, 0)
    assert "does not show GPU-1234 (Not Found)" in why_not


@pytest.fixture(scope="module")
def pynvml():
    return pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")


def test_the_genuine_module_has_each_function_and_the_same_bits(pynvml):
    names = [name for functions, _ in QUERIES.values() for name, _ in functions]
    bits = {
        "gpu_idle": pynvml.nvmlClocksThrottleReasonGpuIdle,
        "applications_clocks_setting": pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting,
        "sw_power_cap": pynvml.nvmlClocksThrottleReasonSwPowerCap,
        "hw_slowdown": pynvml.nvmlClocksThrottleReasonHwSlowdown,
        "sync_boost": pynvml.nvmlClocksThrottleReasonSyncBoost,
        "sw_thermal_slowdown": pynvml.nvmlClocksThrottleReasonSwThermalSlowdown,
        "hw_thermal_slowdown": pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
        "hw_power_brake_slowdown": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
        "display_clock_setting": pynvml.nvmlClocksThrottleReasonDisplayClockSetting,
    }

    assert [name for name in names if not callable(getattr(pynvml, name, None))] == []
    assert bits == {name: REASONS[name] for name in bits}
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM, pynvml.NVML_TEMPERATURE_GPU) == (1, 2, 0)


def test_the_genuine_module_opens_or_says_why_not(pynvml):
    gauge, why_not = open_gauge(FakeDevice(), import_engine)

    assert gauge is None  # no device has that name
    assert "NVML does not" in why_not

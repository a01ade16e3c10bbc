"""That settings reach the engine: the real builder of TensorRT-RTX, looked at as it builds."""

from types import SimpleNamespace

import pytest

from compressor.errors import ModelError
from compressor.tensorrt.graph import read_graph
from compressor.tensorrt.messages import Messages
from compressor.tensorrt.module import Kit
from compressor.tensorrt.profile import input_shapes
from compressor.tensorrt.serialise import Order, serialise
from compressor.tensorrt.settings import MIB, BatchRange, BuildSettings

from .graphs import convolution

pytestmark = pytest.mark.engines

BATCH = BatchRange(min=1, opt=4, max=8)


@pytest.fixture
def watched(rtx):
    """The engine with a builder that keeps what it is given and what it makes."""
    seen = SimpleNamespace()

    class Builder(rtx.trt.Builder):
        def create_network(self, flags=0):
            seen.flags = flags
            return super().create_network(flags)

        def create_builder_config(self):
            seen.config = super().create_builder_config()
            return seen.config

        def create_optimization_profile(self):
            seen.profile = super().create_optimization_profile()
            return seen.profile

    trt = SimpleNamespace(**{**vars(rtx.trt), "Builder": Builder})
    return Kit("tensorrt-rtx", trt, rtx.cuda), seen


@pytest.fixture
def order(tmp_path):
    """Make an order for a small file; keywords are settings."""

    def make(batch="batch", **settings):
        graph = read_graph(convolution(tmp_path / "net.onnx", batch=batch))
        chosen = BuildSettings(batch=BATCH if batch == "batch" else None, **settings)
        return Order(graph, chosen, input_shapes(graph, chosen.batch), None)

    return make


def test_a_network_is_strongly_typed(watched, order):
    kit, seen = watched
    assert len(serialise(kit, order(), Messages())) > 1000
    assert seen.flags == 1 << int(kit.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_settings_reach_the_configuration(watched, order):
    kit, seen = watched
    settings = {"workspace_bytes": 64 * MIB, "optimization_level": 1}
    serialise(kit, order(tf32=False, sparse_weights=True, **settings), Messages())
    flags, config = kit.trt.BuilderFlag, seen.config
    assert config.get_memory_pool_limit(kit.trt.MemoryPoolType.WORKSPACE) == 64 * MIB
    assert config.builder_optimization_level == 1
    assert config.profiling_verbosity == kit.trt.ProfilingVerbosity.DETAILED
    assert not config.get_flag(flags.TF32)
    assert config.get_flag(flags.SPARSE_WEIGHTS)
    assert not config.get_flag(flags.REFIT)
    assert not config.get_flag(flags.VERSION_COMPATIBLE)


@pytest.mark.parametrize(("asked", "timed"), [(None, 8), (3, 3)])
def test_tensorrt_times_a_tactic_eight_times_unless_asked_otherwise(watched, order, asked, timed):
    kit, seen = watched
    as_tensorrt = Kit("tensorrt", kit.trt, kit.cuda)
    serialise(as_tensorrt, order(avg_timing_iterations=asked), Messages())
    assert seen.config.avg_timing_iterations == timed


def test_what_is_not_set_is_left_to_the_engine(watched, order):
    kit, seen = watched
    serialise(kit, order(), Messages())
    assert seen.config.get_flag(kit.trt.BuilderFlag.TF32)
    assert seen.config.num_compute_capabilities == 0
    assert seen.config.avg_timing_iterations == 1
    unlimited = seen.config.get_memory_pool_limit(kit.trt.MemoryPoolType.WORKSPACE)
    assert unlimited > 1 << 30


def test_targets_reach_the_configuration_in_their_order(watched, order):
    kit, seen = watched
    serialise(kit, order(compute_capabilities=("SM89", "SM80")), Messages())
    targets = [seen.config.get_compute_capability(index) for index in (0, 1)]
    assert [target.name for target in targets] == ["SM89", "SM80"]


def test_the_range_of_batches_reaches_the_profile(watched, order):
    kit, seen = watched
    serialise(kit, order(), Messages())
    sizes = [tuple(shape) for shape in seen.profile.get_shape("images")]
    assert sizes == [(1, 4, 16, 16), (4, 4, 16, 16), (8, 4, 16, 16)]


def test_a_fixed_batch_needs_no_profile(watched, order):
    kit, seen = watched
    serialise(kit, order(batch=2), Messages())
    assert not hasattr(seen, "profile")


def test_a_target_that_the_release_does_not_know_is_refused(rtx, order):
    trt = SimpleNamespace(**{**vars(rtx.trt), "ComputeCapability": SimpleNamespace()})
    with pytest.raises(ModelError, match="cannot build for SM121"):
        serialise(
            Kit("tensorrt-rtx", trt, rtx.cuda), order(compute_capabilities=("SM121",)), Messages()
        )

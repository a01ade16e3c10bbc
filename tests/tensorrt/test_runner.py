import numpy as np
import pytest
import torch

from compressor.bench.launches import ChoosesLaunch, Launches, TellsFacts
from compressor.bench.runner import Runner
from compressor.errors import ModelError
from compressor.tensorrt.runner import TensorRTRunner

from .fakes import HALF


@pytest.fixture
def runner(plan, kit, engine):
    """A runner whose engine writes the sum of each image into its two outputs."""
    made = TensorRTRunner(plan, kit)
    sums_images(engine.context, made)
    return made


def sums_images(context, runner):
    """Let the fake engine compute: it has only addresses, as the real one."""
    execute = context.execute_async_v3

    def computing(stream_handle):
        buffers = runner._session.buffers
        assert context.tensors["images"] == buffers.images.data_ptr()
        assert context.tensors["logits"] == buffers.outputs["logits"].data_ptr()
        buffers.outputs["logits"].copy_(buffers.images.sum(1, keepdim=True).expand(-1, 2))
        return execute(stream_handle)

    context.execute_async_v3 = computing


def images(batch, start=0.0):
    return torch.arange(3 * batch, dtype=torch.float32).reshape(batch, 3) + start


def sums(batch):
    return batch.sum(1, keepdim=True).expand(-1, 2)


def test_it_is_a_runner_named_after_its_engine(runner):
    as_runner: Runner = runner
    assert as_runner.engine == "tensorrt"


def test_it_gives_the_output_for_the_prepared_batch(runner):
    runner.prepare(images(4))
    assert torch.equal(runner.run(), sums(images(4)))
    runner.prepare(images(4, start=10.0))
    assert torch.equal(runner.run(), sums(images(4, start=10.0)))


def test_an_output_outlives_the_next_run(runner):
    runner.prepare(images(2))
    first = runner.run()
    runner.prepare(images(2, start=5.0))
    runner.run()
    assert torch.equal(first, sums(images(2)))


def test_a_batch_of_the_same_shape_reuses_buffers_and_graph(runner, cuda):
    runner.prepare(images(4))
    before = runner._session.buffers
    del cuda.log[:]
    runner.prepare(images(4, start=1.0))
    assert runner._session.buffers is before
    assert not {"execute", "capture", "address images"} & set(cuda.log)


def test_a_new_shape_makes_new_buffers_and_a_new_graph(runner, cuda):
    runner.prepare(images(4))
    before = runner._session.buffers
    runner.prepare(images(2))
    assert runner._session.buffers is not before
    assert cuda.log.count("capture") == 2
    assert torch.equal(runner.run(), sums(images(2)))


def test_a_graph_is_captured_after_an_ordinary_run_has_ended(runner, cuda):
    runner.prepare(images(4))
    assert cuda.log[-4:] == ["execute", "synchronise", "execute", "capture"]
    assert runner.facts() == {
        "asked": "graph",
        "launched": "graph",
        "fallback": None,
        "engine_version": "10.16.1.11",
    }


def test_the_stream_waits_for_what_made_the_batch_before_it_is_copied(runner, cuda):
    runner.prepare(images(4))
    assert cuda.log.index("wait") < cuda.log.index("execute")


def test_runs_replay_the_graph_and_wait_for_it(runner, cuda):
    runner.prepare(images(4))
    del cuda.log[:]
    runner.run()
    assert cuda.log == ["on 7", "replay", "execute", "synchronise"]


def test_a_graph_that_is_not_asked_for_is_not_captured(plan, kit, engine, cuda):
    runner = TensorRTRunner(plan, kit, launch="stream")
    runner.prepare(images(4))
    runner.run()
    assert not {"capture", "replay"} & set(cuda.log)
    assert (runner.launched, runner.fallback) == ("stream", None)


def test_a_capture_that_fails_falls_back_and_says_why(runner, cuda):
    cuda.refusal = "operation not permitted when stream is capturing\nmore"
    runner.prepare(images(4))
    told = "no CUDA graph: operation not permitted when stream is capturing"
    facts = runner.facts()
    assert (facts["asked"], facts["launched"]) == ("graph", "stream")
    assert facts["fallback"] == told
    assert torch.equal(runner.run(), sums(images(4)))


def test_an_engine_that_refuses_inside_the_capture_falls_back(runner, engine):
    engine.runs[:] = [True, False]
    runner.prepare(images(4))
    assert runner.launched == "stream"
    assert "does not take the run" in runner.fallback


def test_a_context_that_a_failed_capture_broke_is_an_error(runner, engine, cuda):
    cuda.refusal = "not now"
    engine.runs[:] = [True, False]
    with pytest.raises(ModelError, match="cannot run it"):
        runner.prepare(images(4))


def test_a_shape_that_can_be_captured_ends_a_fallback(runner, cuda):
    cuda.refusal = "not now"
    runner.prepare(images(4))
    cuda.refusal = None
    runner.prepare(images(2))
    assert (runner.launched, runner.fallback) == ("graph", None)


@pytest.mark.parametrize("fault", ["another type", "a run that fails"])
def test_after_a_batch_that_was_refused_the_next_one_is_launched_as_asked(runner, engine, fault):
    engine.runs[:] = [False] if fault == "a run that fails" else []
    refused = images(4).double() if fault == "another type" else images(4)
    with pytest.raises(ModelError):
        runner.prepare(refused)
    with pytest.raises(AssertionError, match="prepare comes before"):
        runner.run()
    runner.prepare(images(4))
    assert (runner.launched, runner.fallback) == ("graph", None)
    assert torch.equal(runner.run(), sums(images(4)))


def test_an_engine_that_cannot_run_at_all_is_an_error(runner, engine):
    engine.runs[:] = [False]
    with pytest.raises(ModelError, match=r"net\.plan: tensorrt cannot run it"):
        runner.prepare(images(4))


@pytest.mark.parametrize("shape", [(9, 3), (4, 5), (4, 3, 1)])
def test_a_shape_outside_of_the_range_is_refused_with_the_range(runner, shape):
    with pytest.raises(ModelError, match=r"from \[1, 3\] to \[8, 3\], it was given"):
        runner.prepare(torch.zeros(shape))


def test_a_shape_that_the_engine_refuses_leaves_nothing_to_run(runner, engine):
    runner.prepare(images(4))
    engine.takes_shape = False
    with pytest.raises(ModelError, match="does not take inputs"):
        runner.prepare(images(2))
    with pytest.raises(AssertionError, match="prepare comes before"):
        runner.run()


def test_sizes_that_do_not_follow_from_the_input_are_named(runner, engine):
    engine.missing = ["mask"]
    with pytest.raises(ModelError, match="the sizes of mask"):
        runner.prepare(images(2))


def test_a_batch_of_another_type_is_refused_and_not_converted(runner):
    with pytest.raises(ModelError, match=r"takes torch\.float32, it was given torch\.float64"):
        runner.prepare(images(4).double())


def test_buffers_have_the_types_of_the_plan(plan, kit, engine):
    engine.kinds["images"] = HALF
    runner = TensorRTRunner(plan, kit)
    runner.prepare(images(2).half())
    assert runner._session.buffers.images.dtype == torch.float16
    assert runner._session.buffers.outputs["logits"].dtype == torch.float32


def test_a_batch_that_is_not_contiguous_is_copied_in_its_order(runner):
    batch = torch.from_numpy(np.asfortranarray(images(4).numpy()))
    assert not batch.is_contiguous()
    runner.prepare(batch)
    assert torch.equal(runner._session.buffers.images, images(4))
    assert runner._session.buffers.images.is_contiguous()


def test_close_waits_and_gives_everything_back_once(runner, cuda):
    runner.prepare(images(4))
    del cuda.log[:]
    runner.close()
    assert cuda.log[0] == "synchronise"
    runner.close()
    with pytest.raises(AssertionError, match="closed"):
        runner.run()


def test_it_can_be_timed_by_events_on_its_own_stream(runner):
    assert all(isinstance(runner, part) for part in (Launches, ChoosesLaunch, TellsFacts))
    as_launches: Launches = runner
    assert as_launches.stream is runner._session.stream


def test_another_way_of_launching_is_taken_before_the_first_batch_and_not_after(runner, cuda):
    runner.launch_by("stream")
    runner.prepare(images(4))
    assert "capture" not in cuda.log
    assert (runner.facts()["asked"], runner.launched) == ("stream", "stream")
    with pytest.raises(AssertionError, match="before prepare"):
        runner.launch_by("graph")


def test_a_batch_that_was_copied_in_gives_the_same_output_and_the_next_batch_its_own(runner):
    runner.prepare(images(4))
    runner.copy_in()
    assert torch.equal(runner.run(), sums(images(4)))
    runner.prepare(images(4, start=10.0))
    runner.copy_in()
    assert torch.equal(runner.run(), sums(images(4, start=10.0)))


def test_copies_are_launched_on_the_runners_stream_and_not_waited_for(runner, cuda):
    runner.prepare(images(4))
    runner.copy_in()
    del cuda.log[:]
    runner.copy_in()
    runner.copy_out()
    assert cuda.log == ["on 7", "on 7"]


def test_all_outputs_are_copied_out_to_page_locked_memory(runner, cuda):
    runner.prepare(images(4))
    runner.run()
    runner.copy_out()
    assert cuda.log.count("pinned") == 2  # the batch and the one output
    assert torch.equal(runner._session._host.outputs["logits"], sums(images(4)))


def test_copies_before_a_batch_are_our_own_mistake(runner):
    with pytest.raises(AssertionError, match="before copies"):
        runner.copy_in()

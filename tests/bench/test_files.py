import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compressor.bench import files
from compressor.bench.files import FilesSettings, bench_files
from compressor.bench.subjects import FILE_ENGINES, parse_subjects
from compressor.bench.text import as_text
from compressor.console import Console
from compressor.errors import CheckError, ModelError

QUICK = FilesSettings(rounds=3, settling_runs=0, warmup_rounds=1, warmup_seconds=0)
QUIET = Console(quiet=True)


@pytest.fixture
def other_path(onnx_path, tmp_path):
    """The same graph with other weights."""
    model = onnx.load(onnx_path)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones(4, np.float32), "bias"))
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def faked(monkeypatch, clock, fake, log):
    """ONNX Runtime is a fake: 6 ms for ``net.onnx``, 4 ms for any other."""

    def make(path, num_threads):
        return fake(path.stem, 6.0 if path.stem == "net" else 4.0)

    real = FILE_ENGINES["onnxruntime"]
    monkeypatch.setitem(FILE_ENGINES, "onnxruntime", dataclasses.replace(real, open=make))
    monkeypatch.setitem(files.CLOCKS, "wall", clock)
    return log


def both(onnx_path, other_path):
    return parse_subjects([str(onnx_path), str(other_path)])


def test_the_real_engine_fills_a_record_of_plain_json(onnx_path, other_path):
    settings = QUICK.model_copy(update={"batch_size": 2, "clock": "process"})

    record = bench_files(both(onnx_path, other_path), settings, QUIET)

    assert json.loads(json.dumps(record, allow_nan=False)) == record
    first, second = record["subjects"]
    assert record["reference"] == first["name"] == str(onnx_path)
    assert first["output_shape"] == [2, 4, 6, 6]
    assert first["latency_ms"]["samples"] == 3
    assert first["latency_ms"]["p99_reliable"] is False
    assert first["sha256"] != second["sha256"]


def test_two_thirds_of_the_time_is_one_and_a_half_times_as_fast(onnx_path, other_path, faked):
    record = bench_files(both(onnx_path, other_path), QUICK, QUIET)

    first, second = record["subjects"]
    assert first["speedup"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert second["speedup"] == pytest.approx({"median": 1.5, "low": 1.5, "high": 1.5})
    assert second["latency_ms"]["p50"] == pytest.approx(4.0)
    assert second["images_per_second"] == pytest.approx(250)


def test_all_are_prepared_before_any_run_then_take_turns_and_are_closed(
    onnx_path, other_path, faked
):
    bench_files(both(onnx_path, other_path), QUICK, QUIET)

    runs = ["net", "other"]
    rounds = [*runs, *runs[::-1], *runs]
    assert faked[:2] == ["prepare net", "prepare other"]
    assert faked[2:-2] == [*runs, *runs, *rounds]  # one for the output, one to warm up, three
    assert sorted(faked[-2:]) == ["close net", "close other"]


def test_the_record_says_what_its_times_may_be_compared_with(onnx_path):
    settings = QUICK.model_copy(update={"clock": "process"})

    method = bench_files(parse_subjects([str(onnx_path)]), settings, QUIET)["method"]

    engine = method["engines"]["onnxruntime"]
    assert method["clock"]["name"] == "process"
    assert method["queue_depth"] == 1
    assert (method["warmup_rounds"], method["num_threads"]) == (1, 1)
    assert engine["comparable_to_trtexec"] == "not comparable: CPU"
    assert engine["transfers"].startswith("none")
    assert engine["version"] is not None


def test_files_for_different_images_are_refused_with_both_shapes(onnx_path, tmp_path):
    model = onnx.load(onnx_path)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 16
    path = tmp_path / "wide.onnx"
    onnx.save(model, path)

    with pytest.raises(ModelError, match=r"images of \[3, 8, 8\], .* of \[3, 8, 16\]"):
        bench_files(parse_subjects([str(onnx_path), str(path)]), QUICK, QUIET)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_are_refused(onnx_path, tmp_path, value):
    model = onnx.load(onnx_path)
    bias = np.full(4, value, np.float32)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(bias, "bias"))
    path = tmp_path / "broken.onnx"
    onnx.save(model, path)

    with pytest.raises(CheckError, match=r"For 1 of 1 images .*broken\.onnx gives NaN or infinity"):
        bench_files(parse_subjects([str(path)]), QUICK, QUIET)


def test_what_was_opened_is_closed_when_a_later_file_cannot_be(
    onnx_path, other_path, faked, monkeypatch, fake
):
    def make(path, num_threads):
        if path.stem == "other":
            raise ModelError("cannot be opened")
        return fake(path.stem, 1.0)

    broken = dataclasses.replace(FILE_ENGINES["onnxruntime"], open=make)
    monkeypatch.setitem(FILE_ENGINES, "onnxruntime", broken)

    with pytest.raises(ModelError, match="cannot be opened"):
        bench_files(both(onnx_path, other_path), QUICK, QUIET)

    assert faked[-1] == "close net"


def test_the_page_marks_a_p99_of_few_samples_and_names_the_clock(onnx_path, other_path, faked):
    page = as_text(bench_files(both(onnx_path, other_path), QUICK, QUIET), width=200)

    assert "6*" in page
    assert "* from too few samples" in page
    assert "1.500 (1.500 to 1.500)" in page
    assert "clock wall" in page
    assert "not comparable: CPU" in page


def test_the_page_says_where_realtime_priority_was_refused(onnx_path, faked):
    record = bench_files(parse_subjects([str(onnx_path)]), QUICK, QUIET)
    record["method"]["clock"]["realtime_refused_because"] = "operation not permitted"

    assert "not given (operation not permitted): this is plain wall time" in as_text(record, 200)


class FellBack:
    """A runner on a GPU whose runs could not be captured."""

    def __init__(self, runner):
        self.prepare, self.run, self.close = runner.prepare, runner.run, runner.close
        self.engine = "tensorrt"

    def facts(self):
        return {"launched": "stream", "fallback": "no CUDA graph: not permitted"}


@pytest.fixture
def on_gpu(monkeypatch, clock, fake):
    """TensorRT is a fake that falls back: 2 ms for any plan."""
    real = FILE_ENGINES["tensorrt"]
    opened = dataclasses.replace(real, open=lambda *_: FellBack(fake("gpu", 2.0)))
    monkeypatch.setitem(FILE_ENGINES, "tensorrt", opened)


def test_a_row_says_how_its_runs_were_launched_and_the_page_where_that_fell_back(
    onnx_path, make_plan, faked, on_gpu
):
    subjects = parse_subjects([str(onnx_path), str(make_plan("tensorrt"))])

    record = bench_files(subjects, QUICK, QUIET)

    plain, fallen = record["subjects"]
    assert plain["runner"] == {}
    assert fallen["runner"]["launched"] == "stream"
    page = as_text(record, width=300)
    assert "net.plan did not run as asked (no CUDA graph: not permitted)" in page
    assert page.count("did not run as asked") == 1


def test_the_clock_of_the_cpu_is_refused_for_a_gpu(onnx_path, make_plan):
    subjects = parse_subjects([str(onnx_path), str(make_plan("tensorrt-rtx"))])
    settings = QUICK.model_copy(update={"clock": "process"})

    with pytest.raises(ModelError, match=r"net\.plan runs on a GPU.*Use the clock wall") as refused:
        bench_files(subjects, settings, QUIET)

    assert "\n" not in str(refused.value)


def test_images_are_counted_by_the_batch_and_not_by_the_first_size_of_the_output(onnx_path, faked):
    settings = QUICK.model_copy(update={"batch_size": 5})  # the fake's output has one row

    row = bench_files(parse_subjects([str(onnx_path)]), settings, QUIET)["subjects"][0]

    assert row["images_per_second"] == pytest.approx(5000 / 6)


def test_settings_refuse_the_process_clock_on_two_threads():
    with pytest.raises(ValueError, match="time of all 2 threads"):
        FilesSettings(clock="process", num_threads=2)


def test_throughput_counts_every_image_of_a_batch(onnx_path):
    settings = QUICK.model_copy(update={"batch_size": 5})

    row = bench_files(parse_subjects([str(onnx_path)]), settings, QUIET)["subjects"][0]

    assert row["images_per_second"] == pytest.approx(5000 / row["latency_ms"]["mean"])


def test_time_on_the_processor_is_not_shown_as_images_in_a_second(onnx_path):
    settings = QUICK.model_copy(update={"clock": "process"})
    record = bench_files(parse_subjects([str(onnx_path)]), settings, QUIET)

    assert record["subjects"][0]["images_per_second"] is None
    assert " - " in as_text(record, 200)

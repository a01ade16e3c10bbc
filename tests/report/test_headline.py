import pytest

from compressor.report import headline
from compressor.report.run_files import read_run

LATENCY = "bench/latency.json"


def headline_of(run):
    record = read_run(run.folder)
    return headline.sentence(record.summary, record.latency)


def test_the_headline_gives_compute_speed_and_accuracy(run):
    assert headline_of(run) == (
        "3.98x fewer MACs, 2.90x faster in ONNX Runtime at batch 32, "
        "0.12 points below dense on 10,000 test images."
    )


def test_a_better_slim_network_is_above_dense(run):
    run.change("summary.json", ["slim", "accuracy"], 0.9377)

    assert "0.31 points above dense" in headline_of(run)


def test_equal_accuracy_is_neither_above_nor_below(run):
    run.change("summary.json", ["slim", "accuracy"], 0.9346)

    assert "0.00 points from dense" in headline_of(run)


def test_a_slower_network_is_called_slower(run):
    speedup = {"median": 0.8, "low": 0.75, "high": 0.85}
    run.change(LATENCY, ["speedup", "onnxruntime", "32"], speedup)

    assert "1.25x slower in ONNX Runtime at batch 32" in headline_of(run)


def test_a_speed_up_whose_interval_holds_one_is_no_claim(run):
    speedup = {"median": 1.02, "low": 0.97, "high": 1.06}
    run.change(LATENCY, ["speedup", "onnxruntime", "32"], speedup)

    told = headline_of(run)

    assert "faster" not in told
    assert "(0.970x to 1.06x: no clear difference)" in told


def test_another_engine_is_named_where_the_usual_one_was_not_timed(run):
    run.drop(LATENCY, ["speedup", "onnxruntime"])

    assert "2.51x faster in PyTorch at batch 32" in headline_of(run)


def test_the_largest_batch_is_the_largest_number_not_the_last_word(run):
    speedup = {"median": 3.5, "low": 3.4, "high": 3.6}
    run.change(LATENCY, ["speedup", "onnxruntime", "128"], speedup)

    assert "3.50x faster in ONNX Runtime at batch 128" in headline_of(run)


def test_nothing_is_said_of_speed_where_nothing_was_timed(run):
    run.change(LATENCY, ["speedup"], {"onnxruntime": {}})

    assert headline_of(run).startswith("3.98x fewer MACs, 0.12 points below")


@pytest.mark.parametrize(
    ("macs", "told"),
    [(556_651_530, "1.00x the MACs of dense"), (1_113_303_060, "2.00x more MACs")],
)
def test_a_network_that_did_not_shrink_is_not_said_to_have_shrunk(run, macs, told):
    run.change("summary.json", ["slim", "macs"], macs)

    assert headline_of(run).startswith(told)


def test_the_file_size_stands_among_the_facts(run):
    record = read_run(run.folder)

    facts = headline.facts(record.summary, record.latency)

    assert "4.74x smaller ONNX file" in [str(fact) for fact in facts]


def test_the_share_of_weights_stands_among_the_facts_where_single_ones_are_zero(run):
    before = read_run(run.folder)
    run.change("summary.json", ["weights", "granularity"], "weight")
    run.change("summary.json", ["weights", "share_of_slim"], 0.125)
    after = read_run(run.folder)

    told = [str(fact) for fact in headline.facts(after.summary, after.latency)]

    assert "12.50 % of its parameters not zero" in told
    assert len(told) == len(headline.facts(before.summary, before.latency)) + 1

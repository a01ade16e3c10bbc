"""What the report says of files in other precisions, and of times to be read with care."""

import pytest

from compressor.errors import RunError
from compressor.files import write_json
from compressor.report.run_files import read_run
from compressor.report.write import build_report

KEPT = ["stem", "layer1.0.conv1", "layer2.0.conv1", "head"]
CHAIN = {
    "reference": "dense, torch",
    "unmeasured": {},
    "latency": {
        "1": {
            name: {
                **{"p50": 2.0, "p90": 3.0, "p99": 4.0, "p99_reliable": name == "dense, torch"},
                "speedup": {"median": 1.5, "low": 1.25, "high": 1.75},
            }
            for name in ("dense, torch", "slim int8-ort-cpu, onnxruntime")
        }
    },
}


def converted(**changes):
    return {
        "profile": "int8-tensorrt",
        "file": "model.int8-tensorrt.onnx",
        "sha256": "0" * 64,
        "num_bytes": 2_345_678,
        "engines": ["tensorrt", "tensorrt-rtx"],
        "measured_by": "onnxruntime-as-written",
        "computed_in": "float32",
        "float_accuracy": 0.9333,
        "search": {"kept": [], "accuracy": 0.9308, "rebuilds": [], "exhausted": False, **changes},
        "figures": {"relative_l2": 0.012, "sqnr_db": 38.416, "cosine": 1.0, "num_images": 256},
    }


def section(run, anchor):
    sections = {each.anchor: each for each in build_report(read_run(run.folder)).sections}
    return sections.get(anchor)


def test_each_file_stands_with_its_figures_and_every_kept_layer(run):
    write_json(run.folder / "export/precisions.json", [converted(kept=KEPT), converted()])

    (table,) = section(run, "precisions").tables

    assert table.rows[0] == (
        *("int8-tensorrt", "TensorRT, TensorRT-RTX", "onnxruntime-as-written, in float32"),
        ", ".join(KEPT),
        *("2.35 MB", "93.08 %", "-0.25 points", "1.2e-02", "38.4 dB"),
    )
    assert table.rows[1][3] == "none"
    assert len(table.columns) == len(table.rows[0])


@pytest.mark.parametrize("exhausted", [True, False])
def test_spent_tries_are_told_with_the_setting(run, exhausted):
    records = [converted(kept=KEPT, exhausted=exhausted)]
    write_json(run.folder / "export/precisions.json", records)

    text = " ".join(section(run, "precisions").text)

    assert ("precision.gate.max_evaluations" in text) == exhausted
    assert ("used up for int8-tensorrt" in text) == exhausted


def test_a_run_without_such_files_or_of_before_they_were_listed_has_no_section(run):
    assert section(run, "precisions") is None

    write_json(run.folder / "export/precisions.json", [])

    assert section(run, "precisions") is None


def test_a_broken_record_is_refused_with_its_place(run):
    record = converted()
    del record["figures"]["relative_l2"]
    write_json(run.folder / "export/precisions.json", [record])

    with pytest.raises(RunError, match=r"precisions\.json lacks the key 0\.figures\.relative_l2"):
        read_run(run.folder)


def test_a_p99_of_too_few_samples_is_marked_in_both_tables_with_a_note(run):
    keys = ["slim", "latency_ms", "onnxruntime", "1", "p99_reliable"]
    run.change("summary.json", keys, False)
    run.change("bench/latency.json", ["chain"], CHAIN)

    latency = section(run, "latency")

    sides, chain, _method = latency.tables
    assert sides.rows[0][:8] == (
        *("ONNX Runtime", "1", "11.5 ms", "12.2 ms", "14.4 ms"),
        *("4.61 ms", "4.90 ms", "5.76 ms*"),
    )
    assert [row[4] for row in chain.rows] == ["4.00 ms", "4.00 ms*"]
    assert any("p99 with *" in line for line in latency.text)


def test_where_every_p99_is_of_enough_samples_nothing_is_marked(run):
    latency = section(run, "latency")

    assert not any("*" in line for line in latency.text)
    assert not any("*" in cell for table in latency.tables for row in table.rows for cell in row)


@pytest.mark.parametrize(
    ("name", "told"),
    [("slim fp16, onnxruntime", True), ("slim fp16, openvino", False), ("dense, torch", False)],
)
def test_fp16_that_is_computed_in_float32_is_told(run, name, told):
    link = CHAIN["latency"]["1"]["dense, torch"]
    run.change("bench/latency.json", ["chain"], {**CHAIN, "latency": {"1": {name: link}}})

    text = " ".join(section(run, "latency").text)

    assert ("computes in float32: the file is smaller, not faster" in text) == told


@pytest.mark.parametrize(
    ("unmeasured", "told"),
    [
        (
            {"a.onnx": "there is no device", "b.onnx": "no bfloat16", "c.onnx": "no bfloat16"},
            [
                "Not timed: a.onnx. Why: there is no device.",
                "Not timed: b.onnx, c.onnx. Why: no bfloat16.",
            ],
        ),
        # As runs once wrote it.
        (["a.onnx"], ["Not timed: a.onnx. Why: the record does not say."]),
    ],
)
def test_what_was_not_timed_stands_with_its_own_reason(run, unmeasured, told):
    run.change("bench/latency.json", ["chain"], {**CHAIN, "unmeasured": unmeasured})
    text = section(run, "latency").text
    assert [line for line in text if line.startswith("Not timed")] == told

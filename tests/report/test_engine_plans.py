"""What the report says of TensorRT plans, and what it calls unmeasured."""

import pytest

from compressor.errors import RunError
from compressor.files import write_json
from compressor.report.engine_plans import plans_section
from compressor.report.run_files import read_run

NO_DEVICE = "there was no CUDA device to run it on"
LINK = {
    **{"p50": 0.25, "p90": 0.3, "p99": 0.4, "p99_reliable": True},
    "speedup": {"median": 40.0, "low": 39.0, "high": 41.0},
}


def plan(profile="fp16", **changes):
    return {
        "profile": profile,
        "engine": "tensorrt",
        "label": f"slim {profile}, tensorrt",
        "file": f"model.{profile}.plan",
        "onnx": f"model.{profile}.onnx",
        "sha256": "0" * 64,
        "num_bytes": 2_345_678,
        "version": "11.4.0",
        "gpu": "NVIDIA A10 (compute capability 8.6)",
        "file_products": {"fp16": 20, "fp32": 1},
        "plan_products": {"fp16": 15, "fp32": 5},
        "not_inspected": None,
        "num_reformats": 2,
        "sparse": None,
        "sparse_warning": None,
        "num_warnings": 0,
        "accuracy": 0.9308,
        "float_accuracy": 0.9333,
        "unmeasured": None,
        **changes,
    }


def unmeasured(profile):
    unread = {
        "plan_products": None,
        "num_reformats": None,
        "not_inspected": "there was no CUDA device to open it on",
    }
    nothing = {"accuracy": None, "float_accuracy": None, "unmeasured": NO_DEVICE, "gpu": None}
    return plan(profile, engine="tensorrt-rtx", version="1.7.1", **unread, **nothing)


def section(run, *plans):
    write_json(run.folder / "build/plans.json", list(plans))
    return plans_section(read_run(run.folder))


def test_a_measured_plan_stands_with_layers_accuracy_and_latency(run):
    links = {"slim fp16, tensorrt": LINK, "dense, torch": LINK}
    chain = {"reference": "dense, torch", "unmeasured": [], "latency": {"32": links, "1": links}}
    run.change("bench/latency.json", ["chain"], chain)

    (table,) = section(run, plan()).tables

    assert table.rows == (
        (
            *("model.fp16.plan", "fp16", "TensorRT 11.4.0, NVIDIA A10 (compute capability 8.6)"),
            *("fp16 95.24 %, fp32 4.76 %", "fp16 75.00 %, fp32 25.00 %", "2.35 MB"),
            *("93.08 %", "-0.25 points", "batch 1: 0.250 ms, batch 32: 0.250 ms"),
        ),
    )
    assert len(table.columns) == len(table.rows[0])


def test_what_could_not_be_measured_is_called_so_with_the_reason_once(run):
    made = section(run, unmeasured("fp32"), unmeasured("fp16"), plan("bf16"))

    rows = made.tables[0].rows
    assert [row[4:9:2] for row in rows[:2]] == [("not read back", "unmeasured", "unmeasured")] * 2
    assert [row[2] for row in rows[:2]] == ["TensorRT-RTX 1.7.1"] * 2
    # Read back and run, and then not timed: the latency alone is unmeasured.
    assert rows[2][6:] == ("93.08 %", "-0.25 points", "unmeasured")
    files = "model.fp32.plan, model.fp16.plan"
    assert made.text[1:] == (
        f"Not read back: {files}, there was no CUDA device to open it on.",
        f"Accuracy unmeasured, and therefore not timed: {files}, {NO_DEVICE}.",
        "Layers that only change a layout or a type: model.bf16.plan 2.",
    )


def test_what_became_of_sparse_weights_is_told_with_what_is_wrong_with_it(run):
    told = {"sparse": "3 layers eligible for 2:4", "sparse_warning": "no sparse tactic"}

    made = section(run, plan(**told), plan("bf16"))

    assert made.text[2:] == (
        "model.fp16.plan: 3 layers eligible for 2:4.",
        "Warning: model.fp16.plan: no sparse tactic.",
    )


def test_a_run_without_plans_has_no_section(run):
    assert plans_section(read_run(run.folder)) is None


def test_a_broken_record_is_refused_with_its_place(run):
    record = plan()
    del record["label"]

    with pytest.raises(RunError, match=r"plans\.json lacks the key 0\.label"):
        section(run, record)

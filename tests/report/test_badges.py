import pytest

from compressor.files import write_json
from compressor.report.badges import badges
from compressor.report.run_files import read_run

from .test_engine_plans import plan, unmeasured
from .test_precisions import converted


def told(run):
    return [(badge.kind, badge.state, badge.text) for badge in badges(read_run(run.folder))]


def test_the_certificate_holds_within_its_bounds(run):
    write_json(run.folder / "strip/certificate.json", {"bound_fp32": 1e-5, "bound_fp64": 1e-16})

    assert told(run)[:2] == [
        *[("Certificate", "holds", "stripped against masked in float32: 3.1e-07, 1.0e-05 allowed")],
        *[
            (
                "Certificate",
                "broken",
                "stripped against masked in float64: 5.7e-16, 1.0e-16 allowed",
            )
        ],
    ]


def test_without_a_bound_on_record_nothing_is_judged(run):
    assert [state for _, state, _ in told(run)] == ["told", "told"]


def test_a_file_with_a_bound_is_judged_by_it(run):
    run.change("summary.json", ["verify", 0, "bound"], 1e-4)

    assert ("Export", "holds", "model.onnx against PyTorch: 8.9e-07, 1.0e-04 allowed") in told(run)


@pytest.mark.parametrize(("allowed", "state"), [(0.005, "holds"), (0.001, "broken")])
def test_a_precision_is_judged_by_the_gate_of_the_recipe(run, allowed, state):
    write_json(run.folder / "export/precisions.json", [converted(kept=["stem"])])
    run.change("settings.json", ["precision"], {"gate": {"max_accuracy_drop": allowed}})

    kind, got, text = told(run)[-1]

    assert (kind, got) == ("Precision", state)
    assert text.startswith("int8-tensorrt: -0.25 points to float32, ")
    assert text.endswith("points of loss allowed, 1 layer in float32")


def test_an_unmeasured_plan_says_why_and_a_measured_one_is_judged(run):
    write_json(run.folder / "build/plans.json", [plan(), unmeasured("fp32")])
    run.change("settings.json", ["tensorrt"], {"max_accuracy_drop": 0.0025})

    measured, not_measured = told(run)[-2:]

    text = "model.fp16.plan (TensorRT): -0.25 points to float32, 0.25 points of loss allowed"
    assert measured == ("Plan", "holds", text)
    assert not_measured[1] == "told"
    assert "unmeasured, there was no CUDA device" in not_measured[2]

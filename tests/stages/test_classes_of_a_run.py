"""What ``verify`` records of each class, set against the files that the run exported."""

import numpy as np
import onnxruntime
import pytest

from compressor.files import read_json


def right_of(run, data, file):
    """Which test images an exported file gets right, computed without anything of the run."""
    session = onnxruntime.InferenceSession(run.folder / "export" / file)
    pixels = data.test.images.astype(np.float32) / 255
    mean, std = (np.array(one, np.float32).reshape(1, -1, 1, 1) for one in (data.mean, data.std))
    (logits,) = session.run(None, {session.get_inputs()[0].name: (pixels - mean) / std})
    return logits.argmax(axis=1) == data.test.labels


def test_counts_of_each_class_are_those_of_the_exported_files(digits_run, digits):
    rows = read_json(digits_run.folder / "verify/verify.json")["classes"]
    dense = right_of(digits_run, digits, "dense.onnx")
    slim = right_of(digits_run, digits, "model.onnx")

    assert [row["name"] for row in rows] == list(digits.classes)
    for label, row in enumerate(rows):
        of_class = digits.test.labels == label
        assert row["images"] == of_class.sum()
        assert row["dense_right"] == (dense & of_class).sum()
        assert row["slim_right"] == (slim & of_class).sum()
        assert row["both_right"] == (dense & slim & of_class).sum()


@pytest.mark.parametrize("network", ["dense", "slim"])
def test_counts_add_up_to_the_accuracy(digits_run, network):
    verified = read_json(digits_run.folder / "verify/verify.json")
    right = sum(row[f"{network}_right"] for row in verified["classes"])

    assert right / verified["test_images"] == verified["accuracy"][network]


def test_the_report_has_a_section_on_classes_and_the_bounds_of_its_checks(digits_run):
    page = (digits_run.folder / "report.md").read_text(encoding="utf-8")

    assert "## Classes" in page
    assert "Holds: **Certificate** stripped against masked in float32" in page
    assert "Holds: **Export** model.onnx against PyTorch" in page

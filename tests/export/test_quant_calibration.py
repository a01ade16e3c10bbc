import math

import onnx
import pytest
import torch
from pydantic import ValidationError

from compressor.errors import DataError, ExportError, ModelError
from compressor.export.quant_calibration import (
    CalibrationReader,
    QuantSettings,
    batches_of,
    calibration_images,
    input_of,
)

SETTINGS = QuantSettings(num_images=4, batch_size=3)
IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_as_many_images_as_asked_for_are_taken_from_the_front(exported):
    assert torch.equal(calibration_images(IMAGES, exported, SETTINGS), IMAGES[:4])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "Calibration has 0 images, and 4 are asked for"),
        (IMAGES[:0], "Calibration has 0 images, and 4 are asked for"),
        (IMAGES[:3], "Calibration has 3 images, and 4 are asked for"),
        (IMAGES[:, :1], r"have shape \[1, 16, 16\], .*model\.onnx takes \[3, 16, 16\]"),
        (IMAGES[..., :8], r"have shape \[3, 16, 8\]"),
        (IMAGES.flatten(1), r"have shape \[768\]"),
        (IMAGES.double(), "are torch.float64, not float32"),
        (IMAGES * math.inf, "4 of 4 calibration images hold NaN or infinity"),
        (IMAGES.index_fill(0, torch.tensor([1]), math.nan), "1 of 4 calibration images hold NaN"),
    ],
)
def test_images_that_cannot_be_used_are_refused_in_one_line(exported, images, message):
    with pytest.raises(DataError, match=message) as refused:
        calibration_images(images, exported, SETTINGS)

    assert "\n" not in str(refused.value)


def test_the_reader_gives_each_batch_of_a_range_once():
    reader = CalibrationReader(IMAGES[:4], "images", batch_size=3)

    assert len(reader) == 2
    assert [len(reader.get_next()["images"]) for _ in range(2)] == [3, 1]
    assert reader.get_next() is None

    reader.set_range(1, 2)
    assert (reader.get_next()["images"] == IMAGES[3:4].numpy()).all()
    assert reader.get_next() is None


def test_batches_hold_all_images_in_order():
    assert torch.equal(torch.cat(batches_of(IMAGES, 4)), IMAGES)
    assert [len(batch) for batch in batches_of(IMAGES, 4)] == [4, 2]


def test_the_input_is_the_one_that_was_exported(exported):
    assert input_of(exported) == ("images", [3, 16, 16])


@pytest.mark.parametrize(
    "inputs", ["float[b, 3, h, 8] x", "float[b, 3] x, float[b, 3] y", "float[b] x"]
)
def test_a_file_that_is_not_ours_is_refused(tmp_path, inputs):
    text = f'<ir_version: 10, opset_import: ["" : 20]> net ({inputs}) => (z) {{ z = Relu(x) }}'
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "other.onnx"))

    with pytest.raises(ExportError, match=r"other\.onnx does not take one input whose batch alone"):
        input_of(tmp_path / "other.onnx")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.onnx: there is no such file"):
        input_of(tmp_path / "absent.onnx")

    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ModelError, match=r"text\.onnx is not an ONNX file"):
        input_of(tmp_path / "text.onnx")


@pytest.mark.parametrize("method", ["minmax", "entropy"])
def test_a_percentile_without_effect_is_refused(method):
    with pytest.raises(ValidationError, match="percentile has no effect with method"):
        QuantSettings(method=method, percentile=99.9)


def test_an_unknown_method_and_no_images_are_refused():
    with pytest.raises(ValidationError, match="method"):
        QuantSettings(method="average")
    with pytest.raises(ValidationError, match="num_images"):
        QuantSettings(num_images=0)

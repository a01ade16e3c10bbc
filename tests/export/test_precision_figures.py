import math
from pathlib import Path

import pytest
import torch

from compressor.errors import CheckError
from compressor.export.precision_figures import check_distance, figures, figures_of


class Outputs:
    """A runner that gives ``rows`` of a table, as many as the batch has images."""

    engine = "fake"

    def __init__(self, rows):
        self.rows, self.start, self.size = torch.tensor(rows), 0, 0

    def prepare(self, batch):
        self.start, self.size = self.start + self.size, len(batch)

    def run(self):
        return self.rows[self.start : self.start + self.size]


WANTED = [[3.0, 0.0], [0.0, 4.0], [5.0, 0.0]]
BATCHES = [torch.zeros(2, 1), torch.zeros(1, 1)]


def test_figures_are_those_of_the_definitions():
    got = [[3.0, 0.0], [0.0, 4.0], [0.0, 5.0]]

    measured = figures(Outputs(WANTED), Outputs(got), BATCHES)

    assert measured.relative_l2 == pytest.approx(1.0)  # sqrt(50 / 50)
    assert measured.sqnr_db == pytest.approx(0.0)
    assert measured.cosine == pytest.approx(0.5)  # 25 of 50
    assert measured.top1_agreement == pytest.approx(2 / 3)
    assert measured.num_images == 3


def test_a_tenth_of_noise_is_twenty_decibels():
    wanted = torch.tensor([[10.0, 0.0]])

    assert figures_of(wanted, wanted + torch.tensor([[0.0, 1.0]])).sqnr_db == pytest.approx(20)


def test_equal_outputs_have_no_noise():
    measured = figures(Outputs(WANTED), Outputs(WANTED), BATCHES)

    assert (measured.relative_l2, measured.sqnr_db, measured.top1_agreement) == (0.0, None, 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_no_numbers_are_refused_and_counted(value):
    broken = [[3.0, 0.0], [value, 4.0], [5.0, value]]

    with pytest.raises(CheckError, match="For 2 of 3 images the converted network gives NaN"):
        figures(Outputs(WANTED), Outputs(broken), BATCHES)
    with pytest.raises(CheckError, match="For 2 of 3 images the float32 network gives NaN"):
        figures(Outputs(broken), Outputs(WANTED), BATCHES)


def test_outputs_that_are_no_numbers_are_told_with_the_name_of_the_file():
    with pytest.raises(CheckError, match=r"For 3 of 3 images net\.onnx gives NaN"):
        figures(Outputs(WANTED), Outputs([[math.nan, 0.0]] * 3), BATCHES, "net.onnx")


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(CheckError, match=r"outputs of \[3, 2\], the converted network of \[3, 1\]"):
        figures(Outputs(WANTED), Outputs([[1.0], [2.0], [3.0]]), BATCHES)


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp16", 1e-2), ("bf16", 3e-2)])
def test_each_precision_has_its_bound(precision, bound):
    path = Path("made.onnx")
    check_distance(bound, precision, path)

    with pytest.raises(CheckError, match=rf"made\.onnx: relative_l2 .* of {precision}"):
        check_distance(bound * 1.1, precision, path)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_eight_bits_have_no_bound(precision):
    check_distance(0.9, precision, Path("made.onnx"))


def test_a_figure_that_is_no_number_does_not_pass():
    with pytest.raises(CheckError, match="relative_l2"):
        check_distance(math.nan, "fp16", Path("made.onnx"))

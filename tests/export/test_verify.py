import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.errors import CheckError, ModelError
from compressor.export.verify import (
    PARITY_BATCHES,
    Parity,
    check_parity,
    max_rel_diff,
    of_all_sizes,
    parity,
    predictor,
    random_inputs,
    relative_l2,
    runner_parity,
    spread,
)

IMAGE_SHAPE = (3, 16, 16)
GOOD = Parity(max_rel_diff=1e-6, relative_l2=1e-6, num_inputs=8, spread=0.5)
FILE = Path("model.onnx")


class Outputs:
    """A runner that gives ``outputs`` in turn, whatever the batch."""

    engine = "fake"

    def __init__(self, *outputs):
        self._outputs = [torch.tensor(output) for output in outputs]

    def prepare(self, batch):
        self.batch = batch

    def run(self):
        return self._outputs.pop(0)


def test_differences_are_relative_to_the_largest_output():
    reference, other = torch.tensor([4.0, 0.0, -8.0]), torch.tensor([4.0, 1.0, -8.0])

    assert max_rel_diff(reference, other) == 1 / 8
    assert relative_l2(reference, other) == pytest.approx(1 / math.sqrt(80))


def test_differences_below_float32_are_seen_in_float64():
    reference = torch.tensor([1.0], dtype=torch.float64)

    assert max_rel_diff(reference, reference + 1e-12) == pytest.approx(1e-12, rel=1e-3)


@pytest.mark.parametrize("measure", [max_rel_diff, relative_l2])
def test_against_nothing_only_nothing_is_equal(measure):
    assert measure(torch.zeros(3), torch.zeros(3)) == 0.0
    assert measure(torch.zeros(3), torch.ones(3)) == math.inf


def test_spread_is_zero_for_outputs_that_ignore_the_image():
    assert spread(torch.tensor([[3.0, -4.0]] * 5)) == 0.0
    assert spread(torch.tensor([[3.0, -4.0], [3.0, -2.0]])) == 0.5


def test_random_inputs_have_the_sizes_and_are_the_same_each_time():
    inputs = random_inputs(IMAGE_SHAPE)

    assert [tuple(batch.shape) for batch in inputs] == [(n, *IMAGE_SHAPE) for n in PARITY_BATCHES]
    assert all(map(torch.equal, inputs, random_inputs(IMAGE_SHAPE)))
    assert not torch.equal(inputs[0], random_inputs(IMAGE_SHAPE, seed=1)[0])


def test_the_exported_file_computes_what_the_network_computes(net, exported):
    measured = parity(net, exported, random_inputs(IMAGE_SHAPE))

    check_parity(measured, exported)
    assert measured.num_inputs == sum(PARITY_BATCHES)
    assert 0 < measured.max_rel_diff < 1e-5
    assert net.training


def test_a_file_of_another_network_is_refused_with_figure_and_bound(net, exported):
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.block.weight[0, 0, 0, 0] += 0.5

    measured = parity(other, exported, random_inputs(IMAGE_SHAPE))

    with pytest.raises(CheckError, match=r"model\.onnx: max_rel_diff .* above the bound 1e-04"):
        check_parity(measured, exported)


def test_images_of_another_size_are_refused(net, exported):
    with pytest.raises(ModelError, match=r"takes inputs of shape \['batch', 3, 16, 16\]"):
        parity(net, exported, random_inputs((3, 32, 32)))


def test_figures_are_those_of_the_worst_batch():
    reference, other = Outputs([[1.0], [2.0]], [[4.0]]), Outputs([[1.0], [2.0]], [[3.0]])

    measured = runner_parity(reference, other, [torch.zeros(2), torch.zeros(1)])

    assert measured == Parity(max_rel_diff=0.25, relative_l2=0.25, num_inputs=3, spread=0.75)


def test_a_nan_in_any_batch_is_never_equal():
    reference = Outputs([[1.0], [2.0]], [[4.0]], [[5.0]])
    other = Outputs([[1.0], [2.0]], [[math.nan]], [[5.0]])

    measured = runner_parity(reference, other, [torch.zeros(1)] * 3)

    with pytest.raises(CheckError, match="max_rel_diff to the network is nan"):
        check_parity(measured, FILE)


def test_outputs_of_different_shape_are_refused():
    with pytest.raises(CheckError, match=r"fake gives \[1, 2\], fake gives \[1, 1\]"):
        runner_parity(Outputs([[1.0, 2.0]]), Outputs([[1.0]]), [torch.zeros(1)])


@pytest.mark.parametrize("name", ["max_rel_diff", "relative_l2"])
@pytest.mark.parametrize("figure", [1.01e-4, math.inf, math.nan])
def test_a_figure_above_the_bound_is_refused_by_name(name, figure):
    with pytest.raises(CheckError, match=f"model.onnx: {name} to the network is"):
        check_parity(dataclasses.replace(GOOD, **{name: figure}), FILE)


def test_figures_at_the_bound_pass():
    at_the_bound = dataclasses.replace(GOOD, max_rel_diff=1e-4, relative_l2=1e-4)

    check_parity(at_the_bound, FILE)  # does not raise

    with pytest.raises(CheckError, match="above the bound 1e-05"):
        check_parity(at_the_bound, FILE, tolerance=1e-5)


@pytest.mark.parametrize("flat", [0.0, 1e-7, math.nan])
def test_outputs_that_do_not_vary_prove_nothing(flat):
    with pytest.raises(CheckError, match="the same output for all 8 inputs"):
        check_parity(dataclasses.replace(GOOD, spread=flat), FILE)


def test_the_predictor_gives_the_networks_logits(net, exported):
    images = torch.randn(4, *IMAGE_SHAPE)
    predict = predictor(OnnxRuntimeRunner(exported, num_threads=1))

    with torch.no_grad():
        expected = copy.deepcopy(net).eval()(images)
    torch.testing.assert_close(predict(images), expected)
    assert predict(images[:1]).shape == (1, 10)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        OnnxRuntimeRunner(tmp_path / "absent.onnx", num_threads=1)


@pytest.mark.parametrize(
    ("num_images", "sizes"), [(256, [1, 2, 7, 64, 64, 64, 54]), (5, [1, 2, 2]), (1, [1])]
)
def test_images_go_through_a_converted_file_in_batches_of_several_sizes(num_images, sizes):
    images = torch.arange(num_images).float().reshape(-1, 1)
    batches = of_all_sizes(images)
    assert [len(batch) for batch in batches] == sizes
    assert torch.equal(torch.cat(batches), images)

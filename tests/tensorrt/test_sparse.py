import json

import numpy as np
import pytest

from compressor.errors import ModelError
from compressor.tensorrt.graph import read_graph
from compressor.tensorrt.inspector import read_layers
from compressor.tensorrt.sparse import (
    DENSE,
    MISALIGNED,
    check_eligible,
    is_two_of_four,
    report_of_build,
    sparse_report,
)

from .graphs import convolution, dense_weight, product, two_of_four


def reports(path):
    return sparse_report(read_graph(path))


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_a_layer_with_half_of_each_four_channels_is_eligible(tmp_path, kind):
    path = convolution(tmp_path / "net.onnx", kind, weight=two_of_four(dense_weight(8)))
    report = reports(path)
    assert (report.eligible, report.refused, report.chosen) == (("conv",), {}, None)


def test_channels_that_are_no_multiple_of_four_are_never_taken(tmp_path):
    path = convolution(tmp_path / "net.onnx", weight=two_of_four(dense_weight(6)))
    assert reports(path).refused == {MISALIGNED: 1}


def test_dense_weights_are_refused_with_the_reason(tmp_path):
    path = convolution(tmp_path / "net.onnx")
    assert reports(path).refused == {DENSE: 1}
    with pytest.raises(ModelError, match="no layer has 2:4 weights .*more than 2 weights"):
        check_eligible(read_graph(path))


@pytest.mark.parametrize("transposed", [True, False])
def test_a_linear_layer_is_looked_at_along_its_inputs(tmp_path, transposed):
    # Sparse along the inputs, and not along the outputs.
    weight = np.tile([1.0, 1.0, 0.0, 0.0], (6, 2))
    stored = weight if transposed else weight.T
    path = product(tmp_path / "net.onnx", "Gemm", transposed, stored)
    assert reports(path).eligible == ("linear",)


def test_two_of_four_is_asked_of_each_place_of_the_kernel():
    weight = np.zeros((2, 4, 1, 2))
    weight[:, :2, :, 0] = 1.0
    weight[:, 2:, :, 1] = 1.0
    assert is_two_of_four(weight, axis=1)
    weight[1, 0, 0, 1] = 1.0
    assert not is_two_of_four(weight, axis=1)


def test_a_group_of_four_starts_at_a_multiple_of_four():
    weight = np.array([[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]])
    assert is_two_of_four(weight, axis=1)
    assert not is_two_of_four(np.roll(weight, 2, axis=1), axis=1)


def test_a_report_is_one_line_for_people(tmp_path):
    assert str(reports(convolution(tmp_path / "net.onnx"))) == (
        f"0 layers eligible for 2:4, 1 not: {DENSE}; sparse tactics: unknown by their names "
        "(unmeasured), unknown by the builder's log"
    )


def layer(name, tactic):
    text = {"Name": name, "LayerType": "CaskConvolution", "TacticName": tactic}
    return read_layers(json.dumps({"Layers": [text]}), "net.plan")[0]


SPARSE, PLAIN = layer("a", "sparse_conv"), layer("b", "conv")
FOUND, CHOSE = "(Sparsity) Found 3 layer(s) eligible", "(Sparsity) Chose {} layer(s) using sparse"


@pytest.mark.parametrize(
    ("layers", "log", "counts", "warning"),
    [
        ([SPARSE, PLAIN], [FOUND, CHOSE.format(1)], (1, 1), None),
        ([SPARSE], [FOUND], (1, None), None),
        (None, [], (None, None), None),
        (None, [CHOSE.format(0)], (None, 0), "no layer runs a sparse tactic"),
        ([PLAIN], [], (0, None), "no layer runs a sparse tactic"),
        ([SPARSE], [CHOSE.format(2)], (1, 2), "1 by their names and 2 by the builder's log"),
        ([PLAIN], [CHOSE.format(2)], (0, 2), "believe the log"),
    ],
)
def test_what_was_chosen_is_held_against_the_builders_log(tmp_path, layers, log, counts, warning):
    report = report_of_build(reports(convolution(tmp_path / "net.onnx")), layers, log)
    named = None if report.chosen is None else len(report.chosen)
    assert (named, report.num_logged) == counts
    assert (report.warning() is None) if warning is None else (warning in report.warning())
    assert report.log == tuple(log)

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compressor.errors import ExportError
from compressor.export import structure_checks as checks
from compressor.export.structure_checks import Expected, check_structure

EXPECTED = Expected(image_shape=(3, 8, 8), opset=20, state_bytes=4 * 4 * 3 * 9)
INPUT = "float[batch, 3, 8, 8] images"
OUTPUT = "float[batch, 4, 6, 6] logits"
NORM = "BatchNormalization({}, vector, vector, vector, vector)"
HEADER = '<ir_version: 10, opset_import: ["" : 20]>'


def graph(body, inputs=INPUT, outputs=OUTPUT, header=HEADER):
    """Graph with the weights ``weight``, ``square`` and ``vector``."""
    model = onnx.parser.parse_model(f"{header} net ({inputs}) => ({outputs}) {{ {body} }}")
    shapes = {"weight": (4, 3, 3, 3), "square": (4, 4, 1, 1), "vector": (4,)}
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    return model


@pytest.fixture
def check(tmp_path):
    def run(model, expected=EXPECTED):
        path = tmp_path / "written.onnx"
        onnx.save(model, str(path))
        check_structure(onnx, path, expected, name="model.onnx")

    return run


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("logits = Conv(images, weight)", id="plain"),
        pytest.param(
            f"a = Conv(images, weight) b = Relu(a) logits = {NORM.format('b')}", id="norm"
        ),
        pytest.param(
            f"a = Conv(images, weight) b = {NORM.format('a')} logits = Add(a, b)",
            id="norm behind an output used twice",
        ),
        pytest.param(
            "a = Conv(images, weight) b = Conv(a, square) "
            f"c = {NORM.format('b')} logits = Conv(c, square)",
            id="norm behind a weight used twice",
        ),
        pytest.param(
            "mean = ReduceMean <keepdims = 0> (images) dynamic = Mul(weight, mean) "
            "logits = Conv(images, dynamic)",
            id="weight computed from the images",
        ),
        pytest.param(
            f"mean = ReduceMean <keepdims = 0> (images) dynamic = Mul(weight, mean) "
            f"a = Conv(images, dynamic) logits = {NORM.format('a')}",
            id="norm behind such a weight",
        ),
        pytest.param(
            "one = Constant <value = float {2.0}> () a = Conv(images, weight) logits = Mul(a, one)",
            id="Constant node",
        ),
    ],
)
def test_a_sound_file_passes(check, body):
    check(graph(body))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        pytest.param(
            "masked = Mul(weight, weight) logits = Conv(images, masked)",
            "the weight of .* is computed at each run",
            id="mask",
        ),
        pytest.param(
            "one = Constant <value = float {2.0}> () two = Mul(one, one) "
            "masked = Mul(weight, two) logits = Conv(images, masked)",
            "the weight of .* is computed at each run",
            id="mask computed in two steps",
        ),
        pytest.param(
            f"a = Conv(images, weight) logits = {NORM.format('a')}",
            "was not folded into",
            id="norm behind a convolution",
        ),
        pytest.param(
            "scale = Add(vector, vector) a = Conv(images, weight) "
            "logits = BatchNormalization(a, scale, vector, vector, vector)",
            "was not folded into",
            id="norm with computed constants",
        ),
        pytest.param(
            "a = Conv(images, weight) logits = Dropout(a)",
            "drops at random in evaluation mode",
            id="dropout",
        ),
    ],
)
def test_a_graph_that_should_have_been_simpler_is_refused(check, body, fault):
    with pytest.raises(ExportError, match=f"model.onnx: .*{fault}") as refused:
        check(graph(body))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("inputs", "outputs", "fault"),
    [
        ("float[2, 3, 8, 8] images", OUTPUT, r"inputs are .*\[2, 3, 8, 8\].*any batch size"),
        ("float[batch, 3, 9, 9] images", OUTPUT, r"\['batch', 3, 9, 9\]"),
        (f"{INPUT}, float[4] more", OUTPUT, "more"),
        ("double[batch, 3, 8, 8] images", OUTPUT, "the input is not float32"),
        (INPUT, "float[2, 4, 6, 6] logits", r"'logits' has shape \[2, 4, 6, 6\]"),
        (INPUT, "float[batch, 4, 6, 6] other", "'other' has shape"),
        (INPUT, f"{OUTPUT}, {INPUT}", r"gives 2 outputs, \['logits', 'images'\]"),
    ],
)
def test_inputs_and_outputs_that_were_not_asked_for_are_refused(check, inputs, outputs, fault):
    with pytest.raises(ExportError, match=f"model.onnx: .*{fault}"):
        check(graph("logits = Conv(images, weight)", inputs, outputs))


def test_another_opset_is_refused_with_both_numbers(check):
    with pytest.raises(ExportError, match=r"opset \[20\], not 22\. Set export\.opset"):
        check(graph("logits = Conv(images, weight)"), Expected((3, 8, 8), 22, 432))


def test_weights_in_another_file_are_refused(check):
    model = graph("logits = Conv(images, weight)")
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere")

    assert "weight was written to another file" in checks.fault_of_storage(onnx, model.graph)


def test_a_file_much_larger_than_the_weights_is_refused(check):
    model = graph("logits = Conv(images, weight)")
    unused = np.zeros(100_000, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(unused, "computed"))

    with pytest.raises(ExportError, match=r"has 40\d,\d{3} bytes, the network's weights 432"):
        check(model)


def test_a_graph_with_wrong_shapes_is_refused_by_the_checker(check):
    with pytest.raises(ExportError, match="ONNX's checker refuses the file") as refused:
        check(graph("logits = Conv(images, square)"))

    assert "\n" not in str(refused.value)


def test_importing_the_modules_does_not_import_the_engines():
    code = (
        "import sys, compressor.bench.pair, compressor.export.onnx, compressor.export.verify; "
        "print(sorted({'onnx', 'onnxruntime', 'onnxscript'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_file_with_channels_that_the_network_has_not_is_refused(check):
    model, macs = graph("logits = Conv(images, weight)"), 6 * 6 * 4 * 3 * 9
    check(model, replace(EXPECTED, macs=macs))
    # What the exporter has computed once is not computed at each run.
    check(model, replace(EXPECTED, macs=macs + 1))

    with pytest.raises(ExportError, match=r"makes 3,888 MACs for an image, the network 2,916"):
        check(model, replace(EXPECTED, macs=3 * macs // 4))

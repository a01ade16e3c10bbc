import json

import onnx
import pytest

from compressor.errors import CheckError
from compressor.export.profiles import PROFILES
from compressor.file_profile import FileProfile, note_profile_
from compressor.tensorrt.graph import read_graph
from compressor.tensorrt.inspector import read_layers
from compressor.tensorrt.precision import (
    check_graph,
    check_plan,
    noted_gate,
    plan_precisions,
    share_gate,
)
from compressor.tensorrt.settings import PrecisionGate

from .graphs import convolution, kinds_in_turn

OLD, NEW = "10.x", "11.x"

CONVOLUTION = {
    "LayerType": "CaskConvolution",
    "ParameterType": "Convolution",
    "TacticName": "sm80_xmma_fprop_implicit_gemm_i8i8",
}
SPARSE = CONVOLUTION | {"TacticName": "sm80_xmma_fprop_sparse_conv_f16f16"}
POOLING = {"LayerType": "CaskPooling", "ParameterType": "Pooling", "TacticName": "pool"}
REFORMAT = {"LayerType": "Reformat", "ParameterType": "Reformat", "TacticName": "copy_conv"}
FUSED = {"LayerType": "kgen", "TacticName": "__myl", "Metadata": "[ONNX Layer: node_Conv_3]"}


def tensor(schema, text):
    """One tensor of the inspector; ``text`` is format and type, as each schema writes them."""
    layout, kind = text
    if schema == OLD:
        return {"Name": "x", "Dimensions": [1, 8], "Format/Datatype": f"{layout} {kind} format"}
    return {"Name": "x", "Dimensions": [1, 8], "Format": layout, "Datatype": kind}


def inspected(schema, *layers):
    """JSON of the inspector, of one of its schemas; each layer is what it is and what it reads."""
    entries = [
        kind | {"Name": f"layer{i}", "Inputs": [tensor(schema, text)], "Outputs": []}
        for i, (kind, text) in enumerate(layers)
    ]
    names = ["images", "logits"]
    if schema == OLD:
        return json.dumps({"Layers": entries, "Bindings": names})
    records = [{"Name": name, "IOMode": "Input", "DataType": "Float"} for name in names]
    return json.dumps({"Layers": entries, "I/O Tensors": records})


BOTH = pytest.mark.parametrize("schema", [OLD, NEW])
INT8 = ("Thirty-two wide channel vectorized row major", "Int8")
FP16 = ("Channel major", "FP16")
FP32 = ("Row major linear", "FP32")


@BOTH
def test_layers_are_counted_by_what_they_read(schema):
    text = inspected(
        schema,
        (CONVOLUTION, INT8),
        (CONVOLUTION, INT8),
        (FUSED, FP16),
        (POOLING, FP16),
        (REFORMAT, FP32),
    )
    precisions = plan_precisions(read_layers(text, "net.plan", {"node_Conv_3"}))
    assert precisions.products == {"int8": 2, "fp16": 1}
    assert precisions.others == {"fp16": 1}
    assert precisions.num_reformats == 1
    assert precisions.share("int8") == pytest.approx(2 / 3)
    assert precisions.share("fp8") == 0.0


@pytest.mark.parametrize(
    ("text", "name"),
    [("Half", "fp16"), ("Float", "fp32"), ("BF16", "bf16"), ("BFloat16", "bf16"), ("FP8", "fp8")],
)
def test_short_names_of_types_are_known(text, name):
    joint = inspected(OLD, (CONVOLUTION, ("", text)))
    apart = inspected(NEW, (CONVOLUTION, ("Row major", text)))
    assert {read_layers(each, "")[0].precision for each in (joint, apart)} == {name}


def test_a_type_that_is_not_known_is_not_taken_for_another():
    layers = read_layers(inspected(NEW, (CONVOLUTION, ("Row major", "Complex64"))), "")
    assert layers[0].precision == "unknown"


@BOTH
def test_a_sparse_tactic_is_seen(schema):
    layers = read_layers(inspected(schema, (SPARSE, FP16), (CONVOLUTION, FP16)), "")
    assert [layer.is_sparse for layer in layers] == [True, False]


@BOTH
def test_the_gate_names_the_layers_at_other_precisions(schema):
    text = inspected(schema, (CONVOLUTION, INT8), *[(CONVOLUTION, FP32)] * 4, (POOLING, INT8))
    layers = read_layers(text, "net.plan")
    check_plan("net.plan", layers, PrecisionGate(precision="int8", min_share=0.2))
    with pytest.raises(CheckError, match=r"1 of 5 .* 0\.20, .* 0\.21 .*layer1 \(fp32\).*1 more"):
        check_plan("net.plan", layers, PrecisionGate(precision="int8", min_share=0.21))


def test_a_plan_without_products_does_not_pass_the_gate():
    layers = read_layers(inspected(OLD, (POOLING, FP16)), "net.plan")
    with pytest.raises(CheckError, match="no convolution or matrix product"):
        check_plan("net.plan", layers, PrecisionGate(precision="fp16", min_share=0.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no layers"),
        ("[1]", "lists no layers"),
        ('{"Layers": []}', "lists no layers"),
        ('{"Layers": ["conv1", "conv2"]}', "without details"),
    ],
)
def test_what_shows_no_layers_is_an_error(text, said):
    with pytest.raises(CheckError, match=said):
        read_layers(text, "net.plan")


def test_a_file_is_held_against_the_gate_before_it_is_built(tmp_path):
    graph = read_graph(convolution(tmp_path / "net.onnx", "int8"))
    check_graph(graph, PrecisionGate(precision="int8", min_share=1.0))
    with pytest.raises(CheckError, match=r"0 of 1 layers are fp16.*conv \(int8\)"):
        check_graph(graph, PrecisionGate(precision="fp16"))


def noted(path, profile):
    """The file, with the note of ``profile`` in it."""
    proto = onnx.load(path)
    note_profile_(proto, FileProfile(profile, ("tensorrt",)))
    onnx.save(proto, str(path))
    return read_graph(path)


def test_layers_that_stay_in_float32_are_allowed_for_in_the_plan(tmp_path):
    graph = read_graph(kinds_in_turn(tmp_path / "net.onnx", ["fp16", "fp16", "fp16", "fp32"]))
    assert share_gate(graph, "fp16", 1.0) == PrecisionGate(precision="fp16", min_share=0.75)
    assert share_gate(graph, "fp16", 0.8).min_share == pytest.approx(0.6)


def test_a_file_with_no_layer_at_its_precision_is_refused(tmp_path):
    graph = read_graph(convolution(tmp_path / "net.onnx", "fp32"))
    told = "none of its 1 convolutions and matrix products is fp16.*leave its profile out of tensor"
    with pytest.raises(CheckError, match=told):
        share_gate(graph, "fp16", 0.9)


def test_a_file_is_gated_at_the_precision_of_its_own_profile(tmp_path):
    path = kinds_in_turn(tmp_path / "net.onnx", ["fp16", "fp32"])
    assert noted_gate(read_graph(path)) is None
    assert noted_gate(noted(path, "fp16")) == PrecisionGate(precision="fp16", min_share=0.45)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_profile_is_gated_at_its_precision(tmp_path, profile):
    graph = noted(convolution(tmp_path / "net.onnx", profile.precision), profile.name)
    assert noted_gate(graph).precision == profile.precision

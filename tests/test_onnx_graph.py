import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from compressor.errors import MissingExtra, ModelError
from compressor.onnx_graph import (
    SCOPES,
    attribute,
    known_shapes,
    load_onnx,
    makers_of,
    onnx_module,
    scope,
    sizes,
    source_of,
    true_inputs,
    type_name,
)

FLOAT = TensorProto.FLOAT


@pytest.fixture
def model():
    """One product whose weight is stored, listed among the inputs too, and read through a cast."""
    nodes = [
        helper.make_node("Cast", ["stored"], ["w"], to=FLOAT),
        helper.make_node("Gemm", ["x", "w"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", FLOAT, ["n", 8]),
            helper.make_tensor_value_info("stored", FLOAT, [4, 8]),
        ],
        [helper.make_tensor_value_info("y", FLOAT, [None, 4])],
        [numpy_helper.from_array(np.ones((4, 8), np.float32), "stored")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"\xff\xfftext", "is not an ONNX file"),
        (b"", "holds no network"),
        (b"\x08\x01", "holds no network"),
    ],
)
def test_what_holds_no_network_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ModelError, match=rf"net\.onnx.* {message}") as refused:
        load_onnx(path)

    assert "\n" not in str(refused.value)


def test_a_part_that_lies_elsewhere_is_read_only_if_it_is_asked_for(model, tmp_path):
    external_data_helper.convert_model_to_external_data(model, location="data", size_threshold=0)
    onnx.save(model, tmp_path / "net.onnx")
    stored = load_onnx(tmp_path / "net.onnx").graph.initializer[0]
    assert numpy_helper.to_array(stored).sum() == 32

    (tmp_path / "data").unlink()

    assert load_onnx(tmp_path / "net.onnx", with_data=False).graph.node
    with pytest.raises(ModelError, match=r"net\.onnx: a part that lies in a file of its own"):
        load_onnx(tmp_path / "net.onnx")


def test_a_stored_weight_is_no_input(model):
    assert [value.name for value in true_inputs(model.graph)] == ["x"]


def test_sizes_are_numbers_names_or_none(model):
    assert sizes(model.graph.input[0]) == ("n", 8)
    assert sizes(model.graph.output[0]) == (None, 4)


@pytest.mark.parametrize(("kind", "name"), [(1, "FLOAT"), (10, "FLOAT16"), (999, "999")])
def test_a_type_without_a_name_keeps_its_number(kind, name):
    assert type_name(kind) == name


def test_only_shapes_without_a_free_size_are_known(model):
    number = helper.make_tensor_value_info("number", FLOAT, [])
    unknown = helper.make_tensor_value_info("unknown", FLOAT, None)
    model.graph.value_info.extend([number, unknown])

    assert known_shapes(model.graph) == {"stored": (4, 8), "number": ()}


def test_a_tensor_is_followed_through_the_given_operators_alone(model):
    makers = makers_of(model.graph)

    assert source_of("w", makers, {"Cast"}) == "stored"
    assert source_of("w", makers, {"Identity"}) == "w"
    assert source_of("y", makers, {"Cast"}) == "y"
    assert set(makers) == {"w", "y"}


def test_an_attribute_that_is_not_there_has_its_default(model):
    gemm = model.graph.node[1]

    assert (attribute(gemm, "transB", 0), attribute(gemm, "transA", 7)) == (1, 7)


@pytest.mark.parametrize(
    ("note", "module"),
    [
        ("['', 'features', 'features.3', 'relu_2']", "features.3"),
        ("['', 'relu']", ""),
        ("['', '_empty_nn_module_stack_from_metadata_hook', 'permute']", ""),
        ("not a list", ""),
    ],
)
def test_the_scope_is_the_innermost_module_of_the_note(note, module):
    node = helper.make_node("Relu", ["x"], ["y"])
    entry = node.metadata_props.add()
    entry.key, entry.value = SCOPES, note

    assert scope(node) == module


def test_a_module_that_is_missing_says_what_to_install():
    with pytest.raises(MissingExtra, match=r"onnx\.absent cannot be imported .*install onnx"):
        onnx_module("onnx.absent")

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compressor.bench.onnx_input import onnx_image_shape
from compressor.errors import ModelError


@pytest.fixture
def make_file(tmp_path):
    """A file of one ReLU and, unless told otherwise, a weight that is added."""

    def make(dims, kind=onnx.TensorProto.FLOAT, weights=True, more_inputs=()):
        value = helper.make_tensor_value_info("images", kind, dims)
        stored = [numpy_helper.from_array(np.ones(1, np.float32), "w")] if weights else []
        nodes = [helper.make_node("Relu", ["images"], ["y"])]
        nodes += [helper.make_node("Identity", ["w"], ["z"])] if weights else []
        others = [helper.make_tensor_value_info(n, kind, [1]) for n in more_inputs]
        graph = helper.make_graph(
            nodes, "g", [value, *others], [helper.make_tensor_value_info("y", kind, None)], stored
        )
        path = tmp_path / "file.onnx"
        onnx.save(helper.make_model(graph), path)
        return path

    return make


def test_the_shape_is_that_of_one_image(onnx_path):
    assert onnx_image_shape(onnx_path) == (3, 8, 8)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_small_features_with_channels_first_are_taken(make_file, size):
    assert onnx_image_shape(make_file(["batch", 64, size, size])) == (64, size, size)


def refuse(*_words, **_options):
    raise PermissionError("not yours")


def test_a_file_that_the_machine_cannot_read_is_not_called_broken(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"gone\.onnx: there is no such file"):
        onnx_image_shape(tmp_path / "gone.onnx")

    (tmp_path / "closed.onnx").touch(mode=0o000)
    monkeypatch.setattr(onnx, "load", refuse)
    with pytest.raises(PermissionError):
        onnx_image_shape(tmp_path / "closed.onnx")


def test_a_weight_that_is_listed_among_the_inputs_is_no_input(make_file):
    assert onnx_image_shape(make_file(["n", 3, 8, 8], more_inputs=["w"])) == (3, 8, 8)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (["n", 8, 8, 3], r"channels last \(NHWC\)"),
        (["n", "h", "w", 3], r"channels last \(NHWC\)"),
        (["n", 3, "height", 8], "whose height is not fixed"),
        (["n", 3, 8, None], "whose width is not fixed"),
        (["n", "c", 8, 8], "whose channels is not fixed"),
        (["n", 64], "not images of shape"),
    ],
)
def test_an_input_that_is_no_image_of_one_size_is_refused_in_one_line(make_file, dims, message):
    with pytest.raises(ModelError, match=message) as refused:
        onnx_image_shape(make_file(dims))

    assert "\n" not in str(refused.value)


def test_a_file_without_weights_is_refused(make_file):
    with pytest.raises(ModelError, match="holds no weights"):
        onnx_image_shape(make_file(["n", 3, 8, 8], weights=False))


def test_two_inputs_are_refused_by_name(make_file):
    with pytest.raises(ModelError, match=r"has 2 inputs \(images, mask\)"):
        onnx_image_shape(make_file(["n", 3, 8, 8], more_inputs=["mask"]))


def test_another_type_is_named(make_file):
    with pytest.raises(ModelError, match="its input is float16, not float32"):
        onnx_image_shape(make_file(["n", 3, 8, 8], kind=onnx.TensorProto.FLOAT16))


@pytest.mark.parametrize("content", [b"", b"not a protobuf message", b"\x08\x01"])
def test_what_is_not_onnx_is_refused(tmp_path, content):
    path = tmp_path / "file.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match="is not an ONNX file"):
        onnx_image_shape(path)

import tempfile
from collections import Counter

import onnx
import pytest
import torch

from compressor.errors import DataError, ExportError
from compressor.export.precision_figures import figures
from compressor.export.precision_runner import AsWrittenRunner
from compressor.export.profiles import PROFILES
from compressor.export.quant import Quantised
from compressor.export.quant_calibration import QuantSettings
from compressor.file_profile import read_profile
from compressor.files import sha256

SETTINGS = QuantSettings(num_images=24, batch_size=10)
IMAGES = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TYPES = onnx.TensorProto
INT8 = ["int8-ort-cpu", "int8-openvino", "int8-tensorrt"]


@pytest.fixture(scope="module")
def made(exported, tmp_path_factory):
    """Write a file of a profile once, and give its path."""
    folder, paths = tmp_path_factory.mktemp("quant"), {}

    def write(name, settings=SETTINGS, kept=frozenset()):
        key = (name, settings, kept)
        if key not in paths:
            path = folder / f"{len(paths)}.onnx"
            with Quantised(PROFILES[name], exported, IMAGES, settings) as quantised:
                quantised.write(path, kept)
            paths[key] = path
        return paths[key]

    return write


def zero_points(path):
    """Type and values of the zero points of activations, and of weights."""
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    found = {"activations": [], "weights": []}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            kind = "weights" if node.input[0] in stored else "activations"
            found[kind].append(stored[node.input[2]])
    return found


def kinds(tensors):
    return {tensor.data_type for tensor in tensors}


@pytest.mark.parametrize("name", INT8)
@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_outputs_are_close_to_the_float_file(made, exported, name, method):
    path = made(name, SETTINGS.model_copy(update={"method": method}))

    reference, other = AsWrittenRunner(exported, 1), AsWrittenRunner(path, 1)
    measured = figures(reference, other, [IMAGES])

    assert 0 < measured.relative_l2 < 0.1
    assert measured.cosine > 0.99


def test_the_cpu_gets_unsigned_activations_and_signed_weights_by_channel(made):
    points = zero_points(made("int8-ort-cpu"))

    assert kinds(points["activations"]) == {TYPES.UINT8}
    weights = [tensor for tensor in points["weights"] if tensor.data_type == TYPES.INT8]
    assert sorted(tensor.dims[0] for tensor in weights if tensor.dims) == [10, 16, 16]


def test_tensorrt_gets_signed_symmetric_activations_and_no_quantised_bias(made):
    path = made("int8-tensorrt")
    points = zero_points(path)

    assert kinds([*points["activations"], *points["weights"]]) == {TYPES.INT8}
    values = [onnx.numpy_helper.to_array(tensor) for tensor in points["activations"]]
    assert all((value == 0).all() for value in values)
    biases = [t for t in onnx.load(str(path)).graph.initializer if t.name.endswith("bias")]
    assert kinds(biases) == {TYPES.FLOAT}
    assert len(biases) == 3


def test_openvino_gets_unsigned_activations_and_float_biases(made):
    points = zero_points(made("int8-openvino"))

    assert kinds(points["activations"]) == {TYPES.UINT8}
    assert kinds(points["weights"]) == {TYPES.INT8}


def test_fp8_is_e4m3_and_always_calibrated_by_its_distribution(made):
    path = made("fp8-tensorrt")
    points = zero_points(path)

    assert kinds([*points["activations"], *points["weights"]]) == {TYPES.FLOAT8E4M3FN}
    assert read_profile(path).calibration == {"method": "distribution", "num_images": 24}


@pytest.mark.parametrize("name", [*INT8, "fp8-tensorrt"])
def test_a_kept_layer_has_a_float_weight_and_the_others_have_not(made, name):
    graph = onnx.load(str(made(name, kept=frozenset({"block"})))).graph

    floats = [
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == TYPES.FLOAT and len(tensor.dims) > 1
    ]
    assert floats == ["block.weight"]


def test_layers_are_named_after_their_modules(exported):
    with Quantised(PROFILES["int8-tensorrt"], exported, IMAGES, SETTINGS) as quantised:
        assert list(quantised.layers) == ["stem", "block", "head"]


@pytest.mark.parametrize("name", ["int8-ort-cpu", "int8-tensorrt", "fp8-tensorrt"])
def test_a_rebuild_from_the_same_ranges_is_the_file_made_anew(exported, made, name, tmp_path):
    with Quantised(PROFILES[name], exported, IMAGES, SETTINGS) as quantised:
        for kept in (frozenset({"stem"}), frozenset()):
            quantised.write(tmp_path / "rebuilt.onnx", kept)

    assert (tmp_path / "rebuilt.onnx").read_bytes() == made(name).read_bytes()


def test_ranges_are_those_of_all_batches_together(made):
    """Batch by batch, and not of the last: one with large values changes the scales."""
    louder = IMAGES.clone()
    louder[0] *= 10

    assert scale_of_images(made("int8-tensorrt")) == pytest.approx(
        IMAGES.abs().max().item() / 127, rel=0.02
    )
    assert louder.abs().max() > 2 * IMAGES.abs().max()


def scale_of_images(path):
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    node = next(node for node in graph.node if node.input[0] == "images")
    return stored[node.input[1]].item()


@pytest.mark.parametrize("batch_size", [1, 24])
def test_the_size_of_batches_changes_no_range(made, batch_size):
    other = made("int8-tensorrt", SETTINGS.model_copy(update={"batch_size": batch_size}))

    assert scale_of_images(other) == scale_of_images(made("int8-tensorrt"))


def test_a_lower_percentile_cuts_more_off(made):
    scales = [
        scale_of_images(
            made("int8-tensorrt", QuantSettings(num_images=24, method="percentile", percentile=p))
        )
        for p in (90.0, 99.9)
    ]

    assert scales[0] < 0.8 * scales[1]


def test_no_operator_set_is_named_that_no_node_is_of(made):
    proto = onnx.load(str(made("int8-tensorrt")))

    assert [entry.domain for entry in proto.opset_import] == [""]
    assert Counter(node.domain for node in proto.graph.node).keys() == {""}


def test_the_batch_stays_free(made):
    runner = AsWrittenRunner(made("int8-ort-cpu"), 1)
    for size in (1, 7):
        runner.prepare(IMAGES[:size])
        assert runner.run().shape == (size, 10)


def test_the_file_says_how_it_was_calibrated_and_from_what(made, exported):
    note = read_profile(
        made("int8-ort-cpu", QuantSettings(num_images=24, method="percentile", percentile=99.0))
    )

    assert note.calibration == {"method": "percentile", "num_images": 24, "percentile": 99.0}
    assert note.float_sha256 == sha256(exported)


def test_the_float_file_is_left_as_it_was(exported, tmp_path):
    before = exported.read_bytes()

    with Quantised(PROFILES["int8-tensorrt"], exported, IMAGES, SETTINGS) as quantised:
        quantised.write(tmp_path / "made.onnx", frozenset())

    assert exported.read_bytes() == before
    assert list(exported.parent.iterdir()) == [exported]


def test_images_that_cannot_be_used_are_refused_before_anything_is_written(exported):
    with pytest.raises(DataError, match="takes"):
        Quantised(PROFILES["int8-ort-cpu"], exported, IMAGES[:, :1], SETTINGS)


def test_no_folder_is_made_before_the_context_is_entered_and_none_stays(
    exported, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    quantised = Quantised(PROFILES["int8-ort-cpu"], exported, IMAGES, SETTINGS)

    assert list(tmp_path.iterdir()) == []
    with quantised:
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_cannot_be_prepared_is_refused_in_one_line_and_nothing_stays(
    exported, tmp_path, monkeypatch
):
    proto = onnx.load(str(exported))
    del proto.opset_import[:]
    path = tmp_path / "no_opset.onnx"
    path.write_bytes(proto.SerializeToString())
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    with (
        pytest.raises(ExportError, match=r"no_opset\.onnx cannot be prepared for 8") as refused,
        Quantised(PROFILES["int8-ort-cpu"], path, IMAGES, SETTINGS),
    ):
        raise AssertionError

    assert "\n" not in str(refused.value)
    assert list((tmp_path / "temporary").iterdir()) == []

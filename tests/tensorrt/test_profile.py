import pytest
from pydantic import ValidationError

from compressor.errors import ModelError
from compressor.tensorrt.graph import read_graph
from compressor.tensorrt.profile import input_shapes
from compressor.tensorrt.settings import BatchRange, BuildSettings

from .graphs import convolution

BATCH = BatchRange(min=1, opt=4, max=8)


def test_a_free_batch_gets_the_range(tmp_path):
    graph = read_graph(convolution(tmp_path / "net.onnx"))
    sizes = input_shapes(graph, BATCH)["images"]
    assert (sizes.min, sizes.opt, sizes.max) == ((1, 4, 16, 16), (4, 4, 16, 16), (8, 4, 16, 16))


def test_a_free_height_is_refused_with_the_shape(tmp_path):
    graph = read_graph(convolution(tmp_path / "net.onnx", size="height"))
    with pytest.raises(ModelError, match="batchx4xheightxheight.*only its first size"):
        input_shapes(graph, BATCH)


def test_a_fixed_batch_takes_no_other_range(tmp_path):
    graph = read_graph(convolution(tmp_path / "net.onnx", batch=4))
    assert input_shapes(graph, BatchRange(min=4, opt=4, max=4))["images"].opt[0] == 4
    with pytest.raises(ModelError, match="fixed shape 4x4x16x16, and batch asks for 1 to 8"):
        input_shapes(graph, BATCH)


@pytest.mark.parametrize("sizes", [(2, 1, 8), (1, 9, 8), (0, 1, 1)])
def test_a_range_out_of_order_is_refused(sizes):
    with pytest.raises(ValidationError):
        BatchRange(min=sizes[0], opt=sizes[1], max=sizes[2])


@pytest.mark.parametrize("key", ["fp16", "int8", "calibrator", "workspace"])
def test_settings_know_no_flag_of_precision(key):
    with pytest.raises(ValidationError, match="not permitted"):
        BuildSettings(**{key: True})

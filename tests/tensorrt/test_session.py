import pytest
import torch

from compressor.errors import ModelError
from compressor.tensorrt.dtypes import DTYPES, torch_dtype
from compressor.tensorrt.load import OpenPlan
from compressor.tensorrt.names import MEMBERS
from compressor.tensorrt.session import Session, check_tensor

from .fakes import CPU, FP4, INPUT, Named

ZEROS = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (ZEROS.half(), "is torch.float32, the tensor is torch.float16"),
        (ZEROS.to("meta"), "lies on cpu, the tensor on meta"),
        (ZEROS.T, "is not contiguous"),
        (ZEROS[:, ::2], "is not contiguous"),
    ],
)
def test_a_tensor_that_the_engine_would_misread_is_refused(tensor, said):
    with pytest.raises(ModelError, match=said):
        check_tensor("images", tensor, torch.float32, CPU)


def test_a_tensor_that_fits_is_taken():
    check_tensor("images", ZEROS, torch.float32, CPU)


def test_every_type_that_torch_has_is_mapped():
    assert set(DTYPES) == set(MEMBERS["DataType"])
    assert torch_dtype(Named(name="BF16"), "x") == torch.bfloat16
    assert torch_dtype(Named(name="FP8"), "x") == torch.float8_e4m3fn


def test_a_type_that_torch_has_not_is_refused_with_the_tensor(kit, engine):
    engine.kinds["images"] = FP4
    session = Session(kit, OpenPlan(engine, None, None), "net.plan")
    with pytest.raises(ModelError, match=r"net\.plan: images is of the type FP4"):
        session.reshape((2, 3))


def test_a_plan_with_two_inputs_is_refused(kit, engine):
    engine.get_tensor_mode = {"images": INPUT, "logits": INPUT}.__getitem__
    with pytest.raises(ModelError, match=r"inputs \['images', 'logits'\]"):
        Session(kit, OpenPlan(engine, None, None), "net.plan")


def test_a_context_that_is_not_made_is_said(kit, engine):
    engine.context = None
    with pytest.raises(ModelError, match="no memory left"):
        Session(kit, OpenPlan(engine, None, None), "net.plan")


def test_an_output_whose_shape_is_not_known_before_the_run_is_refused(kit, engine):
    engine.output_width = -1
    session = Session(kit, OpenPlan(engine, None, None), "net.plan")
    with pytest.raises(ModelError, match=r"shape \[2, -1\] of logits depends on the values"):
        session.reshape((2, 3))


def test_a_buffer_that_the_engine_does_not_take_is_said(kit, engine):
    engine.context.takes_addresses = False
    session = Session(kit, OpenPlan(engine, None, None), "net.plan")
    with pytest.raises(ModelError, match="does not take a buffer for images"):
        session.reshape((2, 3))

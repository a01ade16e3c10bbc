"""Kept norms against the norm of full width, over inputs whose removed channels are zero."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.export import Dim
from torch.nn import functional
from torchvision.models.convnext import LayerNorm2d

from compressor.errors import StripError
from compressor.strip.norm_functions import channel_norm, group_norm, layer_norm, rms_norm
from compressor.strip.norms import (
    KEPT,
    KeptGroupNorm,
    KeptLayerNorm,
    KeptLayerNorm2d,
    KeptRMSNorm,
    divisor_of,
    kept,
)

BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5}
KEEP = torch.tensor([True, False, True, True, False, False, True, True, True, False, False, True])
"""Of 12 channels in 3 groups, the same number in each group."""
GROUP_KEEP = torch.tensor([True, False, True, True] * 3)

NORMS = {
    "layer": lambda: nn.LayerNorm(12),
    "layer of a volume": lambda: nn.LayerNorm((12, 2, 3)),
    "layer 2d": lambda: LayerNorm2d(12, eps=1e-6),
    "group": lambda: nn.GroupNorm(3, 12),
    "rms": lambda: nn.RMSNorm(12),
    "rms with eps": lambda: nn.RMSNorm(12, eps=1e-3),
}


def shape_and_axis(norm):
    """Shape of an input for ``norm``, and the axis of its channels."""
    if isinstance(norm, LayerNorm2d | nn.GroupNorm):
        return (4, 12, 2, 3), 1
    if len(norm.normalized_shape) > 1:
        return (4, *norm.normalized_shape), 1
    return (4, 5, 12), 2


def case(kind, dtype, keep=None):
    """A norm of 12 channels, an input with zeros where channels go, and the kept norm of it."""
    generator = torch.Generator().manual_seed(0)
    norm = NORMS[kind]().to(dtype)
    for parameter in norm.parameters():
        values = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
        parameter.data.copy_(values)
    keep = keep if keep is not None else (GROUP_KEEP if kind == "group" else KEEP)
    shape, axis = shape_and_axis(norm)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).add(0.7).to(dtype)
    mask = keep.reshape([-1 if place == axis else 1 for place in range(len(shape))])
    return norm, x * mask, keep, axis, kept(narrow(norm, keep), divisor_of(norm))


def narrow(norm, keep):
    """The norm cut to the kept channels, as stripping leaves it."""
    slim, width = copy.deepcopy(norm), int(keep.sum())
    for name, parameter in list(slim.named_parameters()):
        setattr(slim, name, nn.Parameter(parameter.detach()[keep]))
    if isinstance(slim, nn.GroupNorm):
        slim.num_channels = width
    else:
        slim.normalized_shape = (width, *slim.normalized_shape[1:])
    return slim


def pick(tensor, keep, axis):
    return tensor.index_select(axis, keep.nonzero().flatten())


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("kind", NORMS)
def test_the_kept_norm_equals_the_full_one_where_channels_are_left(kind, dtype):
    norm, x, keep, axis, slim = case(kind, dtype)
    full, cut = norm(x), slim(pick(x, keep, axis))
    assert (pick(full, keep, axis) - cut).abs().max() <= BOUNDS[dtype]
    assert cut.dtype == dtype
    assert cut.std() > 0.1


@pytest.mark.parametrize("kind", NORMS)
def test_the_ordinary_norm_of_the_new_width_does_not(kind):
    norm, x, keep, axis, _ = case(kind, torch.float64)
    difference = pick(norm(x), keep, axis) - narrow(norm, keep)(pick(x, keep, axis))
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize("kind", NORMS)
def test_gradients_are_those_of_the_masked_network(kind):
    norm, x, keep, axis, slim = case(kind, torch.float64)
    full_x, slim_x = x.clone().requires_grad_(), pick(x, keep, axis).requires_grad_()
    pull = torch.randn(slim_x.shape, generator=torch.Generator().manual_seed(1)).double()
    (pick(norm(full_x), keep, axis) * pull).sum().backward()
    (slim(slim_x) * pull).sum().backward()
    assert (pick(full_x.grad, keep, axis) - slim_x.grad).abs().max() <= 1e-12
    for full, cut in zip(norm.parameters(), slim.parameters(), strict=True):
        assert (full.grad[keep] - cut.grad).abs().max() <= 1e-12


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float64, 1e-13), (torch.float32, 2e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)],
    ids=str,
)
def test_with_nothing_removed_it_is_the_norm_of_torch(kind, dtype, bound):
    norm, x, _, _, whole = case(kind, dtype, keep=torch.ones(12, dtype=torch.bool))
    assert whole(x).dtype == norm(x).dtype
    assert (whole(x).double() - norm(x).double()).abs().max() <= bound


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["layer", "layer 2d", "group"])
def test_half_precision_does_not_cancel_on_a_large_mean(kind, dtype):
    norm, x, keep, axis, slim = case(kind, torch.float64)
    # Numbers that half precision holds exactly: what is left to see is the norm's own rounding.
    x = pick((x * 4).round() + 200, keep, axis)
    exact = slim(x)
    found = copy.deepcopy(slim).to(dtype)(x.to(dtype)).double()
    assert torch.equal(x, x.to(dtype).double())
    assert (found - exact).abs().max() <= 8 * torch.finfo(dtype).eps * exact.abs().max()


def test_a_mean_far_above_the_spread_does_not_cancel_in_float32():
    x = torch.randn(64, 48, generator=torch.Generator().manual_seed(0)) + 1000
    exact = layer_norm(x.double(), (48,), None, None, 1e-5, 48)
    found = layer_norm(x, (48,), None, None, 1e-5, 48).double()
    naive = (x - x.mean(1, keepdim=True)) / (
        (x * x).mean(1, keepdim=True) - x.mean(1, keepdim=True) ** 2
    ).clamp(min=1e-5).sqrt()
    assert (found - exact).abs().max() < 1e-3
    assert (naive.double() - exact).abs().max() > 0.03


@settings(max_examples=60, deadline=None)
@given(num_kept=st.integers(1, 20), num_gone=st.integers(0, 60), seed=st.integers(0, 9))
def test_any_widths_equal_the_full_norm_filled_up_with_zeros(num_kept, num_gone, seed):
    generator = torch.Generator().manual_seed(seed)
    total = num_kept + num_gone
    x = torch.randn(3, 2, num_kept, generator=generator, dtype=torch.float64)
    full = torch.cat([x, torch.zeros(3, 2, num_gone)], dim=2)
    layer = layer_norm(x, (num_kept,), None, None, 1e-5, total)
    rms = rms_norm(x, (num_kept,), None, None, total)
    images = x.movedim(2, 1)[..., None]
    by_channel = channel_norm(images, None, None, 1e-5, total)[..., 0].movedim(1, 2)
    assert (functional.layer_norm(full, (total,))[..., :num_kept] - layer).abs().max() <= 1e-12
    assert (functional.rms_norm(full, (total,))[..., :num_kept] - rms).abs().max() <= 1e-12
    assert torch.allclose(layer, by_channel, rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(left=st.integers(1, 4), gone=st.integers(0, 5), num_groups=st.integers(1, 4))
def test_any_number_of_groups_equals_the_full_group_norm(left, gone, num_groups):
    generator = torch.Generator().manual_seed(left + 10 * gone)
    x = torch.randn(2, num_groups, left, 3, generator=generator, dtype=torch.float64)
    full = torch.cat([x, torch.zeros(2, num_groups, gone, 3)], dim=2).flatten(1, 2)
    wanted = functional.group_norm(full, num_groups).reshape(2, num_groups, -1, 3)[:, :, :left]
    found = group_norm(x.flatten(1, 2), num_groups, None, None, 1e-5, left + gone)
    assert (wanted.flatten(1, 2) - found).abs().max() <= 1e-12


def network():
    """A kept norm of each kind in one network for images."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer_2d = case("layer 2d", torch.float32)[-1]
            self.squeeze = nn.Conv2d(int(KEEP.sum()), 9, 1)
            self.group = case("group", torch.float32)[-1]
            self.mix = nn.Linear(9, int(KEEP.sum()))
            self.layer = case("layer", torch.float32)[-1]
            self.rms = case("rms", torch.float32)[-1]

        def forward(self, x):
            x = self.group(self.squeeze(self.layer_2d(x)))
            return self.rms(self.layer(self.mix(x.flatten(2).mean(2))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().eval()


def images(num_images):
    generator = torch.Generator().manual_seed(num_images)
    return torch.randn(num_images, int(KEEP.sum()), 6, 5, generator=generator)


def onnx_outputs(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


@pytest.fixture(scope="module", params=["dynamo", "torchscript"])
def onnx_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("norms") / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter is deprecated, and says so
        if request.param == "dynamo":
            shapes = ({0: Dim("batch", min=1)},)
            options = {"dynamo": True, "dynamic_shapes": shapes, "verbose": False}
        else:
            axes = {"x": {0: "batch"}}
            options = {"dynamo": False, "dynamic_axes": axes, "input_names": ["x"]}
        torch.onnx.export(network(), (images(2),), str(path), opset_version=18, **options)
    return path


@pytest.mark.parametrize("num_images", [1, 2, 7])
def test_both_exporters_write_files_that_agree_at_any_batch_size(onnx_file, num_images):
    x = images(num_images)
    wanted = network()(x).detach().numpy()
    np.testing.assert_allclose(onnx_outputs(onnx_file, x), wanted, atol=2e-6)


@pytest.mark.parametrize("num_images", [1, 5])
def test_an_exported_program_takes_any_batch_size(num_images):
    shapes = ({0: Dim("batch", min=1)},)
    program = torch.export.export(network(), (images(2),), dynamic_shapes=shapes)
    x = images(num_images)
    assert (program.module()(x) - network()(x)).abs().max() <= 1e-6


@pytest.mark.parametrize("kind", NORMS)
def test_names_in_the_state_dict_are_those_of_the_ordinary_norm(kind):
    norm, _, _, _, slim = case(kind, torch.float32)
    assert list(slim.state_dict()) == list(norm.state_dict())
    assert isinstance(slim, type(norm).__mro__[1] if kind == "layer 2d" else type(norm))


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        (nn.LayerNorm(4, bias=False), KeptLayerNorm),
        (nn.LayerNorm(4, elementwise_affine=False), KeptLayerNorm),
        (LayerNorm2d(4), KeptLayerNorm2d),
        (nn.GroupNorm(2, 4, affine=False), KeptGroupNorm),
        (nn.RMSNorm(4, eps=1e-4), KeptRMSNorm),
    ],
    ids=repr,
)
def test_a_kept_norm_has_the_very_same_parameters(norm, kind):
    made = kept(norm.eval(), 8)
    assert type(made) is kind
    assert "divisor=8" in repr(made)
    assert not made.training
    own = dict(made.named_parameters())
    assert all(own[name] is value for name, value in norm.named_parameters())
    assert len(own) == len(list(norm.parameters()))


def test_a_norm_cut_twice_keeps_its_first_divisor():
    norm = nn.LayerNorm(12)
    widths = []
    for before, after in pairwise((12, 7, 3)):
        divisor = divisor_of(norm)
        norm = kept(narrow(norm, torch.arange(before) < after), divisor)
        widths.append((norm.normalized_shape, norm.divisor))
    assert widths == [((7,), 12), ((3,), 12)]


class MyNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize(
    ("layer", "divisor", "told"),
    [
        (MyNorm(4), 8, r"MyNorm cannot keep its divisor; torch\.nn\.\S*LayerNorm, .*norms\.py\.$"),
        (nn.BatchNorm2d(4), 8, "BatchNorm2d cannot keep its divisor"),
        (nn.LayerNorm(4), 3, "over 4 entries, more than the divisor 3"),
        (nn.GroupNorm(2, 8), 3, "over 4 entries, more than the divisor 3"),
    ],
)
def test_a_layer_that_cannot_is_refused_in_one_line(layer, divisor, told):
    with pytest.raises(StripError, match=told) as refused:
        kept(layer, divisor)
    assert "\n" not in str(refused.value)


def test_a_norm_that_is_half_cut_is_refused():
    norm = nn.LayerNorm(8)
    norm.weight = nn.Parameter(torch.ones(5))
    with pytest.raises(StripError, match=r"The weight of LayerNorm.* has shape \(5,\).*\(8,\)"):
        kept(norm, 8)


def test_what_cannot_be_kept_has_no_divisor():
    with pytest.raises(StripError, match="BatchNorm2d cannot keep its divisor"):
        divisor_of(nn.BatchNorm2d(4))


@pytest.mark.parametrize("name", ["LayerNorm", "LayerNorm2d"])
def test_norms_of_timm_are_kept(name):
    layers = pytest.importorskip("timm.layers")
    norm = getattr(layers, name)(12)
    x = torch.randn(2, 12, 4, 12, generator=torch.Generator().manual_seed(0))
    whole = kept(norm, 12)
    assert (whole(x) - norm(x)).abs().max() <= 1e-6


def test_every_name_in_the_table_is_that_of_a_class():
    for name in KEPT:
        home, _, kind = name.rpartition(".")
        if not home.startswith("timm"):
            assert hasattr(pytest.importorskip(home), kind)

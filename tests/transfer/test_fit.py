"""What fits another task's network: the head is new, the stem follows the channels."""

import pytest
import torch

from compressor.couplings.coupling import named_tensors
from compressor.errors import ModelError, StructureError
from compressor.recipe import shipped
from compressor.tasks.model import ModelSettings, build_model
from compressor.transfer.fit import (
    adapted,
    check_same_network,
    check_takes,
    fit,
    with_drawn_head,
    without_data,
)

HOME = (shipped("models").parent,)
HEAD = {"classifier.weight", "classifier.bias"}


def settings(kind="residual", **arguments):
    return ModelSettings(
        factory=f"models/{kind}.py:{kind}_net", arguments={"widths": [4, 6], **arguments}
    )


def net(num_classes, channels, kind="residual", **arguments):
    return build_model(settings(kind, **arguments), num_classes, channels, HOME)


def fit_of(old, num_classes, channels, kind="residual", **arguments):
    def build(classes, channels):
        return net(classes, channels, kind, **arguments)

    model = build(num_classes, channels)
    return fit(old.state_dict(), model, build, num_classes, channels), model


@pytest.mark.parametrize("num_classes", [10, 3])
def test_the_head_is_what_follows_the_number_of_classes_even_where_that_is_the_same(num_classes):
    found, _ = fit_of(net(10, 1), num_classes, 1)
    assert found.head == HEAD
    assert found.stem == ()


def test_all_but_the_head_is_kept():
    old = net(10, 1)
    found, model = fit_of(old, 3, 1)
    new, before = model.state_dict(), old.state_dict()
    moved = found.moved(before, new)
    assert all(torch.equal(moved[name], new[name]) for name in HEAD)
    assert all(torch.equal(moved[n], before[n]) for n in moved.keys() - HEAD)


def test_a_grey_network_gives_on_a_grey_image_in_colour_what_it_gave():
    old = net(3, 1).eval()
    found, model = fit_of(old, 3, 3)
    assert found.stem == ("stem.weight",)
    state = found.moved(old.state_dict(), model.state_dict())
    state |= {name: old.state_dict()[name] for name in HEAD}
    model.load_state_dict(state)
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(model.eval()(images.expand(-1, 3, -1, -1)), old(images))
    assert "stem.weight has 1 input channels in the run and 3 here" in found.notes()[1]


def test_a_colour_network_gives_on_a_grey_image_what_it_gave_on_that_in_colour():
    old = net(3, 3).eval()
    found, model = fit_of(old, 3, 1)
    state = found.moved(old.state_dict(), model.state_dict())
    state |= {name: old.state_dict()[name] for name in HEAD}
    model.load_state_dict(state)
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(model.eval()(images), old(images.expand(-1, 3, -1, -1)))
    assert "its weights are summed" in found.notes()[1]


def test_a_stem_in_colour_keeps_the_sum_over_its_channels():
    weight = torch.randn(4, 1, 3, 3)
    torch.testing.assert_close(adapted(weight, 3).sum(dim=1, keepdim=True), weight)


def test_several_channels_that_become_others_are_refused_with_the_tensor():
    with pytest.raises(StructureError, match=r"stem.weight takes 3 input channels .* and 4 here"):
        fit_of(net(3, 3), 3, 4)


def test_a_flattened_head_at_another_image_size_is_refused_with_the_tensor():
    old = net(3, 1, "plain", image_size=8)
    with pytest.raises(StructureError, match=r"classifier.weight has shape \(3, 24\) .* flattened"):
        fit_of(old, 3, 1, "plain", image_size=16)


def test_a_tensor_that_nothing_explains_is_refused_by_name():
    with pytest.raises(StructureError, match=r"stem.weight has shape \(4, 1, 3, 3\) .*\(5, 1"):
        fit_of(net(3, 1), 3, 1, widths=[5, 6])


def test_a_tensor_that_only_one_network_has_is_refused_by_name():
    with pytest.raises(StructureError, match="the new network has it and the run's one has not"):
        fit_of(net(3, 1), 3, 1, widths=[4, 6, 6])


def test_a_network_whose_output_is_fixed_has_no_head_to_make_new():
    old = net(3, 1)
    with pytest.raises(ModelError, match="no head to make new"):
        fit(old.state_dict(), net(3, 1), lambda _classes, channels: net(3, channels), 3, 1)


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (settings("plain"), "model.factory is 'models/plain.py:plain_net' and the run's"),
        (settings(stem_stride=2), "arguments.stem_stride is 2 and the run's not given"),
        (settings(widths=[4, 8]), r"arguments.widths is \[4, 8\] and the run's \[4, 6\]"),
        (
            settings().model_copy(update={"weights": "x.pth"}),
            "model.weights is 'x.pth', but a transfer takes its weights from the run",
        ),
    ],
)
def test_another_network_is_refused_with_what_differs(new, told):
    with pytest.raises(ModelError, match=told):
        check_same_network(settings(), new)


def test_arguments_that_follow_the_data_may_differ():
    old = settings("plain", image_size=8, num_classes=10)
    check_same_network(old, settings("plain", image_size=16, num_classes=3))
    assert without_data(old).arguments == {"widths": [4, 6], "image_size": 8}


def test_images_that_the_network_cannot_take_are_refused_in_one_line():
    with pytest.raises(ModelError, match=r"cannot take images of shape \(3, 8, 8\)") as refusal:
        check_takes(net(3, 1), torch.zeros(2, 3, 8, 8))
    assert "\n" not in str(refusal.value)


def test_a_head_of_zeros_is_drawn_by_the_seed_and_no_other_tensor_changes():
    state = net(10, 1).state_dict()
    zero = {**state, "classifier.weight": torch.zeros(10, 6), "norm.bias": torch.zeros(4)}
    one, again, other = (with_drawn_head(zero, HEAD, seed) for seed in (0, 0, 1))
    assert one["classifier.weight"].abs().min() > 0
    assert torch.equal(one["classifier.weight"], again["classifier.weight"])
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])
    assert all(torch.equal(one[n], zero[n]) for n in zero.keys() - {"classifier.weight"})
    assert all(torch.equal(with_drawn_head(state, HEAD, 0)[n], state[n]) for n in state)


def test_the_fit_names_tensors_that_the_network_has():
    found, model = fit_of(net(10, 1), 3, 3)
    assert found.head | set(found.stem) <= named_tensors(model).keys()

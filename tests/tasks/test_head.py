"""Weights for another number of classes: the head is new, all else is the file's."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compressor.errors import ModelError
from compressor.tasks.head import followers, only_head_differs
from compressor.tasks.model import ModelSettings, start_model
from compressor.tasks.weights import load_weights

SOURCE = """
from torch import nn

def net(num_classes=3, width=4):
    body = [nn.Flatten(), nn.Linear(12, width), nn.ReLU()]
    return nn.Sequential(*body, nn.Linear(width, num_classes))
"""


def make(num_classes, width=4):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, width), nn.ReLU(), nn.Linear(width, num_classes)
    )


@pytest.fixture
def start(tmp_path):
    (tmp_path / "net.py").write_text(SOURCE)

    def begin(trained, classes=3, **arguments):
        save_file(trained.state_dict(), tmp_path / "w.safetensors")
        settings = ModelSettings(factory="net.py:net", arguments=arguments, weights="w.safetensors")
        return start_model(settings, classes, 3, (tmp_path,))

    return begin


def test_the_head_is_what_follows_the_number_of_classes():
    assert followers(make(3), make(4)) == ("3.weight", "3.bias")


def test_weights_of_the_same_classes_are_taken_whole(start):
    trained = make(3)
    begun = start(trained)
    assert (begun.new_head, begun.notices) == ((), ())
    assert all(torch.equal(v, begun.model.state_dict()[n]) for n, v in trained.state_dict().items())


def test_weights_of_other_classes_keep_all_but_the_head(start):
    trained = make(10)
    begun = start(trained)
    assert begun.new_head == ("3.weight", "3.bias")
    assert torch.equal(begun.model[1].weight, trained[1].weight)
    assert begun.model[3].weight.shape == (3, 4)
    assert begun.model[3].weight.abs().sum() > 0
    (notice,) = begun.notices
    assert "tells 10 classes apart and the data has 3: the head (3.weight, 3.bias) is new" in notice


def test_the_head_is_drawn_alike_every_time(start):
    torch.manual_seed(5)
    first = start(make(10)).model[3].weight
    torch.manual_seed(5)
    make(10)  # the draws of the weights saved above
    torch.manual_seed(5)
    assert torch.equal(first, start(make(10)).model[3].weight)


def test_a_wider_body_is_refused_though_the_head_differs_too(start):
    with pytest.raises(ModelError, match="is not for this network"):
        start(make(10, width=5))


def test_a_number_of_classes_that_the_recipe_fixes_is_not_changed(start):
    with pytest.raises(ModelError, match=r"3.weight has shape \(10, 4\)"):
        start(make(10), classes=10, num_classes=3)


def test_whole_loading_still_refuses_other_classes(tmp_path):
    save_file(make(10).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="is not for this network"):
        load_weights(make(3), tmp_path / "w.safetensors")


def test_half_a_head_is_no_head():
    wanted, given = make(3).state_dict(), make(10).state_dict()
    head = ("3.weight", "3.bias")
    assert only_head_differs(wanted, given, head)
    assert not only_head_differs(wanted, {**given, "3.bias": wanted["3.bias"]}, head)
    assert not only_head_differs(wanted, given, ("3.weight",))

"""What recipes may say of growing."""

import pytest

from compressor.errors import RecipeError
from compressor.recipe import find_recipe, load_recipe


def faults(*overrides):
    path = find_recipe("digits-grow")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return [line.removeprefix(f"{path} with --set: ") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.schedule=cosine", 'train.schedule = "cosine": a network grows in rounds of'),
        ("train.schedule=linear", 'Write train.schedule = "constant", or leave [grow] out.'),
        ("train.warmup_epochs=0.5", "train.warmup_epochs = 0.5: a network grows in rounds of"),
        ("train.epochs=2", "grow.round_epochs = 2: the network is widened between rounds, and"),
        ("grow.round_epochs=11", "with train.epochs = 10 there is only one. Lower it, or raise"),
        ("model.weights=w.safetensors", 'model.weights = "w.safetensors": growing starts from'),
        ("ticket.weights=rewind", 'ticket.weights = "rewind": a network that grows begins with'),
        ("ticket.weights=rewind-to-epoch-2", "so there is nothing to go back to. Write"),
    ],
)
def test_what_does_not_fit_growing_is_one_line(override, told):
    (line,) = faults(override)
    assert told in line


def test_all_that_does_not_fit_is_told_at_once():
    assert len(faults("train.schedule=linear", "train.warmup_epochs=1", "train.epochs=1")) == 3


def test_the_fewest_rounds_that_can_grow_are_two():
    assert load_recipe(find_recipe("digits-grow"), ["train.epochs=3"]).train.epochs == 3


def test_fresh_weights_need_nothing_to_go_back_to():
    assert load_recipe(find_recipe("digits-grow"), ["ticket.weights=fresh"]).ticket.epoch is None


def test_a_shipped_recipe_grows_and_strips_in_one_loop():
    recipe = load_recipe(find_recipe("digits-grow-strip"))
    assert recipe.grow.strips == 1

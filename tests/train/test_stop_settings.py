"""What recipes may say of ending a search early."""

import pytest

from compressor.errors import RecipeError
from compressor.recipe import Recipe, find_recipe, load_recipe
from compressor.strip.budget import StripSettings
from compressor.train.stop_settings import StopSettings

DIGITS = find_recipe("digits")


def stop(text, *overrides):
    return load_recipe(DIGITS, [f"stop={{ {text} }}", *overrides])


def faults(text, *overrides):
    with pytest.raises(RecipeError) as caught:
        stop(text, *overrides)
    return [line.removeprefix(f"{DIGITS} with --set: ") for line in str(caught.value).splitlines()]


def test_a_recipe_has_no_rule_unless_it_says_so():
    assert load_recipe(DIGITS).stop is None


@pytest.mark.parametrize(
    "text",
    [
        'rule = "accuracy", delta = 0.02, patience = 3',
        'rule = "stable", jaccard = 0.9, patience = 1',
        'rule = "share", share = 0.4',
        'rule = "budget"',
        'rule = "budget", keep_params = 0.4',
    ],
)
def test_a_rule_with_its_settings_survives_json(text):
    recipe = stop(text)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('rule = "share", patience = 3', "patience = 3 has no effect on rule share; leave it out"),
        ('rule = "stable", delta = 0.2', "delta = 0.2 has no effect on rule stable; leave it out"),
        ('rule = "accuracy", keep_macs = 0.2', "keep_macs = 0.2 has no effect on rule accuracy"),
        ('rule = "budget", keep_macs = 0.2, keep_params = 0.2', "are two budgets; give one"),
        ('rule = "stable", jaccard = 1.2', "stop.jaccard = 1.2: "),
        ('rule = "stabel"', 'stop.rule = "stabel": '),
        ("delta = 0.1", "stop.rule: the key is missing. Add it."),
        ('rule = "stable", pacience = 2', "stop.pacience: there is no such key. "),
        ('rule = "stable", patience = 4', "stop.patience = 4: with 4 epochs of search the rule"),
    ],
)
def test_settings_that_are_wrong_or_have_no_effect_are_one_line(text, told):
    (line,) = faults(text)
    assert line.startswith("stop")
    assert told in line


@pytest.mark.parametrize(
    ("rule", "overrides", "told"),
    [
        ("share", ["sparsity.method=random"], "random as set under sparsity has no support"),
        ("stable", ["sparsity.method=magnitude"], "magnitude as set under sparsity has no support"),
        ("stable", ["sparsity.level=weight"], "speaks of units in the support, and sparsity is de"),
        ("budget", ["sparsity.method=gates"], "needs a support that grows from nothing"),
        (
            "accuracy",
            ["sparsity={ method = 'magnitude', schedule = 'cubic', density = 0.5 }"],
            "needs a support that grows from nothing beside whole weights, and magnitude has none",
        ),
        ("stable", ["grow.growth=1.2"], "growing has a rule of its own"),
        ("budget", ["strip={ latency_ms = 3.0 }"], "needs a share as budget, and strip has latenc"),
        ("budget", ["strip={ at_epoch = 3 }"], "needs a share as budget, and strip has none"),
    ],
)
def test_rules_that_can_end_nothing_are_one_line(rule, overrides, told):
    (line,) = faults(f'rule = "{rule}"', *overrides)
    assert line.startswith("stop")
    assert told in line


@pytest.mark.parametrize("method", ["gates", "itop", "optg"])
def test_a_support_of_another_kind_may_still_be_waited_for_until_it_is_stable(method):
    recipe = stop('rule = "stable"', f'sparsity={{ method = "{method}" }}')
    assert recipe.stop.rule == "stable"


@pytest.mark.parametrize(
    ("own", "strip", "expected"),
    [
        ({}, {"keep_macs": 0.3}, (0.3, None)),
        ({}, {"keep_params": 0.3}, (None, 0.3)),
        ({}, {"keep_latency": 0.3}, (0.3, None)),
        ({"keep_params": 0.2}, {"keep_macs": 0.3}, (None, 0.2)),
        ({}, {}, (None, None)),
    ],
)
def test_a_rule_with_its_budget_written_out_depends_on_nothing_else(own, strip, expected):
    resolved = StopSettings(rule="budget", **own).with_budget(StripSettings(**strip))
    assert (resolved.keep_macs, resolved.keep_params) == expected
    assert resolved.with_budget(StripSettings(keep_macs=0.9)).keep_params == expected[1]
    other = StopSettings(rule="share")
    assert other.with_budget(StripSettings(**strip)) == other

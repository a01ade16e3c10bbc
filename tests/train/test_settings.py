import pytest
from pydantic import ValidationError

from compressor.train.settings import (
    DenseTrainSettings,
    OptimiserSettings,
    TrainSettings,
    TuneSettings,
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 1),
        ("accumulate", 0),
        ("optimizer", "adam"),
        ("lr", 0.0),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("schedule", "step"),
        ("warmup_epochs", -1.0),
        ("precision", "fp64"),
        ("lr", float("nan")),
        ("lr", "0.1"),
        ("learning_rate", 0.1),
    ],
)
def test_values_out_of_range_and_unknown_keys_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        OptimiserSettings(**{key: value})


def test_a_stage_must_say_its_epochs():
    with pytest.raises(ValidationError, match="epochs"):
        TrainSettings()


def test_the_dense_reference_has_epochs_of_its_own_only_if_asked_for():
    assert DenseTrainSettings().epochs is None
    assert DenseTrainSettings(epochs=3).epochs == 3
    with pytest.raises(ValidationError, match="epochs"):
        DenseTrainSettings(epochs=0)


@pytest.mark.parametrize(("key", "value"), [("teacher_weight", 1.1), ("temperature", 0.0)])
def test_distillation_has_ranges(key, value):
    with pytest.raises(ValidationError, match=key):
        TuneSettings(epochs=1, **{key: value})


def test_settings_survive_json():
    settings = TuneSettings(epochs=3, lr=0.03, schedule="linear", precision="bf16")
    assert TuneSettings.model_validate_json(settings.model_dump_json()) == settings

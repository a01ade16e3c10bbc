"""The run that these tests build is one as the pipeline leaves it, key by key."""

import pytest

from compressor.files import read_json

WHOLE = ["environment.json", "settings.json"]
PARTS = [
    *("summary.json", "dense/history.json", "train/history.json", "tune/history.json"),
    *("train/path.json", "strip/widths.json", "bench/latency.json"),
]


def keys(value, prefix=""):
    """Keys of nested mappings, joined by dots."""
    found = set()
    for key, inner in value.items():
        found |= {f"{prefix}{key}"} | (
            keys(inner, f"{prefix}{key}.") if isinstance(inner, dict) else set()
        )
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_it_has_the_keys_of_a_real_one(digits_run, reported_run, name):
    built, real = (read_json(folder / name) for folder in (reported_run, digits_run.folder))
    # Free words of the recipe, which go to the network.
    for content in (built, real):
        content.get("model", {}).pop("arguments", None)
    assert keys(built) == keys(real)


@pytest.mark.parametrize("name", PARTS)
def test_it_has_no_key_that_a_real_one_lacks(digits_run, reported_run, name):
    built, real = (read_json(folder / name) for folder in (reported_run, digits_run.folder))
    if isinstance(built, list):
        built, real = built[0], real[0]
    assert set(built) - set(real) == set()


@pytest.mark.parametrize("name", ["environment", "method"])
def test_it_was_timed_as_a_real_one_is(digits_run, reported_run, name):
    built, real = (
        read_json(folder / "bench/latency.json")[name]
        for folder in (reported_run, digits_run.folder)
    )
    for content in (built, real):
        content.pop("clock_facts", None)
    assert keys(built) == keys(real)


def test_networks_have_no_key_that_real_ones_lack(digits_run, reported_run):
    built, real = (
        read_json(folder / "summary.json")["slim"] for folder in (reported_run, digits_run.folder)
    )
    assert set(built) - set(real) == set()

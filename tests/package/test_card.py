"""The model card: read by the hub's own reader, and held against the figures of the run."""

import json
from dataclasses import replace

import pytest

from compressor import package
from compressor.files import read_json
from compressor.package.card import NOT_SAID, Records, card
from compressor.package.description import Counts
from compressor.strip.plan import StripPlan


@pytest.fixture(scope="module")
def told(packed):
    """What the card of the digits is made of: description, plan, records."""
    records = Records(
        certificate=read_json(packed / "certificate.json"),
        recipe=read_json(packed / "recipe.json"),
        environment=read_json(packed / "environment.json"),
    )
    plan = StripPlan.from_json(read_json(packed / "plan.json"))
    return package.read(packed).description, plan, records


def front(text):
    """The front matter as a value, without a reader of YAML: every value is JSON."""
    lines = text.split("---\n")[1].splitlines()
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}


def section(text, name):
    return text.split(f"## {name}\n")[1].partition("\n## ")[0]


def test_the_package_opens_with_the_card(packed, told):
    text = (packed / "README.md").read_text()
    assert text.startswith("---\nlicense: ")
    assert section(text, "Certificate") == section(card(*told), "Certificate")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        *("## How it was made", "## Certificate", "## Latency", "## Limits"),
        *("## Run it", "## Check it"),
    ]


def test_the_reader_of_the_hub_finds_licence_library_tags_and_accuracy(told):
    hub = pytest.importorskip("huggingface_hub", reason="pip install 'compressor[hub]'")
    description, *rest = told
    data = hub.ModelCard(card(description, *rest)).data
    assert (data.license, data.library_name) == ("unknown", "compressor")
    assert {"image-classification", "pruning", "dessilbi"} <= set(data.tags)
    assert data.metrics == ["accuracy"]
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type) == ("digits", "accuracy")
    assert result.metric_value == description.accuracy.slim


def test_a_licence_that_is_given_is_the_cards(told):
    description, *rest = told
    given = description.model_copy(update={"license": "cc-by-4.0"})
    assert front(card(given, *rest))["license"] == "cc-by-4.0"


def test_names_that_mean_something_in_yaml_are_quoted(told):
    description, *rest = told
    odd = description.model_copy(update={"data": 'a: "b"\n- c # ü'})
    text = card(odd, *rest)
    assert front(text)["model-index"][0]["results"][0]["dataset"]["name"] == 'a: "b"\n- c # ü'
    hub = pytest.importorskip("huggingface_hub", reason="pip install 'compressor[hub]'")
    assert hub.ModelCard(text).data.eval_results[0].dataset_name == 'a: "b"\n- c # ü'


def test_sizes_and_accuracy_are_those_of_the_description(told):
    description, *rest = told
    dense = Counts(macs=4 * description.counts.macs, params=description.counts.params, bytes=10**6)
    text = card(description.model_copy(update={"dense": dense}), *rest)
    macs, right = description.counts.macs, description.accuracy
    assert f"| multiply-accumulates an image | {4 * macs:,} | {macs:,} | 25.0% |" in text
    assert f"test images | {right.dense:.2%} | {right.slim:.2%} |" in text


def test_what_nobody_measured_is_said_to_be_so(told):
    description, plan, records = told
    update = {"accuracy": None, "dense": None}
    text = card(description.model_copy(update=update), plan, replace(records, recipe={}))
    assert f"| test accuracy | {NOT_SAID} | {NOT_SAID} | |" in text
    assert f"| parameters | {NOT_SAID} | {description.counts.params:,} | |" in text
    assert f"* Data: {NOT_SAID}.\n* Training: {NOT_SAID}." in text
    assert "recipe.json" not in text
    assert "model-index" not in front(text)
    assert section(text, "Latency").strip() == "Not measured here."
    assert "* Its accuracy is not said here." in section(text, "Limits")
    assert "test images from the same source" not in text


def test_the_limits_say_of_what_accuracy_was_measured(told):
    description, plan, records = told
    limits = section(card(*told), "Limits")
    assert "* Accuracy is of test images from the same source as the training images;" in limits
    assert "the report of the run has it for each class." in limits
    assert "not said here" not in limits
    without_run = section(card(description, plan, replace(records, recipe={})), "Limits")
    assert (
        "* Accuracy is of test images from the same source as the training images." in without_run
    )
    assert "class." not in without_run


def test_it_says_how_the_network_was_trained_and_cut(told):
    _, plan, records = told
    kept = sum(width.kept for width in plan.widths)
    made = section(card(*told), "How it was made")
    assert "* Data: digits." in made
    tune = records.recipe["tune"]["epochs"]
    assert f"dessilbi at level unit for 4 epochs, then {tune} epochs of tuning; seed 0" in made
    assert f"* Cut: {kept} of " in made


def test_it_says_where_the_weights_were_trained_before(told):
    description, plan, records = told
    recipe = {**records.recipe, "model": {**records.recipe["model"], "weights": "net.pth"}}
    made = section(card(description, plan, replace(records, recipe=recipe)), "How it was made")
    assert "* Training: from trained weights, method dessilbi" in made
    assert "net.pth" not in made


def test_certificate_figures_are_those_of_the_record(told):
    *_, records = told
    found = section(card(*told), "Certificate")
    assert f"{records.certificate['max_rel_diff_fp32']:.1e} in float32" in found
    assert f"{records.certificate['max_rel_diff_fp64']:.1e} in float64" in found
    assert f"over {records.certificate['inputs']} images" in found


def test_latency_that_was_measured_stands_in_a_table(packed, told):
    description, plan, records = told
    latency = read_json(packed.parent / "bench" / "latency.json")
    text = card(description, plan, replace(records, latency=latency))
    dense, slim = (latency[side]["onnxruntime"]["1"]["p50"] for side in ("dense", "slim"))
    ratio = latency["speedup"]["onnxruntime"]["1"]
    row = (
        f"| onnxruntime | 1 | {dense:.3f} | {slim:.3f} | {ratio['median']:.2f} ({ratio['low']:.2f}"
    )
    assert row in section(text, "Latency")
    assert latency["environment"]["cpu"] in section(text, "Latency")


def test_a_package_of_before_there_were_cards_is_still_read(copied, reseal):
    path = copied / "package.json"
    old = read_json(path)
    for key in ("dense", "data", "training", "license"):
        del old[key]
    path.write_text(json.dumps(old))
    reseal(copied)
    assert package.read(copied).description.license == "unknown"


def test_a_package_is_handed_on_whole(packed, tmp_path):
    from compressor import pull, push, verify_package

    push(packed.parent, str(tmp_path / "shelf"))
    pulled = pull(str(tmp_path / "shelf"), tmp_path / "mine")
    assert pulled.name == "digits"
    assert verify_package(tmp_path / "mine").holds

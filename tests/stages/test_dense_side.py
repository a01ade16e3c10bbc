"""What runs of one search know of the dense network from each other."""

import io

import pytest

from compressor.console import Console
from compressor.context import Shared
from compressor.files import read_json, sha256, write_text
from compressor.pipeline import Where
from compressor.sizes.slices import Size, Source, slice_run, sliced_recipe
from compressor.stages import delivery, dense_side


@pytest.fixture
def work(monkeypatch):
    """What was done of the dense network and of others: exports, and looks at the test images."""
    exports, looks = [], []
    export, look = dense_side.export_onnx, delivery.answers_of

    def exporting(model, *rest):
        exports.append(model)
        return export(model, *rest)

    def looking(context, model):
        looks.append(model)
        return look(context, model)

    monkeypatch.setattr(dense_side, "export_onnx", exporting)
    monkeypatch.setattr(delivery, "answers_of", looking)
    return exports, looks


def slice_of(run, folder, shared, share=0.5):
    source = Source.open(run.folder)
    recipe = sliced_recipe(source.recipe, Size("keep_macs", share), 0)
    console = Console(stream=io.StringIO())
    return slice_run(source, recipe, Where(folder, console, "cpu", until="verify", shared=shared))


def test_slices_export_and_look_at_the_dense_network_once(digits_run, tmp_path, work):
    exports, looks = work
    shared, first = Shared(), read_json(digits_run.folder / "verify/verify.json")
    for number, share in enumerate((0.5, 0.4), start=1):
        run = slice_of(digits_run, tmp_path / f"{share}", shared, share)
        # Masked, stripped and slim are another network in each.
        assert (len(exports), len(looks)) == (1, 1 + 3 * number)
        verified = read_json(run.path("verify", "verify.json"))
        assert verified["accuracy"]["dense"] == first["accuracy"]["dense"]
        assert verified["files"][1] == first["files"][1]
        rights = [row["dense_right"] for row in verified["classes"]]
        assert rights == [row["dense_right"] for row in first["classes"]]
        file = digits_run.folder / "export/dense.onnx"
        assert sha256(run.path("export", "dense.onnx")) == sha256(file)


def test_a_file_that_was_changed_since_is_not_taken(digits_run, tmp_path, work):
    shared = Shared()
    slice_of(digits_run, tmp_path / "a", shared)
    write_text(tmp_path / "a/export/dense.onnx", "changed")
    run = slice_of(digits_run, tmp_path / "b", shared, 0.4)
    assert len(work[0]) == 2
    file = digits_run.folder / "export/dense.onnx"
    assert sha256(run.path("export", "dense.onnx")) == sha256(file)


def test_runs_that_share_nothing_do_their_own_work(digits_run, tmp_path, work):
    for name in ("a", "b"):
        slice_of(digits_run, tmp_path / name, Shared())
    assert len(work[0]) == 2

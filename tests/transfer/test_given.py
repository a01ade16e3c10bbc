"""Work that is given to a stage of the pipeline in place of its own."""

import io

from compressor.console import Console
from compressor.files import write_json
from compressor.pipeline import Given, Where, run_recipe


def said_by(recipe, folder, given):
    stream = io.StringIO()
    where = Where(folder, Console(stream=stream), "cpu", until="inspect", given=given)
    run = run_recipe(recipe, where)
    return run, stream.getvalue()


def noting(number):
    def work(context, folder):
        write_json(folder / "noted.json", [context.recipe.name, number])

    return {"inspect": Given(work, number)}


def test_it_is_done_instead_and_not_again(high, tmp_path):
    run, said = said_by(high, tmp_path / "run", noting(1))
    assert run.path("inspect", "noted.json").read_text().split() == ["[", '"digits",', "1", "]"]
    assert not (run.folder / "inspect" / "couplings.json").exists()
    assert "done before" not in said
    _, said = said_by(high, tmp_path / "run", noting(1))
    assert "inspect: done before, unchanged" in said


def test_it_is_done_again_when_what_it_is_made_of_has_changed(high, tmp_path):
    said_by(high, tmp_path / "run", noting(1))
    run, said = said_by(high, tmp_path / "run", noting(2))
    assert "done before" not in said
    assert "2" in run.path("inspect", "noted.json").read_text()


def test_without_it_the_stage_does_its_own_work_again(high, tmp_path):
    said_by(high, tmp_path / "run", noting(1))
    run, _ = said_by(high, tmp_path / "run", {})
    assert run.path("inspect", "couplings.json").is_file()

from pathlib import Path

import pytest

from compressor.bench.subjects import FILE_ENGINES, is_subject, parse_subjects
from compressor.errors import ModelError


def test_a_path_alone_is_for_onnxruntime_and_a_prefix_names_the_engine(onnx_path):
    plain, named = parse_subjects([str(onnx_path), f"onnxruntime:{onnx_path}"])

    assert (plain.engine, plain.path) == (named.engine, named.path) == ("onnxruntime", onnx_path)
    assert plain.name != named.name


def test_the_same_file_twice_is_two_subjects(onnx_path):
    names = [subject.name for subject in parse_subjects([str(onnx_path)] * 3)]

    assert names == [str(onnx_path), f"{onnx_path}#2", f"{onnx_path}#3"]


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(ModelError, match="'caffe' is not an engine that runs files.*onnxruntime"):
        parse_subjects(["caffe:model.onnx"])


def test_a_file_whose_name_has_a_colon_is_still_found(onnx_path, monkeypatch):
    monkeypatch.chdir(onnx_path.parent)
    onnx_path.rename("a:b.onnx")

    assert parse_subjects(["a:b.onnx"])[0].path == Path("a:b.onnx")


def test_a_missing_file_is_named():
    with pytest.raises(ModelError, match="gone.onnx: there is no such file"):
        parse_subjects(["onnxruntime:gone.onnx"])


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_alone_is_for_the_engine_that_its_sidecar_names(make_plan, flavour):
    assert parse_subjects([str(make_plan(flavour))])[0].engine == flavour


def test_a_plan_alone_without_a_sidecar_is_refused(tmp_path):
    plan = tmp_path / "net.plan"
    plan.write_bytes(b"plan")

    with pytest.raises(ModelError, match=r"net\.plan has no sidecar"):
        parse_subjects([str(plan)])


@pytest.mark.parametrize("text", ["a.onnx", "onnxruntime:x", "dir/b.plan"])
def test_files_are_told_from_recipes(text):
    assert is_subject(text)
    assert not is_subject("net.xml")
    assert not is_subject("digits")
    assert not is_subject("recipes/digits.toml")


def test_every_engine_says_what_its_times_may_be_compared_with():
    wanted = {"device", "precision", "transfers", "cuda_graph", "spin", "comparable_to_trtexec"}

    assert all(set(engine.facts) == wanted for engine in FILE_ENGINES.values())

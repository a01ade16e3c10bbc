import json
import shutil
from dataclasses import replace

import onnx
import pytest
from click.testing import CliRunner

from compressor.bench.blocks import onnxruntime_block
from compressor.commands.group import Commands
from compressor.doctor.command import doctor
from compressor.doctor.diagnosis import diagnose, examine
from compressor.doctor.settings import DoctorSettings
from compressor.doctor.text import ROWS, as_text
from compressor.errors import ModelError, RunError

QUICK = DoctorSettings(runs=2)
METHOD = {
    **{"engine": "onnxruntime", "block": 16, "batch_size": 1, "num_threads": 1},
    **{"overhead_us": 8.0, "unmeasured": None, "precision": "fp32"},
    **{"files": {"dense": "dense.onnx", "slim": "model.onnx"}, "unplaced_share": {"slim": 0.0}},
}


@pytest.fixture
def invoke():
    group = Commands("compressor")
    group.add_command(doctor)
    return lambda *words: CliRunner().invoke(group, ["doctor", *map(str, words)])


def test_a_real_run_is_taken_apart_layer_by_layer(run):
    found = examine(run, QUICK)

    rows = {row.name: row for row in found.rows}
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert [row.share for row in found.rows] == sorted((r.share for r in found.rows), reverse=True)
    assert rows["block.conv1"].dense.out_channels == 32
    assert rows["block.conv1"].slim.out_channels == 18
    assert [finding.layer for finding in found.top] == [row.name for row in found.rows[:3]]
    assert found.method["block"] == onnxruntime_block()
    assert 0.5 < found.macs_share < 1
    assert found.method["unplaced_share"] == {"dense": 0.0, "slim": 0.0}


def test_the_record_says_whether_real_time_priority_was_given(run):
    method = examine(run, QUICK.model_copy(update={"clock": "realtime"})).method

    assert method["priority"]["name"] == "realtime"
    refused = method["priority"]["realtime_refused_because"]
    assert method["priority"]["realtime_granted"] is (refused is None)


def test_the_layers_with_the_most_time_come_first_each_with_advice(make_layer, facts):
    slim = {name: make_layer(name=name, us=us) for name, us in (("a", 50.0), ("b", 150.0))}
    dense = {name: make_layer(name=name) for name in ("a", "b")}

    found = diagnose("run", METHOD, (dense, slim), facts)

    assert [(f.layer, f.share) for f in found.top] == [("b", 0.75), ("a", 0.25)]
    assert all(finding.advice for finding in found.top)
    assert (found.dense_us, found.slim_us, found.macs_share) == (200.0, 200.0, 1.0)


def test_a_layer_that_was_removed_is_listed_and_never_among_the_top(make_layer, facts):
    dense = {name: make_layer(name=name) for name in ("kept", "gone")}

    found = diagnose("run", METHOD, (dense, {"kept": make_layer(name="kept")}), facts)

    gone = next(row for row in found.rows if row.name == "gone")
    assert (gone.kind, gone.slim, gone.share) == (None, None, 0.0)
    assert [finding.layer for finding in found.top] == ["kept"]
    assert "removed" in as_text(found, width=140)


def test_shares_of_fixed_cost_and_of_layouts_are_those_of_the_slim_network(make_layer, facts):
    slim = {
        "short": make_layer(name="short", us=5.0),
        "long": make_layer(name="long", us=95.0, layout_us=20.0),
    }

    found = diagnose("run", METHOD, ({}, slim), facts)

    assert found.overhead_share == pytest.approx(0.05)
    assert found.layout_share == pytest.approx(0.2)


def test_a_long_list_is_cut_and_says_so(make_layer, facts):
    slim = {f"layer{i}": make_layer(name=f"layer{i}") for i in range(ROWS + 5)}

    page = as_text(diagnose("run", METHOD, (slim, slim), facts), width=140)

    assert "5 further layers hold 16.67 % of the time" in page


def test_the_page_says_which_files_were_profiled_and_where_the_target_is_another(make_layer, facts):
    layers = {"a": make_layer(name="a")}

    def page(precision):
        found = diagnose("run", METHOD, (layers, layers), replace(facts, precision=precision))
        return " ".join(as_text(found, width=200).split())

    assert "model.onnx against dense.onnx, both in fp32: 100.00 % of the MACs" in page(None)
    assert "target is" not in page("fp32")
    assert "The recipe's target is int8, and these are the fp32 files" in page("int8")


def test_time_that_no_layer_can_be_given_is_told_where_it_is_much(make_layer, facts):
    layers = {"a": make_layer(name="a")}

    def page(share):
        method = METHOD | {"unplaced_share": {"dense": 0.1, "slim": share}}
        return " ".join(as_text(diagnose("run", method, (layers, layers), facts), 200).split())

    assert "that hold no node" not in page(0.1)
    assert "43.00 % of the slim network's time is in layers that hold no node" in page(0.43)


def test_json_is_all_that_stands_on_standard_output(invoke, run):
    result = invoke(run, "--json", "--runs", "2", "--batch", "2")

    record = json.loads(result.stdout)
    assert result.exit_code == 0
    assert record["method"]["batch_size"] == 2
    assert len(record["top"]) == 3
    assert record["environment"]["versions"]["onnxruntime"]


def test_the_page_names_the_network_the_layers_and_three_findings(invoke, run):
    result = invoke(run, "--runs", "2")

    assert result.exit_code == 0
    assert f"{run}: " in result.stdout
    assert "block.conv1" in result.stdout
    assert all(f"\n{number}. " in result.stdout for number in (1, 2, 3))


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_that_is_no_run_is_refused_and_left_as_it_is(invoke, tmp_path, name):
    (tmp_path / "empty").mkdir()

    result = invoke(tmp_path / name)

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "is not the folder of a run" in result.stderr
    assert not (tmp_path / "missing").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_run_without_an_export_is_told_to_export(run):
    shutil.rmtree(run / "export")

    with pytest.raises(RunError, match=r"dense.onnx: there is no such file. .*compressor export"):
        examine(run, QUICK)


def test_networks_for_different_images_are_refused(run):
    path = run / "export" / "model.onnx"
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 32
    onnx.save(model, path)

    with pytest.raises(ModelError, match=r"images of \[3, 16, 16\], .* of \[3, 16, 32\]"):
        examine(run, QUICK)


def test_a_damaged_file_is_refused_in_one_line(invoke, run):
    (run / "export" / "model.onnx").write_bytes(b"not a network")

    result = invoke(run)

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "model.onnx is not an ONNX file" in result.stderr

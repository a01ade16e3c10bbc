"""The survey of networks: its own working, and the networks that are quick enough for every run."""

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

TOOLS = Path(__file__).resolve().parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

import zoo  # noqa: E402  the tools are no package
import zoo_measure  # noqa: E402
import zoo_page  # noqa: E402
from zoo_networks import NETWORKS, Network  # noqa: E402

QUICK = {"engine": "index-flow", "check_seconds": 0.0, "export": False}
ROW = {
    "model": "resnet18",
    "source": "torchvision",
    "pixels": 64,
    "stripped": True,
    "reason": "",
    "max_rel_diff_fp32": 2e-7,
    "max_rel_diff_fp64": 3e-16,
    "params_share": 0.26,
    "backward": "ok",
    "onnx": {"dynamo": {"max_rel_diff": 6e-7}, "legacy": {"reason": "no operator x"}},
    "seconds": 30.0,
    "processor_seconds": 12.0,
    "peak_bytes": 1_200_000_000,
}


def tiny_vit(**arguments):
    sizes = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 4}
    return VisionTransformer(**sizes, hidden_dim=32, mlp_dim=48, **arguments)


def tiny_swin(**arguments):
    return SwinTransformer([4, 4], 16, [2, 1], [2, 4], [4, 4], **arguments)


class Made(Network):
    """A network that a test builds itself."""

    def build(self) -> nn.Module:
        return {"vit": tiny_vit, "swin": tiny_swin, "blind": Blind}[self.name]()


class Blind(nn.Module):
    """A network that pays no attention to its images."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 4)

    def forward(self, images):
        return self.second(self.first(images.mean((2, 3)) * 0))


FAST = [
    NETWORKS["resnet18"],
    NETWORKS["mobilenet_v3_small"],
    NETWORKS["shufflenet_v2_x0_5"],
    NETWORKS["squeezenet1_1"],
    NETWORKS["regnet_y_400mf"],
    Made("vit", "made", 32),
    Made("swin", "made", 32),
]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("network", FAST, ids=lambda network: network.name)
def test_a_network_is_stripped_exactly_and_learns_on(network):
    row = zoo_measure.Survey(network, QUICK, [].append).run()
    assert row["reason"] == ""
    assert row["stripped"]
    assert row["max_rel_diff_fp64"] <= 1e-10
    assert row["max_rel_diff_fp32"] <= 1e-5
    assert row["params_share"] < 0.6
    assert row["backward"] == "ok"


def test_a_network_that_ignores_its_images_is_not_called_stripped():
    row = zoo_measure.Survey(Made("blind", "made", 8), QUICK, [].append).run()
    assert not row["stripped"]
    assert "vary by" in row["reason"]


def test_both_exporters_follow_the_network_at_every_batch_size():
    network = zoo_measure.FirstTensor(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())).eval()
    for exporter in zoo_measure.EXPORTERS.values():
        assert zoo_measure.parity(exporter, network, 8, seed=0)["max_rel_diff"] <= 1e-5


def test_a_network_that_cannot_be_exported_is_a_reason_and_no_failure():
    class Sized(nn.Module):
        def forward(self, images):
            return images.reshape(2, -1) if images.shape[0] == 2 else images.flatten(1) + 1

    found = zoo_measure.parity(zoo_measure.EXPORTERS["legacy"], Sized().eval(), 8, seed=0)
    assert "max_rel_diff" not in found
    assert found["reason"]


def test_a_parameter_that_no_longer_learns_is_named():
    class Forgetful(nn.Sequential):
        def forward(self, images):
            return self[1](self[0](images).detach())

    def layers():
        return nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    said = zoo_measure.backward_reaches(
        nn.Sequential(*layers()), Forgetful(*layers()), torch.randn(2, 3, 4, 4)
    )
    assert said == "no gradient reaches 2 parameters, the first 0.bias"


def test_the_structures_are_legal_and_one_leaves_a_single_unit():
    couplings = zoo_measure.find_couplings(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 1)),
        torch.randn(2, 3, 4, 4),
        "index-flow",
    )
    half, *others = [structure.widths() for structure in zoo_measure.structures(couplings)]
    assert half == {"0": 4, "2": 3}
    assert all(width >= 1 for widths in others for width in widths.values())
    assert 1 in others[-1].values()


def test_every_builder_of_torchvision_is_in_the_survey():
    models = torchvision.models
    names = models.list_models(models) + models.list_models(models.segmentation)
    assert {n.name for n in NETWORKS.values() if n.source != "timm"} == set(names)
    assert sum(network.source == "timm" for network in NETWORKS.values()) >= 50


def test_an_unknown_name_is_refused_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        zoo.main(["--only", "resnet81"])
    assert ended.value.code == 2
    assert "The nearest is resnet18." in capsys.readouterr().err


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Make a shelf whose networks are not run; what it runs is in ``shelf.made``."""
    made = []

    def measured(network, settings, partial):
        made.append(network.name)
        return {**ROW, "model": network.name, "source": network.source}

    monkeypatch.setattr(zoo, "measured", measured)

    def make(seconds=180.0, *, keep_old=False):
        settings = zoo.Settings("both", 20.0, True, zoo.Limits(seconds, 1e9))
        return zoo.Shelf(tmp_path, settings, keep_old=keep_old)

    make.made = made
    return make


def test_a_row_is_kept_while_nothing_changes(shelf):
    first = shelf().row(NETWORKS["resnet18"])
    assert shelf().row(NETWORKS["resnet18"]) == first
    assert shelf.made == ["resnet18"]


def test_a_row_of_other_settings_is_made_anew_unless_old_ones_are_kept(shelf):
    shelf().row(NETWORKS["resnet18"])
    shelf(seconds=60.0, keep_old=True).row(NETWORKS["resnet18"])
    assert shelf.made == ["resnet18"]
    shelf(seconds=60.0).row(NETWORKS["resnet18"])
    assert shelf.made == ["resnet18", "resnet18"]


def test_json_is_all_that_is_printed_and_some_networks_write_no_table(shelf, capsys, tmp_path):
    places = ["--rows", str(tmp_path / "rows"), "--docs", str(tmp_path / "docs")]
    assert zoo.main(["--only", "alexnet,vgg11", "--json", *places]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["model"] for row in rows] == ["alexnet", "vgg11"]
    assert not (tmp_path / "docs").exists()


def test_the_whole_survey_writes_the_table_and_names_what_failed(shelf, tmp_path, capsys):
    zoo.main(["--rows", str(tmp_path / "rows"), "--docs", str(tmp_path / "docs")])
    page = (tmp_path / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert "80 of 80 are stripped exactly" in page
    assert "| resnet18 | 64 | yes |" in page
    assert "* resnet18, legacy exporter: no operator x" in page
    assert json.loads((tmp_path / "docs" / "zoo.json").read_text())["about"]["versions"]["torch"]
    capsys.readouterr()


def test_a_table_of_what_is_there_measures_nothing_and_says_what_is_missing(shelf, tmp_path):
    places = ["--rows", str(tmp_path / "rows"), "--docs", str(tmp_path / "docs")]
    zoo.main(["--only", "alexnet", *places])
    zoo.main(["--table", *places])
    page = (tmp_path / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert shelf.made == ["alexnet"]
    assert "1 of 1 are stripped exactly" in page
    assert "## Not measured yet\n\nconvnext_base, " in page


def test_a_refused_network_is_one_line_with_its_reason():
    row = {**ROW, "stripped": False, "reason": "more than 180 s at couplings"}
    assert zoo_page.in_short(row) == "resnet18: not stripped: more than 180 s at couplings"


def test_a_process_over_its_time_is_stopped_and_says_where(tmp_path):
    settings = zoo.Settings("both", 20.0, False, zoo.Limits(0.1, 1e12))
    row = zoo.measured(NETWORKS["resnet18"], settings, tmp_path / "row.partial")
    assert not row["stripped"]
    assert row["reason"].startswith("more than 0.1 s of the processor at ")
    assert row["peak_bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_each_limit_says_what_was_too_much():
    limits = zoo.Limits(60.0, 6e9)
    assert limits.passed(zoo.Use(59.0, 299.0, 5_900_000_000)) is None
    assert limits.passed(zoo.Use(61.0, 70.0)) == "more than 60 s of the processor"
    assert limits.passed(zoo.Use(1.0, 301.0)) == "more than 300 s"
    assert limits.passed(zoo.Use(bytes=6_100_000_000)) == "more than 6 GB"


def test_what_was_found_before_an_exporter_hung_stays_found():
    row = {**ROW, "onnx": {"dynamo": {"max_rel_diff": 1e-7}, "legacy": {"unfinished": True}}}
    changed = {**row, **zoo.ended(row, "more than 180 s at legacy exporter")}
    assert changed["stripped"]
    assert changed["onnx"]["legacy"] == {"reason": "more than 180 s at legacy exporter"}


def test_the_launcher_needs_no_torch_to_refuse_a_name():
    done = subprocess.run(
        [sys.executable, str(TOOLS / "zoo"), "--only", "swim_t"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "The nearest is swin_t." in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ending_the_survey_ends_its_processes_and_leaves_no_row(tmp_path, number):
    command = [sys.executable, str(TOOLS / "zoo"), "--only", "resnet18", "--rows", str(tmp_path)]
    # In the background ctrl-C is ignored, and children of ours would ignore it too.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=heed) as survey:
        deadline = time.monotonic() + 60
        while not (children := psutil.Process(survey.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        survey.send_signal(number)
        assert survey.wait(30) == 130
    assert not any(child.is_running() for child in children)
    assert not list(tmp_path.glob("*.json"))

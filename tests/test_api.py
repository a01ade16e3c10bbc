"""The functions for Python: the page that shows them, a foreign loop, and what they refuse."""

import doctest
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

import compressor
from compressor.api import cut as cut_module
from compressor.api import method as method_module
from compressor.errors import BudgetError, ModelError, RecipeError, StructureError, TrainError
from compressor.sparsity.catalog import METHODS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'```python(?: title="(?P<file>[^"]+)")?\n(?P<code>.*?)```', re.DOTALL)

LIGHTNING = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None,
    reason="PyTorch Lightning is not installed: pip install lightning",
)


def tiny(width=8):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3)),
        )


def batch(num_images=16, seed=0):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, 1, 8, 8, generator=draw)
    return images, torch.randint(3, (num_images,), generator=draw)


@pytest.fixture(scope="module")
def couplings():
    return compressor.find_couplings(tiny(), batch()[0], "index-flow")


def trained(couplings, method="dessilbi", settings=None, steps=12):
    """A network, and the method that went along with it in a plain loop."""
    model = tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    length = compressor.horizon(optimizer, steps)
    sparse = compressor.make_method(method, length, settings)
    sparse.attach(model, optimizer, couplings)
    for step in range(steps):
        images, labels = batch(seed=step)
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    sparse.detach()
    return model, sparse


def cut(couplings, kept, model=None, **words):
    return compressor.strip_network(model or tiny(), couplings, kept, batch()[0], **words)


def fine(**values):
    return compressor.StripSettings(round_to=1, **values)


class TestThePage:
    """``docs/api.md``."""

    def test_its_blocks_run_one_after_the_other(self, tmp_path, monkeypatch, capsys):
        space = {}
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "net", raising=False)
        for block in BLOCK.finditer(PAGE):
            if block["file"]:
                (tmp_path / block["file"]).write_text(block["code"])
            else:
                exec(block["code"], space)
        monkeypatch.delitem(sys.modules, "net")
        assert capsys.readouterr().out.splitlines()[0] == "96 ['0', '3']"
        assert (tmp_path / "elsewhere" / "manifest.json").is_file()
        assert (tmp_path / "slim.onnx").is_file()
        card = (tmp_path / "slim" / "README.md").read_text()
        assert "* Data: the 8 x 8 digits of scikit-learn." in card
        assert "| parameters | 19,562 | " in card
        images = space["images"]
        assert torch.allclose(space["net"](images), space["slim"](images), atol=1e-5)

    def test_every_name_that_it_uses_is_public(self):
        used = set(re.findall(r"\bcompressor\.([A-Za-z_]+)", PAGE)) - {"py"}
        assert used <= set(compressor.__all__)
        assert {"find_couplings", "DessiLBI", "strip_network", "save", "load"} <= used

    def test_its_table_names_what_it_says_all_of(self):
        table = set(re.findall(r"`([a-z_A-Z]+)\(", PAGE.split("## A network")[0]))
        assert table <= set(compressor.__all__)


def test_no_public_name_is_that_of_a_part_of_the_package():
    """The part would take the name's place as soon as anything imports it."""
    parts = {path.stem for path in (ROOT / "compressor").iterdir()}
    assert not parts & set(compressor.__all__)


@pytest.mark.parametrize("module", [method_module, cut_module], ids=["method", "cut"])
def test_the_examples_of_docstrings_run(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


class TestMethods:
    """Methods in a loop that is not ours."""

    @pytest.mark.parametrize("name", METHODS)
    def test_every_method_goes_along_with_a_plain_loop_and_fills_a_budget(self, couplings, name):
        model, method = trained(couplings, name)
        stripped = cut(couplings, method, model, keep_macs=0.5, settings=fine())
        macs = compressor.api.given.counts_of(stripped.network, batch()[0]).macs
        assert 0.3 < macs / stripped.dense.macs <= 0.5
        stripped.certificate.check()

    def test_the_hooked_step_is_the_optimisers_own(self, couplings):
        _, method = trained(couplings, steps=5)
        assert method.state_dict()["step"] == 5

    def test_a_horizon_sums_up_the_rate(self):
        optimizer = torch.optim.SGD(tiny().parameters(), lr=0.2)
        found = compressor.horizon(optimizer, num_steps=10, num_epochs=2, seed=7)
        assert found == compressor.Horizon(10, 2.0, 7, 2)

    def test_several_rates_have_no_one_sum(self):
        net = tiny()
        groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[3].parameters()}]
        with pytest.raises(TrainError, match=r"2 learning rates, 0\.01 to 0\.1\. Give compressor"):
            compressor.horizon(torch.optim.SGD(groups, lr=0.01), 5)

    @pytest.mark.parametrize(("steps", "epochs"), [(0, 1), (5, 0)])
    def test_a_training_of_nothing_is_refused(self, steps, epochs):
        optimizer = torch.optim.SGD(tiny().parameters(), lr=0.1)
        with pytest.raises(TrainError, match="at least 1 of both"):
            compressor.horizon(optimizer, steps, epochs)

    def test_an_unknown_method_is_told_with_the_nearest(self):
        with pytest.raises(RecipeError, match="'desilbi' is not a method. Did you mean dessilbi"):
            compressor.make_method("desilbi", compressor.Horizon(1, 1.0, 0))

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"nuu": 1.0}, r"dessilbi settings: nuu: there is no such key. Did you mean nu\?"),
            ({"nu": -1.0}, r"dessilbi settings: nu = -1.0: input should be greater than 0"),
        ],
    )
    def test_settings_that_it_does_not_take_are_one_line(self, settings, told):
        with pytest.raises(RecipeError, match=told):
            compressor.make_method("dessilbi", compressor.Horizon(1, 1.0, 0), settings)

    @LIGHTNING
    @pytest.mark.filterwarnings("ignore")
    def test_it_goes_along_with_lightning_as_the_page_says(self, couplings, tmp_path):
        import lightning

        space = {"compressor": compressor}
        exec(
            next(block["code"] for block in BLOCK.finditer(PAGE) if "on_fit_end" in block[0]), space
        )

        class Task(space["PlainSteps"], lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = tiny()

            def training_step(self, some, _number):
                images, labels = some
                return functional.cross_entropy(self.net(images), labels)

            def configure_optimizers(self):
                return torch.optim.SGD(self.net.parameters(), lr=0.1)

        class Sparse(space["Sparse"], lightning.Callback):
            pass

        task, sparse = Task(), Sparse(couplings, 6)
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            callbacks=[sparse],
            default_root_dir=tmp_path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, torch.utils.data.DataLoader(list(zip(*batch(48), strict=True)), 16))
        assert sparse.method.state_dict()["step"] == trainer.global_step == 6
        assert not torch.equal(task.net[0].weight, tiny()[0].weight)
        assert cut(couplings, sparse.method, task.net, keep_macs=0.5, settings=fine()).structure


class TestStrip:
    """``strip_network``."""

    def test_the_model_is_not_touched(self, couplings):
        model = tiny()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        half = compressor.Structure({c.name: torch.arange(c.num_units) < 4 for c in couplings.free})
        stripped = cut(couplings, half, model)
        assert stripped.structure is half
        assert stripped.network[0].out_channels == 4
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_the_plan_makes_the_same_network_again(self, couplings):
        model, method = trained(couplings)
        stripped = cut(couplings, method, model, keep_macs=0.5, settings=fine())
        again, images = compressor.apply(stripped.plan, model).eval(), batch()[0]
        assert torch.equal(again(images), stripped.network.eval()(images))

    def test_without_a_budget_the_structure_of_the_method_is_kept(self, couplings):
        model, method = trained(couplings, "itop", {"density": 0.5})
        stripped = cut(couplings, method, model, settings=fine())
        assert stripped.structure.widths() == method.structure().widths()
        assert stripped.structure.sparsity == pytest.approx(0.5)

    def test_masks_of_single_weights_come_along_and_can_be_held(self, couplings):
        model, method = trained(couplings, "magnitude", {"level": "weight", "density": 0.2})
        stripped = cut(couplings, method, model, keep_macs=0.5, settings=fine())
        net, masks = stripped.network, stripped.masks
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        held = compressor.Held(masks)
        held.attach(net, optimizer, compressor.find_couplings(net, batch()[0], "index-flow"))
        net(batch()[0]).square().mean().backward()
        optimizer.step()
        tensors = dict(net.named_parameters())
        assert all(not tensors[name][~kept].any() for name, kept in masks.keep.items())
        assert masks.sparsity > 0.3

    def test_a_structure_of_another_network_is_refused(self, couplings):
        strange = compressor.Structure({"other": torch.ones(4, dtype=torch.bool)})
        with pytest.raises(StructureError, match="other: the structure names a coupling"):
            cut(couplings, strange)

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ({"keep_macs": 2.0}, "strip settings: keep_macs = 2.0: input should be less than"),
            (
                {"keep_macs": 0.5, "settings": {"keep_params": 0.5}},
                "keep_macs = 0.5 and keep_params = 0.5 are two budgets",
            ),
            (
                {"keep_macs": 0.5, "settings": {"keep_macs": 0.3}},
                "keep_macs = 0.5 and keep_macs = 0.3 in the settings are two budgets",
            ),
            ({"settings": {"freeze": ["0"]}}, "freeze acts where couplings are found"),
            ({"settings": {"round_to": "auto"}}, "needs a target"),
        ],
    )
    def test_settings_that_do_not_act_here_are_refused(self, couplings, words, told):
        if "settings" in words:
            words = {**words, "settings": compressor.StripSettings(**words["settings"])}
        _, method = trained(couplings, "dense", steps=1)
        with pytest.raises(RecipeError, match=told):
            cut(couplings, method, **words)

    def test_a_budget_in_time_needs_a_run(self, couplings):
        _, method = trained(couplings, "dense", steps=1)
        with pytest.raises(BudgetError, match="latency_ms needs what a run measures"):
            cut(couplings, method, settings=compressor.StripSettings(latency_ms=1.0))

    def test_a_structure_and_a_budget_contradict_each_other(self, couplings):
        with pytest.raises(RecipeError, match="kept as it is"):
            cut(couplings, couplings.everything(), keep_macs=0.5)

    @pytest.mark.parametrize("given", [{"floor_share": 0.5}, {"round_to": 1}, {"order": "entry"}])
    def test_a_structure_and_what_chooses_units_contradict_each_other(self, couplings, given):
        settings = compressor.StripSettings(**given)
        with pytest.raises(RecipeError, match=f"so {next(iter(given))} would change nothing"):
            cut(couplings, couplings.everything(), settings=settings)

    def test_how_a_structure_is_certified_may_be_chosen(self, couplings):
        settings = compressor.StripSettings(statistics="random")
        assert cut(couplings, couplings.everything(), settings=settings).certificate


class TestPackage:
    """``save`` refuses early; what it writes is what the page loads and verifies."""

    def test_labels_are_needed(self):
        with pytest.raises(ValidationError, match="labels"):
            compressor.About(factory="net.py:net", labels=[], mean=[0.5], std=[0.5])

    def test_images_of_another_shape_are_refused_before_anything_is_written(
        self, couplings, tmp_path
    ):
        about = compressor.About(factory="net.py:net", labels=["a"], mean=[0.5], std=[0.5])
        stripped = cut(couplings, couplings.everything())
        with pytest.raises(ModelError, match=r"shape \[8, 8\]"):
            compressor.save(stripped, tmp_path / "slim", torch.zeros(8, 8), about)
        assert list(tmp_path.iterdir()) == []

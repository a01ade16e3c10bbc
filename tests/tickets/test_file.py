"""A ticket as a file: what comes back, and what is refused."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from compressor.console import Console
from compressor.errors import CheckError, ModelError, RunError, StripError
from compressor.files import fingerprint, read_json, sha256, write_json
from compressor.package.pickles import pickles_in
from compressor.run import Run
from compressor.strip.apply import apply
from compressor.strip.find import find_couplings
from compressor.strip.plan import make_plan
from compressor.structure import Structure
from compressor.tickets.file import read_ticket, tensors_of, tensors_sha256, write_file
from compressor.tickets.head import KEY, Source
from compressor.tickets.make import make_ticket

QUIET = Console(quiet=True)


@pytest.fixture(scope="session")
def written(stripped_run, tmp_path_factory):
    """The ticket of the run, as a file; not to be written to."""
    file = tmp_path_factory.mktemp("file") / "ticket.safetensors"
    make_ticket(stripped_run, file, QUIET)
    return file


@pytest.fixture
def copied(written, tmp_path):
    return shutil.copy(written, tmp_path / "copied.safetensors")


def head_text(file):
    with safe_open(file, framework="pt") as opened:
        return opened.metadata()[KEY]


def equal(first, second):
    return first.keys() == second.keys() and all(first[n].equal(second[n]) for n in first)


def test_a_ticket_holds_first_and_found_weights_of_the_slim_network(
    written, stripped_run, searched_from
):
    ticket, full = read_ticket(written), searched_from()
    assert ticket.structure.to_json() == read_json(stripped_run / "strip/structure.json")
    assert ticket.plan.to_json() == read_json(stripped_run / "strip/plan.json")
    assert equal(ticket.initial.state_dict(), apply(ticket.plan, full).state_dict())
    full.load_state_dict(load_file(stripped_run / "train/weights.safetensors"))
    assert equal(ticket.found.state_dict(), apply(ticket.plan, full).state_dict())
    assert ticket.masks is None
    assert ticket.head.method == "dessilbi"


def test_both_networks_run_and_share_nothing(written):
    ticket, images = read_ticket(written), torch.rand(2, 1, 8, 8)
    before = ticket.found(images)
    with torch.no_grad():
        for parameter in ticket.initial.parameters():
            parameter.zero_()
    assert before.shape == (2, 10)
    assert torch.equal(ticket.found(images), before)


def test_a_ticket_needs_neither_its_run_nor_its_source(written, tmp_path, monkeypatch):
    ticket = read_ticket(written)
    assert ticket.head.model.factory == "architecture/residual.py:residual_net"
    monkeypatch.chdir(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == []
    read_ticket(written)
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_the_same_run_gives_the_same_bytes_and_no_pickle(written, stripped_run, tmp_path):
    again = tmp_path / "again.safetensors"
    make_ticket(stripped_run, again, QUIET)
    assert sha256(again) == sha256(written)
    assert pickles_in(again) == []


def test_with_a_network_given_no_code_of_the_file_is_run(written, tmp_path, searched_from):
    ticket = read_ticket(written)
    tensors = tensors_of(ticket.initial, ticket.found, None)
    source = Source(name="residual.py", text="raise SystemExit('the source was run')")
    file = tmp_path / "trap.safetensors"
    write_file(file, ticket.head.model_copy(update={"source": source}), tensors)
    full = searched_from()
    read = read_ticket(file, full)
    assert equal(read.found.state_dict(), ticket.found.state_dict())
    assert equal(full.state_dict(), searched_from().state_dict())
    with pytest.raises(SystemExit):
        read_ticket(file)


def test_a_network_cut_as_a_captured_graph_comes_back(written, tmp_path, searched_from):
    full, images = searched_from().eval(), torch.rand(4, 1, 8, 8)
    couplings = replace(find_couplings(full, images[:2]), form="graph")
    structure = Structure({c.name: torch.arange(c.num_units) % 2 > 0 for c in couplings.free})
    plan = make_plan(full, couplings, structure)
    slim, head = apply(plan, full).eval(), read_ticket(written).head
    tensors = tensors_of(slim, slim, None)
    facts = {"plan": plan.to_json(), "structure": structure.to_json()}
    facts["tensors_sha256"] = tensors_sha256(tensors)
    write_file(tmp_path / "graph.safetensors", head.model_copy(update=facts), tensors)
    ticket = read_ticket(tmp_path / "graph.safetensors")
    assert ticket.plan.form == "graph"
    torch.testing.assert_close(ticket.found(images), slim(images))


def test_masks_of_single_weights_come_back_and_hold(tmp_path, digits_in):
    magnitude = "sparsity={method='magnitude', level='weight', density=0.5}"
    digits_in(tmp_path / "run", magnitude)
    ticket = make_ticket(tmp_path / "run", tmp_path / "masked.safetensors", QUIET)
    assert ticket.masks.granularity == ticket.head.masks == "weight"
    for slim in (ticket.initial, ticket.found):
        weights = slim.state_dict()
        for name, kept in ticket.masks.keep.items():
            assert not weights[name][~kept].any()
            assert weights[name][kept].any()


def test_what_tuning_took_does_not_change_the_ticket(written, stripped_copy, digits_in):
    before = read_ticket(written)
    digits_in(stripped_copy, "ticket.weights=fresh")
    after = make_ticket(stripped_copy, stripped_copy / "ticket.safetensors", QUIET)
    assert after.head.tensors_sha256 == before.head.tensors_sha256


def refusal(kind, file, network=None):
    with pytest.raises(kind) as caught:
        read_ticket(file, network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_tickets_are_refused(stripped_run, tmp_path):
    assert "there is no ticket" in refusal(ModelError, tmp_path / "nothing.safetensors")
    (tmp_path / "text").write_text("no tensors here, only words that somebody wrote down once")
    assert "is not a ticket" in refusal(ModelError, tmp_path / "text")
    weights = stripped_run / "strip" / "weights.safetensors"
    assert "holds tensors and is not a ticket" in refusal(ModelError, weights)
    save_file({"x": torch.zeros(1)}, tmp_path / "odd", metadata={KEY: "[]"})
    assert "the head is not as it was written" in refusal(CheckError, tmp_path / "odd")


def test_a_byte_more_or_less_is_told(copied, tmp_path):
    data = bytearray(copied.read_bytes())
    data[-1] ^= 1
    copied.write_bytes(data)
    assert "the tensors are not those that were written" in refusal(CheckError, copied)
    copied.write_bytes(data[:-100])
    assert "is not a ticket" in refusal(ModelError, copied)


def test_a_changed_head_is_told(copied):
    tensors, text = load_file(copied), head_text(copied)
    changed = text.replace("def forward", "def forwarD", 1)
    assert changed != text
    save_file(tensors, copied, metadata={KEY: changed})
    assert "the head is not as it was written" in refusal(CheckError, copied)


def test_another_release_is_named(copied):
    tensors, head = load_file(copied), json.loads(head_text(copied))["head"]
    head["version"] = 7
    text = json.dumps({"head": head, "digest": fingerprint(head)}, sort_keys=True)
    save_file(tensors, copied, metadata={KEY: text})
    said = refusal(ModelError, copied)
    assert "of version 7, this release reads 'compressor ticket' of version 1" in said


@pytest.mark.parametrize("widths", [(8, 24), (16, 16), (8, 16, 32)])
def test_a_network_of_other_widths_or_depth_is_refused(written, searched_from, widths):
    said = refusal((ModelError, StripError), written, searched_from(widths))
    assert "network" in said


def test_a_network_with_other_layers_is_refused_by_name(written, searched_from):
    network = searched_from()
    network.classifier = torch.nn.Linear(16, 7)
    said = refusal(ModelError, written, network)
    assert "is of another architecture: classifier.bias is (10,) in the ticket and (7,)" in said


def test_tensors_are_told_apart_by_name_shape_and_value():
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": -torch.ones(1)},
        {"a": torch.zeros(2, 3).double(), "b": torch.ones(1)},
    ]
    digests = {tensors_sha256(some) for some in (tensors, *others)}
    assert len(digests) == 5
    assert tensors_sha256(dict(reversed(tensors.items()))) == tensors_sha256(tensors)


class TestRuns:
    """What a ticket is made of."""

    def refused(self, folder, tmp_path):
        with pytest.raises(RunError) as caught:
            make_ticket(folder, tmp_path / "t.safetensors", QUIET)
        assert not (tmp_path / "t.safetensors").exists()
        return str(caught.value)

    def test_a_folder_that_is_no_run_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "empty").mkdir()
        assert "is not a run directory" in self.refused(tmp_path / "empty", tmp_path)
        assert not list((tmp_path / "empty").iterdir())

    def test_a_run_that_is_not_stripped_is_refused(self, stripped_run, tmp_path):
        run = Run(tmp_path / "run")
        run.take_over(Run(stripped_run), ("inspect", "train"))
        for name in ("settings.json", "places.json"):
            shutil.copy(stripped_run / name, run.folder)
        assert "stage strip is not done" in self.refused(run.folder, tmp_path)

    def test_files_that_were_changed_are_refused(self, stripped_copy, tmp_path):
        plan = stripped_copy / "strip/plan.json"
        plan.unlink()  # the file may be shared
        write_json(plan, {})
        assert "plan.json is not as strip wrote it" in self.refused(stripped_copy, tmp_path)

    def test_a_search_made_again_since_it_was_stripped_is_refused(
        self, stripped_copy, tmp_path, digits_in
    ):
        digits_in(stripped_copy, "train.lr=0.02", until="train")
        said = self.refused(stripped_copy, tmp_path)
        assert "leaves other weights of the search than the certificate is about" in said

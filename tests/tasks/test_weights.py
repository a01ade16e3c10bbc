"""Weights from elsewhere: what is loaded, what is told, and one line for everything else."""

import argparse
import io
import os
import pickle
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from compressor.errors import ModelError
from compressor.tasks.weights import load_weights


def make(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.fixture
def network():
    return make(0)


@pytest.fixture
def state():
    """Weights of another network of the same architecture."""
    return make(1).state_dict()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pth"


def refusal(network, path):
    """The one line about a file; the network must be as it was."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ModelError) as told:
        load_weights(network, path)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    text = str(told.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


def loaded(network, state):
    """Whether the network has exactly these weights."""
    return all(torch.equal(network.state_dict()[name], value) for name, value in state.items())


# --- files that load ---


def save_zip(state, path):
    torch.save(state, path)


def save_legacy(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [save_file, save_zip, save_legacy])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pth.tar"])
def test_content_and_not_the_name_decides_how_a_file_is_read(network, state, tmp_path, save, name):
    save(state, tmp_path / name)
    assert load_weights(network, tmp_path / name) == ()
    assert loaded(network, state)


def on_cuda(path):
    """Rewrite where the tensors of a file were when they were saved."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, entry in entries.items():
            here, there = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
            archive.writestr(name, entry.replace(here, there) if "data.pkl" in name else entry)


def test_weights_saved_on_a_gpu_load_without_one(network, state, path):
    torch.save(state, path)
    on_cuda(path)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="on a CUDA device"):
            torch.load(path, weights_only=True)
    load_weights(network, path)
    assert loaded(network, state)
    assert all(value.device.type == "cpu" for value in network.state_dict().values())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_prefix_of_all_names_is_taken_off_and_told(network, state, path, prefix):
    torch.save({prefix + name: value for name, value in state.items()}, path)
    assert load_weights(network, path) == (f"{path}: took '{prefix}' off all 7 names.",)
    assert loaded(network, state)


def test_a_prefix_of_some_names_is_not_taken_off(network, state, path):
    names = {"0.weight": "module.0.weight"}
    torch.save({names.get(name, name): value for name, value in state.items()}, path)
    assert "the file has no 0.weight (and 1 more)" in refusal(network, path)


def test_a_network_that_has_the_prefix_itself_keeps_it(state, path):
    network = nn.Sequential()
    network.module = make(0)
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    assert load_weights(network, path) == ()
    assert loaded(network.module, state)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_inside_a_checkpoint_is_found_and_told(network, state, path, key):
    optimizer = torch.optim.Adam(make(0).parameters()).state_dict()
    torch.save({key: state, "optimizer": optimizer, "epoch": 3, "best": torch.tensor(0.9)}, path)
    told = load_weights(network, path)
    assert told == (f"{path}: took {key!r}; left out: optimizer, epoch, best.",)
    assert loaded(network, state)


def test_everything_that_was_done_is_told_in_order(network, state, path):
    half = {f"module.{name}": value.half() for name, value in state.items() if "num" not in name}
    torch.save({"model": half}, path)
    assert load_weights(network, path) == (
        f"{path}: took 'model'; left out: nothing.",
        f"{path}: took 'module.' off all 6 names.",
        f"{path}: cast 6 tensors from float16 to float32.",
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_are_cast_to_the_networks_and_told(network, state, path, dtype):
    cast = {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}
    torch.save(cast, path)
    (told,) = load_weights(network, path)
    assert told == f"{path}: cast 6 tensors from {str(dtype)[6:]} to float32."
    assert network[0].weight.dtype == torch.float32
    assert torch.equal(network[0].weight, state["0.weight"].to(dtype).float())


def test_the_batches_that_norms_have_seen_may_be_missing(network, state, path):
    del state["1.num_batches_tracked"]
    torch.save(state, path)
    network[1].num_batches_tracked += 5
    assert load_weights(network, path) == ()
    assert loaded(network, state)
    assert int(network[1].num_batches_tracked) == 5


# --- tied weights ---


def tied(seed):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    torch.manual_seed(seed)
    net[0].weight = nn.Parameter(torch.randn(3, 3))
    net[1].weight = net[0].weight
    return net


def test_of_tied_weights_one_is_enough(tmp_path):
    net, other = tied(0), tied(1)
    save_model(other, str(tmp_path / "w.safetensors"))
    load_weights(net, tmp_path / "w.safetensors")
    assert loaded(net, other.state_dict())
    assert net[0].weight is net[1].weight


def test_weights_that_are_tied_in_the_network_only_are_refused(path):
    torch.save(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).state_dict(), path)
    text = refusal(tied(0), path)
    assert "0.weight and 1.weight are one tensor in the network and two different ones" in text


# --- files that hold something else ---


class Burglar:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof):
        self._proof = str(proof)

    def __reduce__(self):
        return os.mkdir, (self._proof,)


def save_pickle(state, path):
    path.write_bytes(pickle.dumps(state, protocol=2))


def save_new_pickle(state, path):
    path.write_bytes(pickle.dumps(state, protocol=5))


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_pickle, save_new_pickle])
def test_code_in_a_file_is_refused_and_does_not_run(network, tmp_path, path, save):
    proof = tmp_path / "proof"
    save({"0.weight": Burglar(proof)}, path)
    text = refusal(network, path)
    assert "is not a file of plain weights" in text
    assert text.endswith("Save model.state_dict() as .safetensors.")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("extra", "name"), [(argparse.Namespace(lr=1), "argparse.Namespace"), (make, "make")]
)
def test_objects_beside_the_weights_are_named(network, state, path, extra, name):
    if extra is make:
        extra = nn.Linear(1, 1)
        name = "torch.nn.modules.linear.Linear"
    torch.save({"model": state, "args": extra}, path)
    assert f"beside tensors it holds {name}, which would run code" in refusal(network, path)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([torch.zeros(2)], "it holds a list"),
        (torch.zeros(2), "it holds a Tensor"),
        (3, "it holds a int"),
        ({}, "it holds nothing"),
        ({"epoch": 3, "lr": 0.1, "step": 4}, "it holds 2 int, 1 float, and no dictionary"),
        ({3: torch.zeros(2)}, "it holds 1 Tensor, and no dictionary of tensors"),
        (
            {"model": {"w": torch.zeros(1)}, "ema": {"w": torch.zeros(1)}},
            "it holds several networks (model, ema)",
        ),
    ],
)
def test_anything_but_one_state_dict_is_refused(network, path, value, why):
    torch.save(value, path)
    assert f"is not a file of plain weights: {why}" in refusal(network, path)


def write_tar(path):
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("storages")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")


def write_script(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("net/data.pkl", "net/constants.pkl", "net/version"):
            archive.writestr(name, b"")


def write_onnx(path):
    import onnx

    graph = onnx.helper.make_graph([], "empty", [], [])
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda path: path.write_bytes(b""), "neither safetensors nor written by torch.save"),
        (lambda path: path.write_text("no weights"), "neither safetensors nor written by"),
        (lambda path: path.write_text("weights: 1, bias: 2"), "neither safetensors nor written"),
        (write_onnx, "neither safetensors nor written by torch.save"),
        (write_tar, "it is a tar archive"),
        (write_zip, "it is a zip archive of something else"),
        (write_script, "it is a TorchScript program"),
        (lambda path: path.write_bytes(b"\x80\x02}"), "damaged or cut off"),
        (lambda path: path.write_bytes(b"PK\x03\x04broken"), "damaged or cut off"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_of_another_kind_is_one_line(network, tmp_path, write, why, name):
    write(tmp_path / name)
    text = refusal(network, tmp_path / name)
    assert "is not a file of plain weights" in text
    assert why in text


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("save", [save_file, save_zip, save_legacy])
def test_a_file_that_is_cut_off_is_one_line(network, state, path, save, share):
    save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "it is damaged or cut off" in refusal(network, path)


def test_a_missing_file_is_one_line(network, path):
    assert refusal(network, path) == (
        f"{path}: there are no weights. Give a .safetensors or .pth file."
    )


# --- weights of another network ---


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"0.weight": torch.zeros(4, 3)}, "0.weight has shape (4, 3) in the file and (2, 3) in"),
        ({"0.bias": None}, "the file has no 0.bias"),
        ({"2.weight": torch.zeros(1)}, "the network has no 2.weight"),
        ({"0.bias": torch.zeros(2).char()}, "0.bias is int8 in the file and float32 in the netw"),
        ({"0.bias": torch.zeros(2).cfloat()}, "0.bias is complex64 in the file and float32 in"),
        ({"0.weight": torch.eye(3)[:2].to_sparse()}, "0.weight is sparse float32 in the file"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(network, state, path, change, part):
    changed = {**state, **change}
    torch.save({name: value for name, value in changed.items() if value is not None}, path)
    text = refusal(network, path)
    assert f"is not for this network: {part}" in text
    assert text.endswith("Use the weights of the same architecture and number of classes.")


def test_of_another_network_the_first_misfits_and_all_counts_are_told(network, path):
    other = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4), nn.Linear(4, 2))
    torch.save(other.state_dict(), path)
    text = refusal(network, path)
    assert "1.weight has shape (4, 2) in the file and (2,) in the network (and 5 more)" in text
    assert "Of the network's 7 tensors 2 fit, 2 are of another shape or type and 2 are" in text
    assert "2 in the file are unknown (such as 2.weight, where the network has 1.running_" in text


def test_safetensors_whose_length_begins_like_a_pickle_are_read(tmp_path):
    path = tmp_path / "w.safetensors"
    tensors = {"w" * 300: torch.ones(2), "b" * 300: torch.ones(1)}
    for padding in range(200):
        save_file(tensors | {"p" * (padding + 1): torch.zeros(1)}, path)
        if path.read_bytes()[:1] == b"\x80":
            break
    net = nn.Module()
    for name, value in load_file(path).items():
        net.register_buffer(name, torch.zeros_like(value))
    assert path.read_bytes()[:1] == b"\x80"
    load_weights(net, path)
    assert net.state_dict()["w" * 300].tolist() == [1.0, 1.0]

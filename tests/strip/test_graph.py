"""A captured network is a network: it trains, is copied, exported, and refuses a foreign plan."""

import copy
from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from compressor.couplings.index_flow import index_flow
from compressor.errors import StripError
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.strip.apply import apply
from compressor.strip.edits import Edit
from compressor.strip.graph import KEPT_NORMS, captured_network
from compressor.strip.plan import StripPlan, make_plan
from compressor.structure import Structure

SHAPE = (3, 6, 6)


def draw(num_images, seed=0):
    return torch.randn(num_images, *SHAPE, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    """Norms of three kinds, dropout, and a view with a width in it."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.groups = nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8)
        self.drop, self.last = nn.Dropout(0.5), nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.groups(self.second(x))).view(x.shape[0], 8, 36).mean(2)
        return self.head(self.drop(self.last(x)))


@pytest.fixture
def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().eval()


@pytest.fixture
def slim(net):
    couplings = replace(index_flow(net, draw(2)), form="graph")
    keep = {c.name: torch.arange(c.num_units) % 2 == 0 for c in couplings.free}
    return apply(make_plan(net, couplings, Structure(keep)), net)


def test_captured_network_computes_the_same_with_tensors_of_the_same_names(net):
    captured = captured_network(net, draw(2), ())
    assert captured.state_dict().keys() == net.state_dict().keys()
    assert torch.allclose(captured(draw(5)), net(draw(5)), atol=1e-6)
    assert not captured.training
    names = [name for name, _ in captured.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in net.named_parameters())


def test_stripped_graph_shares_no_memory_with_the_network(net, slim):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for tensor in (*slim.parameters(), *slim.buffers()):
            tensor.zero_()
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_state_of_the_slim_network_loads_into_another_one(net, slim):
    other = copy.deepcopy(slim)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(slim.state_dict())
    assert torch.equal(other(draw(3)), slim(draw(3)))
    assert slim.state_dict().keys() == net.state_dict().keys()


def test_training_mode_takes_statistics_of_the_batch_and_drops(slim):
    before = slim.norm.running_mean.clone()
    slim.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = slim(draw(8)), slim(draw(8))
    assert slim.training
    assert not torch.equal(first, second)
    assert not torch.equal(slim.norm.running_mean, before)


def test_evaluation_mode_does_neither_again(slim):
    slim.train().eval()
    before = slim.norm.running_mean.clone()
    assert torch.equal(slim(draw(8)), slim(draw(8)))
    assert torch.equal(slim.norm.running_mean, before)


@pytest.mark.parametrize("layer", [nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.RReLU()])
def test_every_operator_with_a_mode_is_switched(layer):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), layer).eval()
    captured = captured_network(net, draw(2), ())
    assert torch.equal(captured(draw(4)), captured(draw(4)))
    captured.train()
    assert not torch.equal(captured(draw(4)), captured(draw(4)))


def test_norm_without_statistics_takes_those_of_the_batch_in_any_mode():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    captured = captured_network(net, draw(2), ())
    assert torch.allclose(captured(draw(4)), net(draw(4)), atol=1e-6)
    assert torch.allclose(captured.train()(draw(4)), net(draw(4)), atol=1e-6)


def test_averaged_statistics_are_those_of_all_batches(net):
    captured = captured_network(net, draw(2), ())
    batches = [draw(4, seed) for seed in range(3)]
    captured.average_norms_(batches)
    means = torch.stack([net.first(batch).mean((0, 2, 3)) for batch in batches])
    assert torch.allclose(captured.norm.running_mean, means.mean(0), atol=1e-6)
    assert not captured.training


def test_every_parameter_of_the_slim_network_gets_a_gradient(slim):
    slim.train()(draw(4)).square().sum().backward()
    assert [name for name, p in slim.named_parameters() if p.grad is None] == []


def test_copy_of_the_slim_network_is_independent(slim):
    twin = copy.deepcopy(slim)
    assert torch.equal(twin(draw(3)), slim(draw(3)))
    twin.train()
    with torch.no_grad():
        twin.head.weight.zero_()
    assert not slim.training
    assert slim.head.weight.any()


def test_norms_keep_their_divisor_in_the_graph(slim):
    targets = {node.target for node in slim.graph.nodes if node.op == "call_function"}
    assert {KEPT_NORMS[name][0] for name in ("layer_norm", "group_norm")} <= targets


def test_plain_norms_stand_in_the_graph_when_asked_for(net):
    couplings = replace(index_flow(net, draw(2)), form="graph")
    keep = {c.name: torch.arange(c.num_units) % 2 == 0 for c in couplings.free}
    plan = make_plan(net, couplings, Structure(keep))
    plain = apply(plan.with_plain_norms(), net)
    targets = {node.target for node in plain.graph.nodes if node.op == "call_function"}
    assert not targets & {function for function, _ in KEPT_NORMS.values()}
    assert plain(draw(5)).shape == net(draw(5)).shape
    assert not torch.allclose(plain(draw(5)), apply(plan, net)(draw(5)))


@pytest.mark.filterwarnings("ignore")
def test_slim_network_is_exported_by_torch(slim):
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(slim, (draw(2),), dynamic_shapes=({0: batch},))
    assert torch.allclose(program.module()(draw(5)), slim(draw(5)), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_slim_network_is_exported_as_one_file_for_any_batch(slim, tmp_path):
    path = tmp_path / "slim.onnx"
    export_onnx(slim, SHAPE, path, ExportSettings())
    weights = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(path).graph.initializer}
    assert weights["first.weight"] == (4, 3, 3, 3)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": draw(5).numpy()})
    assert torch.allclose(torch.from_numpy(found), slim(draw(5)), atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (Edit("view_7", "aten.view.default", "size", 1, 4), "nothing"),
        (Edit("conv2d", "aten.view.default", "size", 1, 4), "aten.conv2d.default"),
    ],
)
def test_plan_for_another_graph_is_refused_in_one_line(net, edit, found):
    with pytest.raises(StripError, match=f"{edit.node}.*the captured graph has {found}") as error:
        captured_network(net, draw(2), (edit,))
    assert "\n" not in str(error.value)


def test_plan_on_a_network_with_another_forward_is_refused(net):
    couplings = replace(index_flow(net, draw(2)), form="graph")
    keep = {c.name: torch.arange(c.num_units) % 2 == 0 for c in couplings.free}
    plan = StripPlan.from_json(make_plan(net, couplings, Structure(keep)).to_json())
    net.forward = lambda x: net.head(net.last(net.second(net.first(x)).mean((2, 3))))
    with pytest.raises(StripError, match="the captured graph has nothing"):
        apply(plan, net)

import copy
import gc
import weakref
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from compressor.errors import TrainError
from compressor.strip.graph import captured_network
from compressor.tasks.classification import Classification, TaskSettings
from compressor.train.attention import attention_loss, attention_map
from compressor.train.distill import Distillation, Stages, distillation_loss
from compressor.train.features import Features, matching, watched
from compressor.train.loop import Surroundings, train
from compressor.train.order import generator_for
from compressor.train.settings import TuneSettings


def hooks_of(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def first_batch(task, num_images=9):
    return task.batch(torch.arange(num_images), generator_for(0, "test"))


@pytest.fixture
def teacher(toy_net):
    """A dense network that is wider than the student."""
    wide = type(toy_net())((6, 8), 3, 1, 1)
    with torch.no_grad():
        for number, parameter in enumerate(wide.parameters()):
            draw = torch.Generator().manual_seed(number)
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / 3)
    return wide


@pytest.fixture
def student(toy_net):
    return toy_net()


@pytest.fixture
def make_objective(toy_task, student, teacher):
    def make(weight=0.5, feature_weight=2.0, patterns=("blocks.*",), task=toy_task):
        stages = Stages(Features(student, teacher, patterns, task.example(2)), feature_weight)
        return Distillation(task, teacher, weight, 3.0, stages)

    return make


def test_a_recipe_names_features_and_gives_them_weight():
    found = TuneSettings.model_validate_json('{"epochs": 1, "features": ["blocks.0", "layer*"]}')
    assert found.features == ("blocks.0", "layer*")
    with pytest.raises(ValidationError, match="feature_weight"):
        TuneSettings(epochs=1, feature_weight=0.0)


def test_globs_name_modules_of_both_networks_and_stop_at_dots(student, teacher):
    found = matching(student, teacher, ["blocks.*", "norm", "blocks.?.norm2"])
    assert found == {
        "blocks.*": ("blocks.0", "blocks.1"),
        "norm": ("norm",),
        "blocks.?.norm2": ("blocks.0.norm2", "blocks.1.norm2"),
    }
    assert matching(student, teacher, ["*"])["*"] == ("stem", "norm", "blocks", "classifier")


def test_a_module_that_only_one_network_has_is_no_match(student, teacher):
    student.extra = nn.Identity()
    with pytest.raises(TrainError, match="'extra' names no module of both networks"):
        matching(student, teacher, ["extra"])


def test_a_pattern_without_a_match_is_refused_with_the_nearest_names(student, teacher):
    with pytest.raises(TrainError, match=r"'block.1' names no .* Did you mean blocks.1"):
        matching(student, teacher, ["blocks.0", "block.1"])


def test_each_pattern_says_what_it_named(student, teacher, toy_task):
    found = Features(student, teacher, ["blocks.*", "blocks.1"], toy_task.example(2))
    assert found.lines() == [
        "tune.features 'blocks.*': blocks.0, blocks.1",
        "tune.features 'blocks.1': blocks.1",
    ]


def test_to_try_the_stages_leaves_both_networks_as_they_were(student, teacher, toy_task):
    student.train().blocks[0].eval()
    before = [copy.deepcopy(net.state_dict()) for net in (student, teacher)]
    modes = [module.training for module in student.modules()]
    Features(student, teacher, ["blocks.*"], toy_task.example(2))
    assert [module.training for module in student.modules()] == modes
    for net, state in zip((student, teacher), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
        assert hooks_of(net) == 0


def test_maps_of_other_sizes_are_refused_by_name(student, teacher, toy_task):
    teacher.blocks[1].conv1.stride = teacher.blocks[1].shortcut[0].stride = (1, 1)
    with pytest.raises(TrainError, match=r"map of blocks.1 has 16 places .* and 64 for each"):
        Features(student, teacher, ["blocks.*"], toy_task.example(2))


def test_outputs_without_places_are_refused_by_name(student, teacher, toy_task):
    with pytest.raises(TrainError, match=r"classifier gives \[2, 3\], which has no places"):
        Features(student, teacher, ["classifier"], toy_task.example(2))


def test_a_map_of_one_place_is_refused_since_it_says_nothing(student, teacher, toy_task):
    for net in (student, teacher):
        net.blocks.append(nn.AdaptiveAvgPool2d(1))
    with pytest.raises(TrainError, match="map of blocks.2 is a single place"):
        Features(student, teacher, ["blocks.*"], toy_task.example(2))


@pytest.mark.parametrize("times", [0, 2])
def test_a_module_that_does_not_run_exactly_once_is_refused(student, teacher, toy_task, times):
    for net in (student, teacher):
        net.again = nn.Identity()
        for block in list(net.blocks)[:times]:
            block.shortcut = nn.Sequential(block.shortcut, net.again)
    with pytest.raises(TrainError, match=f"again runs {times} times in one pass"):
        Features(student, teacher, ["again"], toy_task.example(2))


def test_a_captured_graph_is_refused_though_it_has_the_names(student, teacher, toy_task):
    graph = captured_network(student.eval(), toy_task.example(2), [])
    assert "blocks.0" in dict(graph.named_modules())
    with pytest.raises(TrainError, match="this slim network is a captured graph"):
        Features(graph, teacher, ["blocks.*"], toy_task.example(2))


def test_hooks_are_gone_after_a_pass_and_after_an_error(student):
    with watched({"norm": student.norm}) as seen:
        student(torch.zeros(2, 1, 8, 8))
        assert hooks_of(student) == 1
    assert len(seen["norm"]) == 1
    assert hooks_of(student) == 0
    with pytest.raises(RuntimeError), watched({"norm": student.norm}):
        student(torch.zeros(2, 5, 8, 8))
    assert hooks_of(student) == 0


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_of_stages_is_added_to_that_of_outputs(
    make_objective, student, teacher, toy_task, weight
):
    batch = first_batch(toy_task)
    objective, student = make_objective(weight), student.eval()
    losses = []
    slim, dense = (functional.relu(n.norm(n.stem(batch.inputs))) for n in (student, teacher))
    for mine, other in zip(student.blocks, teacher.blocks, strict=True):
        slim, dense = mine(slim), other(dense)
        losses.append(attention_loss(attention_map(slim), attention_map(dense)))
    outputs = student(batch.inputs)
    expected = (1 - weight) * functional.cross_entropy(outputs, batch.targets)
    expected += weight * distillation_loss(outputs, teacher(batch.inputs), 3.0)
    expected += 2.0 * (losses[0] + losses[1]) / 2
    assert objective.loss(student, batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_gradient_of_stages_reaches_the_student_alone(
    make_objective, student, teacher, toy_task
):
    objective, batch = make_objective(1.0, patterns=("blocks.0",)), first_batch(toy_task)
    objective.loss(student.train(), batch).backward()
    with_stages = student.stem.weight.grad.clone()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    student.zero_grad()
    Distillation(toy_task, teacher, 1.0, 3.0).loss(student, batch).backward()
    assert not torch.allclose(with_stages, student.stem.weight.grad)


def test_nothing_of_a_step_stays_in_memory(make_objective, student, toy_task):
    objective, alive = make_objective(), []
    handle = student.blocks[0].register_forward_hook(
        lambda _module, _inputs, output: alive.append(weakref.ref(output))
    )
    for _ in range(3):
        objective.loss(student, first_batch(toy_task)).backward()
    handle.remove()
    gc.collect()
    assert [reference() for reference in alive] == [None] * 3


def test_a_step_that_fails_leaves_no_hook(make_objective, student, teacher, toy_task):
    objective, batch = make_objective(), first_batch(toy_task)
    for broken in (student.classifier, teacher.classifier):
        broken.in_features, kept = 3, broken.weight
        broken.weight = nn.Parameter(kept[:, :3].detach())
        with pytest.raises(RuntimeError):
            objective.loss(student, batch)
        broken.weight = kept
        assert hooks_of(student) == hooks_of(teacher) == 0


def test_another_network_than_the_one_it_was_made_for_is_refused(make_objective, toy_net, toy_task):
    with pytest.raises(TrainError, match=r"blocks.0 runs 0 times"):
        make_objective().loss(toy_net(), first_batch(toy_task))


def test_an_output_that_is_changed_in_place_can_be_trained_through(toy_task):
    def net(width):
        torch.manual_seed(width)
        layers = nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * 36, 3))

    slim, dense = net(2), net(4)
    stages = Stages(Features(slim, dense, ["1"], toy_task.example(2)), 1.0)
    Distillation(toy_task, dense, 0.0, 1.0, stages).loss(slim, first_batch(toy_task)).backward()
    assert slim[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("weight", "augment"), [(0.5, "none"), (0.0, "none"), (0.5, "flip")])
def test_with_features_every_image_goes_through_the_teacher(
    make_objective, student, teacher, toy_data, weight, augment
):
    task = Classification(toy_data, TaskSettings(augment=augment))
    objective, shown = make_objective(weight, task=task), []
    teacher.register_forward_pre_hook(lambda _module, inputs: shown.append(len(inputs[0])))
    for _ in range(2):
        objective.loss(student, first_batch(task))
    assert sum(shown) == objective.teacher_images(18) == 18


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_in_an_engine_learns_to_look_where_its_teacher_does(
    toy_job, toy_task, teacher, precision
):
    job = toy_job(epochs=6, precision=precision, accumulate=2)
    features = Features(job.model, teacher, ["blocks.*"], toy_task.example(2))
    before = looks(features, job.model, teacher, toy_task)
    objective = Distillation(toy_task, teacher, 0.0, 1.0, Stages(features, 20.0))
    train(replace(job, objective=objective), Surroundings())
    assert looks(features, job.model, teacher, toy_task) < 0.6 * before
    assert hooks_of(job.model) == hooks_of(teacher) == 0


@torch.no_grad()
def looks(features, student, teacher, task):
    """How far the maps of some images are apart."""
    images = first_batch(task, 60).inputs
    with features.of_student() as seen:
        student.eval()(images)
    with features.of_teacher() as seen_by_teacher:
        teacher.eval()(images)
    return features.loss(seen, seen_by_teacher).item()


@pytest.fixture
def one_process(tmp_path):
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_wrapped_network_has_the_gradient_of_the_bare_one(
    make_objective, student, toy_task, one_process
):
    objective, batch = make_objective(), first_batch(toy_task)
    objective.loss(student.eval(), batch).backward()
    bare = [parameter.grad.clone() for parameter in student.parameters()]
    student.zero_grad()
    objective.loss(nn.parallel.DistributedDataParallel(student), batch).backward()
    for parameter, expected in zip(student.parameters(), bare, strict=True):
        assert torch.allclose(parameter.grad, expected, atol=1e-6)

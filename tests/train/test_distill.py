import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from compressor.tasks.classification import Classification, TaskSettings
from compressor.train import distill
from compressor.train.distill import Distillation, distillation_loss
from compressor.train.order import generator_for

temperatures = st.floats(0.5, 10)


def logits(seed, num_images=4, num_classes=3):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(num_images, num_classes, dtype=torch.float64, generator=draw)


@given(temperature=temperatures, offset=st.floats(-5, 5))
def test_equal_answers_cost_nothing_whatever_is_added_to_all_logits(temperature, offset):
    loss = distillation_loss(logits(0) + offset, logits(0), temperature)
    assert abs(float(loss)) < 1e-12


@given(temperature=temperatures, seed=st.integers(1, 9))
def test_other_answers_cost_something(temperature, seed):
    assert distillation_loss(logits(seed), logits(0), temperature) > 0


@given(temperature=temperatures)
def test_it_is_the_divergence_times_the_squared_temperature(temperature):
    student, teacher = logits(1), logits(0)
    p = (teacher / temperature).softmax(dim=1)
    q = (student / temperature).softmax(dim=1)
    expected = (p * (p / q).log()).sum(dim=1).mean() * temperature**2
    assert torch.allclose(distillation_loss(student, teacher, temperature), expected)


@given(temperature=temperatures)
def test_the_gradient_is_the_gap_of_the_softened_answers(temperature):
    student, teacher = logits(1).requires_grad_(True), logits(0)
    distillation_loss(student, teacher, temperature).backward()
    gap = (student.detach() / temperature).softmax(1) - (teacher / temperature).softmax(1)
    assert torch.allclose(student.grad, gap * temperature / len(student))


@pytest.fixture
def networks(toy_net):
    student, teacher = toy_net(), toy_net()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1.5)
    return student.eval(), teacher


def first_batch(task):
    return task.batch(torch.arange(9), generator_for(0, "test"))


def test_remembered_and_fresh_answers_give_the_same_loss(toy_task, networks, monkeypatch):
    student, teacher = networks
    remembered = Distillation(toy_task, teacher, 0.5, 2.0)
    monkeypatch.setattr(distill, "REMEMBERED_NUMBERS", 10)
    fresh = Distillation(toy_task, copy.deepcopy(teacher), 0.5, 2.0)
    batch = first_batch(toy_task)
    losses = [objective.loss(student, batch).item() for objective in (remembered, fresh)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert remembered.teacher_images(9) == toy_task.num_train
    assert fresh.teacher_images(9) == 9


def test_images_that_change_are_shown_to_the_teacher_each_time(toy_data, networks):
    student, teacher = networks
    task = Classification(toy_data, TaskSettings(augment="flip"))
    objective = Distillation(task, teacher, 0.5, 2.0)
    for _ in range(2):
        objective.loss(student, first_batch(task))
    assert objective.teacher_images(18) == 18


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_the_weighted_mean_of_both(toy_task, networks, weight):
    student, teacher = networks
    batch = first_batch(toy_task)
    outputs, answers = student(batch.inputs), teacher.eval()(batch.inputs)
    expected = (1 - weight) * functional.cross_entropy(outputs, batch.targets)
    expected = expected + weight * distillation_loss(outputs, answers, 3.0)
    found = Distillation(toy_task, teacher, weight, 3.0).loss(student, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_teacher_does_not_learn(toy_task, networks):
    student, teacher = networks
    statistics = teacher.norm.running_mean.clone()
    Distillation(toy_task, teacher.train(), 0.5, 2.0).loss(
        student, first_batch(toy_task)
    ).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert torch.equal(teacher.norm.running_mean, statistics)
    assert any(parameter.grad is not None for parameter in student.parameters())


def test_a_student_that_learns_from_the_teacher_alone_comes_nearer(toy_task, networks):
    student, teacher = networks
    objective, batch = Distillation(toy_task, teacher, 1.0, 2.0), first_batch(toy_task)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(objective.loss(student, batch))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_only_the_labels_are_smoothed_and_never_the_teacher(toy_data, networks):
    student, teacher = networks
    task = Classification(toy_data, TaskSettings(label_smoothing=0.3))
    batch = first_batch(task)
    outputs, answers = student(batch.inputs), teacher.eval()(batch.inputs)
    targets = 0.7 * functional.one_hot(batch.targets, 3) + 0.1
    expected = -0.4 * (targets * outputs.log_softmax(1)).sum(1).mean()
    expected = expected + 0.6 * distillation_loss(outputs, answers, 2.0)
    found = Distillation(task, teacher, 0.6, 2.0).loss(student, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_smoothing_says_nothing_where_the_teacher_alone_is_followed(toy_data, networks):
    student, teacher = networks
    losses = []
    for smoothing in (0.0, 0.3):
        task = Classification(toy_data, TaskSettings(label_smoothing=smoothing))
        losses.append(Distillation(task, teacher, 1.0, 2.0).loss(student, first_batch(task)))
    assert losses[0].item() == losses[1].item()


def test_without_weight_the_teacher_is_never_asked(toy_task, networks):
    student, teacher = networks
    teacher.register_forward_pre_hook(lambda _module, _inputs: pytest.fail("was asked"))
    objective, batch = Distillation(toy_task, teacher, 0.0, 2.0), first_batch(toy_task)
    expected = functional.cross_entropy(student(batch.inputs), batch.targets)
    assert objective.loss(student, batch).item() == expected.item()
    assert objective.teacher_images(9) == 0

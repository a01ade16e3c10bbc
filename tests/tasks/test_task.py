import torch
from torch import nn

from compressor.tasks.classification import Classification, TaskSettings
from compressor.tasks.task import TaskLoss


def test_the_plain_objective_is_the_loss_of_the_models_outputs(toy_data):
    task = Classification(toy_data, TaskSettings())
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    batch = task.batch(torch.arange(5), torch.Generator())
    assert torch.equal(TaskLoss(task).loss(model, batch), task.loss(model(batch.inputs), batch))

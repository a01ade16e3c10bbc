import pytest
import torch
from torch import nn

from compressor.train.norms import reestimate_norms


@pytest.fixture
def images():
    return 3 + 2 * torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, momentum=0.3))
    layers[0].running_mean.fill_(100.0)
    return layers.eval()


def test_one_batch_of_all_images_gives_their_statistics(model, images):
    reestimate_norms(model, [images])
    assert torch.allclose(model[0].running_mean, images.mean(dim=(0, 2, 3)))
    assert torch.allclose(model[0].running_var, images.var(dim=(0, 2, 3)), rtol=1e-4)
    inside = model[1](
        (images - images.mean(dim=(0, 2, 3), keepdim=True))
        / images.std(dim=(0, 2, 3), keepdim=True)
    )
    assert torch.allclose(model[2].running_mean, inside.mean(dim=(0, 2, 3)), atol=1e-4)


def test_several_batches_are_averaged_with_equal_weight(model, images):
    parts = images.split(10)
    reestimate_norms(model, iter(parts))
    assert torch.allclose(model[0].running_mean, images.mean(dim=(0, 2, 3)), rtol=1e-4)
    variances = torch.stack([part.var(dim=(0, 2, 3)) for part in parts])
    assert torch.allclose(model[0].running_var, variances.mean(dim=0), rtol=1e-4)


def test_modes_and_momenta_are_as_before(model, images):
    model[2].train()
    modes = [module.training for module in model.modules()]
    reestimate_norms(model, [images])
    assert [module.training for module in model.modules()] == modes
    assert model[0].momentum == 0.1
    assert model[2].momentum == 0.3


def test_dropout_stays_out_of_it(images):
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(3)).train()
    reestimate_norms(model, [images])
    assert torch.allclose(model[1].running_mean, images.mean(dim=(0, 2, 3)), rtol=1e-4)


def test_weights_do_not_change(model, images):
    before = [parameter.detach().clone() for parameter in model.parameters()]
    reestimate_norms(model, [images])
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_without_inputs_the_statistics_stay(model):
    reestimate_norms(model, [])
    assert (model[0].running_mean == 100.0).all()


def test_without_norms_nothing_is_run():
    def explode():
        raise AssertionError("an input was asked for a forward pass")

    model = nn.Linear(2, 2)
    model.register_forward_pre_hook(lambda *_: explode())
    reestimate_norms(model, [torch.zeros(1, 2)])
    assert model.training

import pytest
import torch
from torch import nn

from compressor.bench.torch_runner import TorchRunner, torch_threads


@pytest.fixture
def norm_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()


def test_output_is_that_of_the_network_in_evaluation_mode(norm_net):
    batch = torch.randn(2, 3, 8, 8)
    runner = TorchRunner(norm_net, num_threads=1)
    runner.prepare(batch)

    with torch.no_grad():
        expected = norm_net.eval()(batch)
    assert torch.equal(runner.run(), expected)


def test_the_network_keeps_its_training_flags_and_statistics(norm_net):
    norm_net[1].eval()  # frozen on purpose: a blanket train() afterwards would undo it
    before = {name: tensor.clone() for name, tensor in norm_net.state_dict().items()}
    runner = TorchRunner(norm_net, num_threads=1)
    runner.prepare(torch.randn(2, 3, 8, 8))
    runner.run()
    runner.close()

    assert [module.training for module in norm_net] == [True, False, True]
    assert all(torch.equal(norm_net.state_dict()[name], value) for name, value in before.items())


def test_the_result_needs_no_gradient(norm_net):
    runner = TorchRunner(norm_net, num_threads=1)
    runner.prepare(torch.randn(1, 3, 8, 8, requires_grad=True))

    assert not runner.run().requires_grad


def test_run_uses_the_asked_threads_and_leaves_the_count_as_it_was():
    seen = []

    class Spy(nn.Module):
        def forward(self, images):
            seen.append(torch.get_num_threads())
            return images

    with torch_threads(1):
        runner = TorchRunner(Spy(), num_threads=2)
        runner.prepare(torch.zeros(1))
        runner.run()

        assert seen == [2]
        assert torch.get_num_threads() == 1


def test_the_thread_count_is_restored_after_a_failure():
    before = torch.get_num_threads()

    with pytest.raises(KeyError), torch_threads(before + 1):
        raise KeyError

    assert torch.get_num_threads() == before

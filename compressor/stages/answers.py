"""What a network answers on the test images."""

import torch
from torch import Tensor, nn

from compressor.context import Context
from compressor.export.per_class import Guesses, Noting


def answers_of(context: Context, model: nn.Module) -> tuple[float, Guesses]:
    """Accuracy on the test images, and the class that the network gave each; it ends on the CPU."""

    @torch.no_grad()
    def predict(inputs: Tensor) -> Tensor:
        outputs: Tensor = model(inputs.to(context.torch_device))
        return outputs

    noting = Noting(predict)
    model.eval().to(context.torch_device)
    right = context.task.accuracy(noting, "test")
    model.to("cpu")
    return right, noting.guesses()

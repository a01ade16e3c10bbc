"""A model and an example input -> its couplings, through index flow: the engine of our own."""

from dataclasses import replace

import torch
from torch import nn

from compressor.couplings.capture import Example, as_arguments, capture, described
from compressor.couplings.check import check_couplings, clashes
from compressor.couplings.classes import classes_of, couplings_of
from compressor.couplings.coupling import Couplings, Heads, first_names
from compressor.couplings.flow import flow
from compressor.couplings.program import program_of
from compressor.couplings.template import hollow_graph, number_type
from compressor.errors import CouplingError


@torch.no_grad()
def index_flow(model: nn.Module, example: Example, heads: Heads = "whole") -> Couplings:
    """Couplings of ``model`` as it runs in eval mode, checked; the model itself is not touched.

    Args:
        model: Any module whose forward can be captured as a graph.
        example: Input batch of at least 2 images, or the tuple of positional arguments.
        heads: What may leave attention.

    Raises:
        CouplingError: The network has no parameters, does not run, or depends on tensor values.
    """
    if next(model.parameters(), None) is None:
        raise CouplingError(
            "The network has no parameters, so there is nothing to remove. Use one with layers."
        )
    captured = capture(model, example)
    walked = flow(captured, first_names(model), heads)
    classes = classes_of(walked)
    couplings = couplings_of(walked, classes)
    couplings = couplings.freeze(clashes(couplings))
    check_couplings(couplings, model)
    inputs = described(as_arguments(example))
    program = program_of(walked, classes, couplings.free, inputs)
    program.templates[number_type(model)] = hollow_graph(captured, model)
    return replace(couplings, program=program)

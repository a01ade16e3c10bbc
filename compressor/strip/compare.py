"""The masked network and the stripped one, run on the same inputs, and how far apart they are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from compressor.couplings.capture import Example
from compressor.couplings.coupling import Couplings, named_tensors
from compressor.couplings.sharing import sharing_copy
from compressor.errors import CheckError
from compressor.memory import give_back
from compressor.strip.apply import apply
from compressor.strip.plan import StripPlan, make_plan
from compressor.strip.reading import Reading, masked
from compressor.structure import Structure

FP32_BOUND = 1e-5
FP64_BOUND = 1e-10


@torch.no_grad()
def compare(
    model: nn.Module,
    couplings: Couplings,
    structure: Structure,
    batches: Sequence[Example],
    dtype: torch.dtype | None = None,
) -> tuple[float, float]:
    """Largest relative difference of masked and stripped, and largest spread of the masked outputs.

    NaN where any output is.

    Args:
        model: The network; not touched.
        couplings: Its couplings.
        structure: What is kept.
        batches: Inputs.
        dtype: Type in which both are computed; that of ``batches`` unless given. Whole numbers,
            such as those of words, have none.
    """
    dtype = dtype or dtype_of(batches[0])
    # The slim network first: one that does not run fails at once.
    stripped = outputs_of(
        stripped_for(make_plan(model, couplings, structure), model, dtype), batches
    )
    # Neither network outlives its outputs; the next one compared has room then.
    give_back(model.parameters())
    found = difference_and_spread(
        outputs_of(masked(model, couplings, structure, dtype), batches), stripped
    )
    give_back(model.parameters())
    return found


def stripped_for(plan: StripPlan, model: nn.Module, dtype: torch.dtype) -> Reading:
    """The stripped network as it is read in ``dtype``; ``model`` is not touched."""
    if plan.form == "graph" and any(p.dtype != dtype for p in _numbers(model)):
        slim = apply(plan, _hollow(model, dtype))
        _fill(slim, plan, model)
        return Reading(slim, dtype)
    return Reading(apply(plan, model), dtype)


def _hollow(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network with parameters of ``dtype`` that are never written, so take no memory.

    The exporter writes types into its graph, so it has to see those of the run, and no values.
    """
    twin = sharing_copy(model)
    for parameter in _numbers(twin):
        parameter.data = torch.empty_like(parameter, dtype=dtype)
    for buffer in twin.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.to(dtype)
    return twin


def _numbers(model: nn.Module) -> list[Tensor]:
    return [parameter for parameter in model.parameters() if parameter.is_floating_point()]


def _fill(slim: nn.Module, plan: StripPlan, model: nn.Module) -> None:
    """Give the parameters of ``slim`` the values that ``plan`` leaves of those of ``model``."""
    tensors = named_tensors(model)
    # By identity: layers that share a parameter name it differently.
    kept = {(id(tensors[cut.tensor]), cut.axis): torch.tensor(cut.keep) for cut in plan.cuts}
    for name, parameter in slim.named_parameters():
        original = tensors[name]
        value = original.detach()
        for axis in range(value.dim()):
            if (index := kept.get((id(original), axis))) is not None:
                value = value.index_select(axis, index.to(value.device))
        parameter.data = value


def outputs_of(network: Reading, batches: Sequence[Example]) -> list[Tensor]:
    """All output tensors for all batches, one after the other."""
    return [output for batch in batches for output in network.outputs(batch)]


def difference_and_spread(
    expected: Sequence[Tensor], found: Sequence[Tensor]
) -> tuple[float, float]:
    """Largest relative difference of two lists of outputs, and largest spread of the first."""
    pairs = zip(expected, found, strict=True)
    differences = [relative_difference(*pair) for pair in pairs]
    return largest(differences), largest([_spread(output) for output in expected])


def as_type(example: Example, dtype: torch.dtype) -> Example:
    """The example with its floating-point tensors in ``dtype``."""

    def converted(leaf: object) -> object:
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return leaf.to(dtype)
        return leaf

    result: Example = tree_map(converted, example)
    return result


def dtype_of(example: Example) -> torch.dtype:
    """Type of the floating-point tensors of an example; float32 where it has none."""
    leaves = (leaf for leaf in tree_leaves(example) if isinstance(leaf, Tensor))
    return next((leaf.dtype for leaf in leaves if leaf.is_floating_point()), torch.float32)


def largest(figures: Sequence[float]) -> float:
    """The largest figure; NaN where any is."""
    # Unlike max(), which may drop a NaN that is not the first.
    return float(torch.tensor(figures, dtype=torch.float64).max())


def relative_difference(expected: Tensor, found: Tensor) -> float:
    """Largest absolute difference over the largest absolute expected value; same shapes."""
    if expected.shape != found.shape:
        raise CheckError(
            f"The outputs have shapes {tuple(expected.shape)} and {tuple(found.shape)}. "
            "The plan removed channels of the network's output; report this."
        )
    wanted = _as_float(expected)
    scale = wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny)
    return float((wanted - _as_float(found)).abs().max() / scale)


def _as_float(outputs: Tensor) -> Tensor:
    # Class numbers and masks are outputs too.
    return outputs if outputs.is_floating_point() else outputs.double()


def _spread(outputs: Tensor) -> float:
    if outputs.dim() == 0 or len(outputs) < 2:
        return 0.0
    numbers = _as_float(outputs)
    scale = numbers.abs().max().clamp_min(torch.finfo(numbers.dtype).tiny)
    return float(numbers.std(dim=0).max() / scale)

"""The masked network against the stripped one: figures, not belief."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from compressor.couplings.capture import Example
from compressor.couplings.coupling import Agreement, Couplings, Form
from compressor.errors import CheckError
from compressor.strip.compare import (
    FP32_BOUND,
    FP64_BOUND,
    as_type,
    compare,
    difference_and_spread,
    largest,
    outputs_of,
    relative_difference,
    stripped_for,
)
from compressor.strip.inputs import Kind, Trials, trials_of
from compressor.strip.plan import StripPlan, make_plan
from compressor.strip.reading import Reading, masked
from compressor.strip.trial import FORWARD_FAILURES, shake
from compressor.structure import Structure

__all__ = [
    "FP32_BOUND",
    "FP64_BOUND",
    "Certificate",
    "Figures",
    "as_type",
    "certify",
    "compare",
    "relative_difference",
    "weights_sha256",
]

Statistics = Literal["trained", "random"]
"""Norms of the compared network.

``trained``: as they are. ``random``: scales and shifts at random, statistics of the given inputs.
"""


@dataclass(frozen=True)
class Figures:
    """What came out for one kind of input.

    Attributes:
        kind: Where the inputs are from.
        shapes: Shape of each input batch.
        max_rel_diff_fp32: Largest difference in float32.
        max_rel_diff_fp64: Largest difference in float64.
        output_spread: Largest spread of the masked outputs over the inputs.
    """

    kind: Kind
    shapes: tuple[tuple[int, ...], ...]
    max_rel_diff_fp32: float
    max_rel_diff_fp64: float
    output_spread: float


@dataclass(frozen=True)
class Certificate:
    """How far the outputs of the stripped network are from those of the masked one.

    A difference is relative: the largest absolute one over the largest absolute output.

    Attributes:
        max_rel_diff_fp32: Largest over all inputs in float32.
        max_rel_diff_fp64: Largest over all inputs in float64.
        inputs: Number of inputs (images) of the given size that were compared.
        output_spread: Standard deviation of the masked outputs over the images, relative to the
            largest output. Where it is no larger than the bound on differences, the comparison is
            empty: a network that ignores its input would pass.
        by_input: The same for each kind of input, those of another size among them.
        sizes: The other size that was compared, or why there is none.
        form: How the network was cut.
        statistics: Norms of the network that was compared.
        kept_divisors: Norms that divide by as many channels as before: names of modules, or of
            operators where the form is the graph.
        branches: Residual branches that went as blocks.
        agreement: What a second coupling engine said; None where nobody was asked.
        dense_sha256: Of the weights that were masked, see ``weights_sha256``.
        slim_sha256: Of the weights that were left.
        torch: Version of torch that computed all this.
    """

    max_rel_diff_fp32: float
    max_rel_diff_fp64: float
    inputs: int
    output_spread: float
    by_input: tuple[Figures, ...] = ()
    sizes: str = ""
    form: Form = "module"
    statistics: Statistics = "trained"
    kept_divisors: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    agreement: Agreement | None = None
    dense_sha256: str = ""
    slim_sha256: str = ""
    torch: str = str(torch.__version__)

    def to_json(self) -> dict[str, Any]:
        """JSON value, with the bounds it was held against."""
        value = {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}
        return {**value, "bound_fp32": FP32_BOUND, "bound_fp64": FP64_BOUND}

    def check(self) -> None:
        """Raise unless both differences are within their bounds and the outputs vary; NaN fails.

        Raises:
            CheckError: Names the figure and the bound.
        """
        if not self.output_spread > FP32_BOUND:
            raise CheckError(
                "The certificate is empty: the outputs of the masked network vary over the images "
                f"by {self.output_spread:.3g}, the bound is {FP32_BOUND:g}. "
                "Train it before stripping."
            )
        for name, bound in (("max_rel_diff_fp32", FP32_BOUND), ("max_rel_diff_fp64", FP64_BOUND)):
            figure = getattr(self, name)
            if not figure <= bound:
                raise CheckError(
                    f"The stripped network is not the masked one: {name} is {figure:.3g}, the "
                    f"bound {bound:g}. Report this with the network: its couplings are wrong."
                )


def _plain(value: Any) -> Any:
    if isinstance(value, Agreement | Figures):
        return {key: _plain(entry) for key, entry in asdict(value).items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


@torch.no_grad()
def certify(
    model: nn.Module,
    couplings: Couplings,
    structure: Structure,
    batches: Sequence[Example],
    *,
    statistics: Statistics = "trained",
    seed: int = 0,
) -> Certificate:
    """Compare ``model`` masked with ``model`` stripped, in float32 and float64, in eval mode.

    Beside the given inputs as many random ones are compared, and the given images at a second size
    where the network takes one.

    Args:
        model: The trained network; not touched.
        couplings: Its couplings.
        structure: What is kept.
        batches: Real inputs, float32: batches of shape ``(images, ...)`` or tuples of arguments.
        statistics: What becomes of the norms of the network before it is compared.
        seed: Of random inputs and random norms.

    Raises:
        StructureError: The structure does not fit the couplings.
        CheckError: The networks differ in the shape of an output, or only one of them runs.
    """
    compared = model if statistics == "trained" else shake(model, batches[0], seed)
    trials = trials_of(compared, couplings, batches, seed)
    plan = make_plan(compared, couplings, structure)
    stripped, slim_sha256 = _stripped(compared, plan, trials)
    figures = _figures(trials, stripped, _masked(compared, couplings, structure, trials))
    own_size = [entry for entry in figures if entry.kind != "other size"]
    return Certificate(
        max_rel_diff_fp32=largest([entry.max_rel_diff_fp32 for entry in figures]),
        max_rel_diff_fp64=largest([entry.max_rel_diff_fp64 for entry in figures]),
        inputs=sum(shape[0] for entry in own_size for shape in entry.shapes),
        output_spread=largest([entry.output_spread for entry in own_size]),
        by_input=figures,
        sizes=trials.sizes,
        form=plan.form,
        branches=tuple(branch.name for branch in plan.branches),
        statistics=statistics,
        kept_divisors=_kept_divisors(plan),
        agreement=couplings.agreement,
        dense_sha256=weights_sha256(compared),
        slim_sha256=slim_sha256,
    )


class Case(NamedTuple):
    """One kind of input in one precision."""

    kind: Kind
    dtype: torch.dtype


Outputs = Mapping[Case, list[Tensor]]

PRECISIONS = (torch.float32, torch.float64)


def _stripped(model: nn.Module, plan: StripPlan, trials: Trials) -> tuple[Outputs, str]:
    """Outputs of the stripped network, and the fingerprint of its weights."""
    outputs: dict[Case, list[Tensor]] = {}
    fingerprint = ""
    for dtype in PRECISIONS:
        network = stripped_for(plan, model, dtype)
        fingerprint = fingerprint or weights_sha256(network.network)
        outputs |= _outputs(network, trials, dtype)
    return outputs, fingerprint


def _masked(
    model: nn.Module, couplings: Couplings, structure: Structure, trials: Trials
) -> Outputs:
    outputs: dict[Case, list[Tensor]] = {}
    for dtype in PRECISIONS:
        outputs |= _outputs(masked(model, couplings, structure, dtype), trials, dtype)
    return outputs


def _outputs(network: Reading, trials: Trials, dtype: torch.dtype) -> dict[Case, list[Tensor]]:
    found = {}
    for kind, batches in trials.batches.items():
        try:
            typed = [as_type(batch, dtype) for batch in batches]
            found[Case(kind, dtype)] = outputs_of(network, typed)
        except FORWARD_FAILURES as failure:
            raise CheckError(
                f"The dense network runs on inputs of the kind '{kind}', and once it is cut or "
                f"masked it does not ({failure}). Report this with the network."
            ) from failure
    return found


def _figures(trials: Trials, stripped: Outputs, expected: Outputs) -> tuple[Figures, ...]:
    figures = []
    for kind in trials.batches:
        by_type = {
            dtype: difference_and_spread(expected[Case(kind, dtype)], stripped[Case(kind, dtype)])
            for dtype in PRECISIONS
        }
        (fp32, _), (fp64, spread) = by_type[torch.float32], by_type[torch.float64]
        figures.append(Figures(kind, trials.shapes(kind), fp32, fp64, spread))
    return tuple(figures)


def _kept_divisors(plan: StripPlan) -> tuple[str, ...]:
    edited = tuple(edit.node for edit in plan.edits if edit.argument == "divisor")
    return (*sorted(plan.divisors), *edited)


def weights_sha256(model: nn.Module) -> str:
    """Hex SHA-256 over names, types, shapes and bytes of all tensors of a state dict, by name."""
    digest = hashlib.sha256()
    for part in _described(model.state_dict()):
        digest.update(part)
    return digest.hexdigest()


def _described(state: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        yield f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode()
        yield tensor.reshape(-1).view(torch.uint8).numpy().data

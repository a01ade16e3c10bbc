"""Sets of gates that share a threshold: those of the units of a coupling, the weights of a tensor.

Each set goes from gradients at what the network shows to gradients at true values, and moves its
own alpha and beta by gradient descent. The maths is in ``gate_functions``.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from compressor.errors import TrainError
from compressor.sparsity.candidates import Candidates, Tensors
from compressor.sparsity.gate_functions import (
    Pull,
    first_alpha,
    first_beta,
    first_weights,
    largest_beta,
    over_threshold,
    unit_gates,
    unit_gradients,
)
from compressor.sparsity.gate_parts import Sums, show_, weight_gradients_


class GateSet(Protocol):
    """Gates under one threshold: those of a coupling, or the weights of a tensor.

    Attributes:
        name: Key in the structure.
        tensors: Names of the parameters that are gated.
        state: alpha and beta, and what they need to move on.
    """

    name: str
    tensors: tuple[str, ...]
    state: dict[str, Tensor]

    def sizes(self) -> Tensor:
        """What the threshold is held against, of the shape of the structure's entry."""
        ...

    def values(self) -> Tensor:
        """What R is of, exactly zero for what is left out; of the same shape."""
        ...

    def worth(self, gradients: Tensors) -> Tensor:
        """Gradient of the loss at each gate, from the gradients at what is shown."""
        ...

    def descend_(self, worth: Tensor, gradients: Tensors, rate: float) -> None:
        """Make of ``gradients`` those at true values, in place, and move alpha and beta."""
        ...

    def show_(self, tensors: Tensors) -> None:
        """Make of true values what is shown, in place."""
        ...


class UnitGates:
    """Gates of the units of one coupling.

    Attributes:
        others: Sets that gate some of the same tensors.
    """

    def __init__(self, candidates: Candidates, true: Tensors, pull: Pull, momentum: float) -> None:
        self.name, self.tensors = candidates.name, candidates.tensors
        self.others: list[UnitGates] = []
        self._candidates, self._true = candidates, true
        self._pull, self._momentum = pull, momentum
        (num_gates,) = candidates.shape
        self.state = _first_state(true[self.tensors[0]], num_gates, 1 / num_gates)
        alpha = torch.full_like(self.state["beta"].expand(num_gates), first_alpha())
        self.state |= {"alpha": alpha, "velocity of alpha": torch.zeros_like(alpha)}

    def sizes(self) -> Tensor:
        """The gammas."""
        return self.state["alpha"].exp()

    def values(self) -> Tensor:
        """The gates."""
        return unit_gates(self.state["alpha"], self.state["beta"], self._pull.form)

    def worth(self, gradients: Tensors) -> Tensor:
        """Sum of gradients times true values over the entries that carry each unit."""
        true = self._true
        if self.others:
            # What other sets gate too is, to this one, what they make of it.
            names = {name for gates in (self, *self.others) for name in gates.tensors}
            true = {name: true[name].clone() for name in names}
            for other in self.others:
                other.show_(true)
        return self._candidates.dot(gradients, true)

    def descend_(self, worth: Tensor, gradients: Tensors, rate: float) -> None:
        """Gradients at true values are those at what is shown, times the gates."""
        self.show_(gradients)
        alpha, beta = self.state["alpha"], self.state["beta"]
        moves = unit_gradients(alpha, beta, worth.to(alpha.dtype), self._pull)
        _move_(self.state, dict(zip(("alpha", "beta"), moves, strict=True)), rate, self._momentum)
        _guard_(beta, self.sizes())

    def show_(self, tensors: Tensors) -> None:
        """Multiply what carries the units by their gates."""
        self._candidates.multiply_(tensors, self.values())


class WeightGates:
    """The weights of one tensor, gated by their own magnitudes."""

    def __init__(self, name: str, true: Tensors, pull: Pull, momentum: float) -> None:
        self.name = name
        self.tensors: tuple[str, ...] = (name,)
        self._true, self._pull, self._momentum = true[name], pull, momentum
        mean_size = float(self._true.abs().mean())
        if mean_size == 0:
            raise TrainError(
                f"{name}: all of its weights are zero, and a threshold relative to their sum never "
                "lets one grow. Choose another initialisation, or sparsity.level unit."
            )
        num_weights = self._true.numel()
        rate = 1 / (num_weights * mean_size**2)
        self.state = _first_state(self._true, num_weights, rate)
        # Sums belong to what is shown: each step goes on with those of the step before.
        sum_of_values = self._true.abs().sum().to(self.state["beta"].dtype)
        self._true.copy_(first_weights(self._true))
        sum_of_sizes = self._true.abs().sum().to(self.state["beta"].dtype)
        self.state |= {"sum of sizes": sum_of_sizes, "sum of values": sum_of_values}

    def sizes(self) -> Tensor:
        """Magnitudes of the true weights."""
        return self._true.abs()

    def values(self) -> Tensor:
        """Magnitudes of what is shown, before rounding to the type of the weights."""
        return over_threshold(self.sizes(), self.state["beta"])

    def worth(self, gradients: Tensors) -> Tensor:
        """The gradients themselves."""
        return gradients[self.name]

    def descend_(self, worth: Tensor, gradients: Tensors, rate: float) -> None:
        """Gradients at true weights include those of R, which the optimiser follows."""
        del worth  # the gradients themselves, which change in place
        sums = Sums(self.state["sum of sizes"], self.state["sum of values"])
        gradient, beta = gradients[self.name], self.state["beta"]
        of_beta = weight_gradients_(self._true, beta, gradient, self._pull, sums)
        _move_(self.state, {"beta": of_beta}, rate, self._momentum)

    def show_(self, tensors: Tensors) -> None:
        """Shrink the weights by the threshold, which the guard bounds first."""
        sums = show_(tensors[self.name], self.state["beta"])
        self.state["sum of sizes"].copy_(sums.sizes)
        self.state["sum of values"].copy_(sums.values)


def _first_state(like: Tensor, num_sizes: int, rate: float) -> dict[str, Tensor]:
    """State of beta at the start, its velocity, and its rate over that of the others."""
    numbers = {"beta": first_beta(num_sizes), "velocity of beta": 0.0, "rate of beta": rate}
    dtype = torch.promote_types(like.dtype, torch.float32)
    return {name: like.new_tensor(number, dtype=dtype) for name, number in numbers.items()}


def _move_(
    state: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float, momentum: float
) -> None:
    """One step of gradient descent with momentum, and no weight decay."""
    for name, gradient in gradients.items():
        velocity = state[f"velocity of {name}"].mul_(momentum).add_(gradient)
        factor = state.get(f"rate of {name}")
        state[name].sub_(velocity if factor is None else velocity * factor, alpha=rate)


def _guard_(beta: Tensor, sizes: Tensor) -> None:
    """Lower beta to where the largest size is safe."""
    torch.minimum(beta, largest_beta(sizes), out=beta)


def share_of_threshold(gates: GateSet) -> Tensor:
    """Sizes over their threshold, which is not zero."""
    sizes = gates.sizes()
    return sizes / (torch.sigmoid(gates.state["beta"]) * sizes.sum())


def at_guard(gates: GateSet) -> bool:
    """Whether only the guard keeps the threshold where it is."""
    return bool(gates.state["beta"] >= largest_beta(gates.sizes()))


def introduce(sets: Sequence[GateSet]) -> None:
    """Tell sets of units that gate some of the same tensors of each other."""
    of_units = [gates for gates in sets if isinstance(gates, UnitGates)]
    for gates in of_units:
        own = set(gates.tensors)
        gates.others = [some for some in of_units if some is not gates and own & set(some.tensors)]

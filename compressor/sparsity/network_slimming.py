"""Network slimming: norm scales shrink under an L1 norm, and units with the largest scales stay.

Liu et al., Learning Efficient Convolutional Networks through Network Slimming (ICCV 2017), arXiv
1708.06519. Training minimises the loss plus ``strength * sum |scale|``, by subgradients. The term
enters the gradients right before the step, so gradients that AMP scales never meet it. A unit of a
coupling with several norms, as a residual stream has, ranks by the root mean square of its scales,
which for one norm is the paper's |scale|.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors, unit_norms
from compressor.errors import TrainError
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.hooks import StepHooks
from compressor.sparsity.whole import WholeNetwork

SMALL = 1e-2
"""Below this size a scale counts as small in the log; a fresh scale is one."""

LEAST_REACH = 0.1
"""A regulariser that can move scales by less than this share of their mean gets a line."""


class NetworkSlimmingSettings(Settings):
    """How strongly the scales are pulled to zero."""

    method: Literal["network-slimming"] = "network-slimming"
    strength: float = Field(default=1e-4, gt=0)
    """The paper's lambda, on the sum of absolute norm scales: 1e-4, or 1e-5 for ImageNet.

    Meant for sgd: adamw divides gradients by their own size, and the strength with them.
    """


class NetworkSlimming(WholeNetwork):
    """The whole network trains, its free norm scales with an L1 norm; units rank by scale."""

    name = "network-slimming"

    def __init__(self, settings: NetworkSlimmingSettings, horizon: Horizon) -> None:
        self._strength, self._path_time = settings.strength, horizon.path_time
        self._hooks: StepHooks | None = None

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Find the scales and hook the step.

        Raises:
            TrainError: No coupling has a norm with scales.
        """
        super().attach(model, optimizer, couplings)
        tensors = named_tensors(model)
        self._pulls = _pulls(tensors, couplings, self._strength)
        self._scales = {name: tensors[name] for name in self._pulls}
        self._bare = [c.name for c in couplings.free if not c.of_kind("scale")]
        if couplings.free and not self._scales:
            raise TrainError(
                f"{self._bare[0]}: network-slimming ranks units by norm scales, and none of the "
                f'{len(self._bare)} couplings has any. Set sparsity.method to "magnitude".'
            )
        self._reach = self._farthest(optimizer)
        self._hooks = StepHooks(optimizer, before=self._before_step, after=lambda: None)

    def _before_step(self) -> None:
        moving = {name: s.grad for name, s in self._scales.items() if s.grad is not None}
        if moving:
            signs = torch._foreach_sign([self._scales[name] for name in moving])
            pulls = torch._foreach_mul(signs, [self._pulls[name] for name in moving])
            torch._foreach_add_(list(moving.values()), pulls)

    def _farthest(self, optimizer: torch.optim.Optimizer) -> float | None:
        """How far the L1 norm alone can move a scale in this run, over the mean scale.

        None where it is not known: adaptive steps do not grow with the gradient.
        """
        momentum: float | None = optimizer.defaults.get("momentum")
        if momentum is None or not self._scales:
            return None
        sizes = torch.cat([scale.detach().abs().flatten() for scale in self._scales.values()])
        # A constant gradient moves lr / (1 - momentum) times itself in each step.
        farthest = self._strength * self._path_time / (1 - momentum)
        return farthest / max(float(sizes.mean()), 1e-12)

    def scores(self, model: nn.Module, couplings: Couplings) -> dict[str, Tensor]:
        """Root mean square of each unit's scales; the mean of all where a coupling has none."""
        tensors = named_tensors(model)
        known = {
            coupling.name: unit_norms(tensors, scales).cpu().double() / len(scales) ** 0.5
            for coupling in couplings.free
            if (scales := coupling.of_kind("scale"))
        }
        mean = torch.cat(list(known.values())).mean() if known else torch.ones(())
        return {
            c.name: known.get(c.name, torch.full((c.num_units,), float(mean)))
            for c in couplings.free
        }

    def metrics(self) -> dict[str, float]:
        """Sum of absolute scales, and the share of small ones."""
        if not self._scales:
            return {}
        values = [
            scale.detach()[self._pulls[name].to(scale.device) != 0]
            for name, scale in self._scales.items()
        ]
        sizes = torch.cat(values).abs().double()
        return {
            "scale_sum": float(sizes.sum()),
            "small_scale_share": float((sizes < SMALL).double().mean()),
        }

    def notices(self) -> list[str]:
        """Names couplings without scales; says when the regulariser cannot do anything."""
        notices = []
        if self._bare:
            some = ", ".join(self._bare[:3]) + (", ..." if len(self._bare) > 3 else "")
            notices.append(
                f"{len(self._bare)} of {len(self._couplings.free)} couplings have no norm scale "
                f'and rank all their units the same: {some}. The method "magnitude" ranks them.'
            )
        if self._reach is not None and self._reach < LEAST_REACH:
            notices.append(
                f"sparsity.strength {self._strength:g} moves a scale by at most {self._reach:.2%} "
                "of the mean scale in this run, so the ranking is that of ordinary training. "
                "Raise it, or train longer."
            )
        return notices

    def state_dict(self) -> dict[str, Any]:
        """Whose state it is, and the sizes of the scales."""
        sizes = {name: scale.numel() for name, scale in self._scales.items()}
        return {**super().state_dict(), "scales": sizes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``.

        Raises:
            TrainError: It is of another method or network.
        """
        super().load_state_dict(state)
        if state["scales"] != self.state_dict()["scales"]:
            raise TrainError(
                f"The checkpoint has {sum(state['scales'].values())} norm scales in "
                f"{len(state['scales'])} tensors, and the network other ones. "
                "Resume with the network that it was saved from."
            )

    def detach(self) -> None:
        """Remove the hooks."""
        if self._hooks is not None:
            self._hooks.remove()


def _pulls(tensors: dict[str, Tensor], couplings: Couplings, strength: float) -> dict[str, Tensor]:
    """``strength`` at each scale of a free unit, zero at other entries; by parameter name."""
    pulls: dict[str, Tensor] = {}
    for coupling in couplings.free:
        for member in coupling.of_kind("scale"):
            scale = tensors[member.tensor].detach()
            pull = pulls.setdefault(member.tensor, torch.zeros_like(scale))
            pull.movedim(member.axis, 0)[member.index.flatten().to(scale.device)] = strength
    return pulls

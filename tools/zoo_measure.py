"""One network, measured: couplings, certificates, a backward pass, both ONNX exporters.

The survey (``tools/zoo``) runs this file once per network in a process of its own, so that the peak
memory is that network's and a network that hangs can be stopped. The row is written after each
step: what a stopped process had found stays found.
"""

import contextlib
import copy
import json
import logging
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from zoo_exporters import EXPORTERS, FirstTensor, in_one_line, parity, tensors_of
from zoo_networks import NETWORKS, Network

from compressor.couplings.coupling import Couplings, mask_
from compressor.errors import StripError
from compressor.files import write_json
from compressor.strip.apply import apply
from compressor.strip.compare import (
    FP32_BOUND,
    FP64_BOUND,
    compare,
    relative_difference,
)
from compressor.strip.find import find_couplings
from compressor.strip.plan import make_plan
from compressor.strip.trial import shake
from compressor.structure import Structure
from compressor.train.norms import reestimate_norms

SEED = 2
CONTRASTS = (0.6, 6.0)
"""Of the images: after noise of one contrast the outputs of deep random networks hardly vary."""

SETTLING_IMAGES = 8
"""So many norm statistics are of: those of two images divide by differences of a few numbers, and
what float32 rounds off grows from norm to norm."""

STATISTICS = ("running_mean", "running_var")
"""Endings of the names of what batch norms have of their images."""

BLOTCHES = 4
"""Along each side of an image."""

Row = dict[str, Any]


def main() -> None:
    """Measure the network that the command line names, into the file that it names."""
    name, target, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(1)
    # Nobody reads what somebody else's network, and its capture, say about themselves.
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    survey = Survey(NETWORKS[name], settings, lambda row: write_json(target, row))
    survey.run()


class Survey:
    """One network on its way through all steps.

    Attributes:
        row: What is known so far.
    """

    def __init__(
        self, network: Network, settings: Mapping[str, Any], tell: Callable[[Row], None]
    ) -> None:
        self._network, self._settings, self._tell = network, settings, tell
        self._began, self._began_working = time.monotonic(), time.process_time()
        self.row: Row = {
            "model": network.name,
            "source": network.source,
            "pixels": network.pixels,
            "stripped": False,
            "reason": "",
            "max_rel_diff_fp32": None,
            "max_rel_diff_fp64": None,
            "seconds": 0.0,
            "peak_bytes": 0,
            "stages": {},
            "onnx": {},
        }

    def run(self) -> Row:
        """The row, after all steps; it tells where the steps ended if they did."""
        try:
            self._strip()
        except Exception as failure:  # noqa: BLE001  whatever a network raises is its row's reason
            self.row["reason"] = in_one_line(failure)
        self._note("")
        return self.row

    def _strip(self) -> None:
        with self._stage("build"):
            torch.manual_seed(0)
            model = self._network.build().eval()
            example = images(self._network.pixels)
            self.row["params"] = num_params(model)
        with self._stage("couplings"):
            couplings = find_couplings(
                model,
                example,
                self._settings["engine"],
                check_seconds=self._settings["check_seconds"],
            )
            self.row |= described(couplings)
        with self._stage("certificate"):
            shaken = shake(model, example, SEED)
            del model
            kept = structures(couplings)
            settling = images(self._network.pixels, SETTLING_IMAGES)
            settle_(shaken, partial(mask_, couplings=couplings, structure=kept[0]), settling)
            self._compare_fp64(shaken, couplings, kept, example)
        with self._stage("slim"):
            slim = apply(make_plan(shaken, couplings, kept[0]), shaken).eval()
            self.row["params_share"] = num_params(slim) / self.row["params"]
            self._compare_fp32(
                shaken, slim, partial(mask_, couplings=couplings, structure=kept[0]), example
            )
            self.row["stripped"] = True
        with self._stage("backward"):
            self.row["backward"] = backward_reaches(shaken, slim, example)
        del shaken
        if self._settings["export"]:
            self._export(slim.eval())

    def _compare_fp64(
        self, shaken: nn.Module, couplings: Couplings, kept: Sequence[Structure], example: Tensor
    ) -> None:
        if not couplings.free:
            reasons = "; ".join(sorted({frozen.reason for frozen in couplings.frozen}))
            raise StripError(f"nothing can be removed: {reasons}")
        found = [compare(shaken, couplings, keep, [example.double()]) for keep in kept]
        self.row["output_spread"] = found[0][1]
        self._hold("max_rel_diff_fp64", [difference for difference, _ in found], FP64_BOUND)
        if not found[0][1] > FP32_BOUND:
            raise StripError(f"the outputs vary by {found[0][1]:.2g} only, which proves nothing")

    @torch.no_grad()
    def _compare_fp32(
        self, shaken: nn.Module, slim: nn.Module, mask: Callable[[nn.Module], None], example: Tensor
    ) -> None:
        masked = copy.deepcopy(shaken)
        mask(masked)
        pairs = zip(tensors_of(masked(example)), tensors_of(slim(example)), strict=True)
        self._hold("max_rel_diff_fp32", [relative_difference(*pair) for pair in pairs], FP32_BOUND)

    def _hold(self, key: str, differences: Sequence[float], bound: float) -> None:
        # Unlike max(), which may drop a NaN that is not the first.
        figure = float(torch.tensor(differences).max())
        self.row[key] = figure if math.isfinite(figure) else None
        if not figure <= bound:
            raise StripError(f"{key} is {figure:.2g}, the bound {bound:g}")

    def _export(self, slim: nn.Module) -> None:
        first = FirstTensor(slim).eval()
        pixels = self._network.pixels
        for name, exporter in EXPORTERS.items():
            self.row["onnx"][name] = {"unfinished": True}
            with self._stage(f"{name} exporter"):
                self.row["onnx"][name] = parity(exporter, first, pixels, SEED)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._note(name)
        began = time.monotonic()
        yield
        self.row["stages"][name] = round(time.monotonic() - began, 2)
        self._note(name)

    def _note(self, place: str) -> None:
        self.row["place"] = place
        self.row["seconds"] = round(time.monotonic() - self._began, 2)
        # Unlike seconds, the same on a busy machine.
        self.row["processor_seconds"] = round(time.process_time() - self._began_working, 2)
        self.row["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
        self._tell(self.row)


RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in a unit of ``ru_maxrss``."""


def images(pixels: int, number: int = len(CONTRASTS)) -> Tensor:
    """Images of blurred colours, of different contrasts, shape ``(number, 3, pixels, pixels)``."""
    generator = torch.Generator().manual_seed(SEED)
    blotches = torch.randn(number, 3, BLOTCHES, BLOTCHES, generator=generator)
    blurred = nn.functional.interpolate(blotches, size=(pixels, pixels), mode="bicubic")
    contrasts = [CONTRASTS[place % len(CONTRASTS)] for place in range(number)]
    return blurred * torch.tensor(contrasts).view(-1, 1, 1, 1)


def num_params(model: nn.Module) -> int:
    """Parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


def described(couplings: Couplings) -> Row:
    """What a row says of the couplings themselves."""
    frozen = [f for f in couplings.frozen if "output of the network" not in f.reason]
    agreement = couplings.agreement
    return {
        "form": couplings.form,
        "couplings": len(couplings.free),
        "units": couplings.num_units,
        "frozen": {f.name: f.reason for f in frozen},
        "unknown_operators": dict(couplings.program.unknown) if couplings.program else {},
        "agreed": agreement.same if agreement else 0,
        "refuted": list(agreement.refuted) if agreement else [],
        "second_opinion": agreement.note if agreement else "",
    }


@torch.no_grad()
def settle_(shaken: nn.Module, mask: Callable[[nn.Module], None], example: Tensor) -> None:
    """Take norm statistics of the masked network, in place; of zero channels they stay.

    With those of the whole network what the images do to a deep network shrinks from norm to norm
    once units are masked, and at the end is no more than a rounding error.
    """
    masked = copy.deepcopy(shaken)
    mask(masked)
    reestimate_norms(masked, [example])
    found = dict(masked.named_buffers())
    for name, statistic in shaken.named_buffers():
        if name.endswith(STATISTICS):
            lives = found[f"{name.rpartition('.')[0]}.running_var"] > 0
            statistic.copy_(torch.where(lives, found[name], statistic))


def structures(couplings: Couplings) -> list[Structure]:
    """Half of the units of each coupling, then two random legal structures.

    In the last, shares are as uneven as can be: one coupling keeps a single unit.
    """
    generator = torch.Generator().manual_seed(SEED)
    half = {c.name: _some(c.num_units, c.num_units // 2, generator) for c in couplings.free}
    found = [half]
    for _ in range(2):
        shares = torch.rand(len(couplings.free), generator=generator).tolist()
        found.append(
            {
                c.name: _some(c.num_units, round(c.num_units * share), generator)
                for c, share in zip(couplings.free, shares, strict=True)
            }
        )
    if couplings.free:
        lonely = couplings.free[int(torch.randint(len(couplings.free), (), generator=generator))]
        found[-1][lonely.name] = _some(lonely.num_units, 1, generator)
    return [Structure(keep) for keep in found]


def _some(num_units: int, num_kept: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(num_units, generator=generator) < max(1, num_kept)


def backward_reaches(dense: nn.Module, slim: nn.Module, example: Tensor) -> str:
    """``ok`` where every parameter that learns in ``dense`` learns in ``slim``; else what is wrong.

    Both run in training mode.
    """
    try:
        expected, found = learning(dense, example), learning(slim, example)
    except Exception as failure:  # noqa: BLE001  whatever a network raises is its row's reason
        return in_one_line(failure)
    missing = sorted(expected - found)
    if missing:
        return f"no gradient reaches {len(missing)} parameters, the first {missing[0]}"
    return "ok"


def learning(model: nn.Module, example: Tensor) -> set[str]:
    """Names of the parameters that a backward pass in training mode reaches; gradients are dropped.

    No gradient outlives its parameter's turn: those of all would be as large as the network. The
    network is left in eval mode; its running statistics move.
    """
    reached = set()
    hooks = []
    for name, parameter in model.named_parameters():

        def note(parameter: Tensor, name: str = name) -> None:
            reached.add(name)
            parameter.grad = None

        hooks.append(parameter.register_post_accumulate_grad_hook(note))
    model.train()
    torch.manual_seed(SEED)
    sum(leaf.square().mean() for leaf in tensors_of(model(example))).backward()
    for hook in hooks:
        hook.remove()
    model.eval()
    return reached


if __name__ == "__main__":
    main()

"""Layers that a recipe keeps whole: globs and couplings -> the couplings with these frozen."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import nn

from compressor.couplings.coupling import Coupling, Couplings
from compressor.errors import StripError
from compressor.strip.budget import StripSettings


@dataclass(frozen=True)
class Held:
    """Couplings with those frozen that a recipe keeps, and what that came to.

    Attributes:
        couplings: The couplings, fewer of them free.
        matched: For each pattern (``strip.keep 'head*'``) the layers that it names.
        because: For each newly frozen coupling the layers that produce its units without being
            named: they stay as wide as they are because they are coupled to one that is.
    """

    couplings: Couplings
    matched: Mapping[str, tuple[str, ...]]
    because: Mapping[str, tuple[str, ...]]

    def lines(self) -> list[str]:
        """What a person should see: one line for each pattern, one for each coupling."""
        named = [f"{pattern}: {', '.join(layers)}" for pattern, layers in self.matched.items()]
        coupled = [
            f"{', '.join(layers)}: kept whole too, coupled to {name}"
            for name, layers in self.because.items()
            if layers
        ]
        return named + coupled


def hold(couplings: Couplings, model: nn.Module, settings: StripSettings) -> Held:
    """``couplings`` without those that ``strip.keep`` and ``strip.freeze`` hold.

    Of a layer under ``keep`` all outputs stay, so the coupling of its own units is frozen; of one
    under ``freeze`` also those that would cut its inputs. A branch with such a layer in it stays.
    The name of a module that is no layer stands for all layers inside it.

    Args:
        couplings: Those of ``model``.
        model: The network.
        settings: Its ``keep`` and ``freeze``; ``*`` matches dots too.

    Raises:
        StripError: A pattern names no layer with weights.
    """
    layers = _layers(model)
    matched: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    for word, patterns, layers_of in (
        ("keep", settings.keep, _producers),
        ("freeze", settings.freeze, _members),
    ):
        for pattern in patterns:
            said = f"strip.{word} {pattern!r}"
            matched[said] = _matching(said, pattern, layers)
            for coupling in couplings.free:
                if named := sorted(layers_of(coupling) & set(matched[said])):
                    reasons.setdefault(coupling.name, f"{said} names {named[0]}")
    named_layers = {layer for names in matched.values() for layer in names}
    because = {
        coupling.name: tuple(
            layer for layer in layers if layer in _filters(coupling) - named_layers
        )
        for coupling in couplings.free
        if coupling.name in reasons
    }
    frozen = couplings.freeze(reasons)
    # A branch goes with all of its layers, so none of them may be named.
    branches = tuple(b for b in frozen.branches if not named_layers & {*map(_layer, b.tensors)})
    return Held(replace(frozen, branches=branches), matched, because)


def _layers(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Layers with weights of their own, each with its name and those of the modules around it."""
    return {
        name: tuple(".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 2))
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    }


def _matching(said: str, pattern: str, layers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    matched = tuple(
        layer for layer, names in layers.items() if any(fnmatchcase(n, pattern) for n in names)
    )
    if matched:
        return matched
    known = list(dict.fromkeys(name for names in layers.values() for name in names))
    near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
    hint = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(known[:3])} ..."
    raise StripError(f"{said} names no layer with weights. {hint}")


def _layer(tensor: str) -> str:
    return tensor.rpartition(".")[0]


def _members(coupling: Coupling) -> set[str]:
    """Layers of which the coupling cuts anything."""
    return {_layer(member.tensor) for member in coupling.members}


def _producers(coupling: Coupling) -> set[str]:
    """Layers whose outputs are the units of the coupling, norms behind them among them."""
    return {_layer(member.tensor) for member in coupling.members if member.kind != "input"}


def _filters(coupling: Coupling) -> set[str]:
    """Layers that produce the units of the coupling."""
    return {_layer(member.tensor) for member in coupling.of_kind("filter")}

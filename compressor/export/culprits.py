"""Which layers cost a converted network its accuracy, found by bisection.

The layers kept in higher precision should be few, and every try is a rebuild and a run over the
validation images. The search is QuickXplain (Junker, 2004): with k culprits among n layers it takes
about 2 k log2(n / k) + 2 k tries. It rests on one assumption, that keeping more layers never
makes the network worse; where that fails, it still gives a set that was measured to suffice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compressor.errors import CheckError

Kept = frozenset[str]

MEND = "Set precision.gate.max_accuracy_drop higher, or leave this profile out."


@dataclass(frozen=True)
class Rebuild:
    """One try.

    Attributes:
        kept: Layers left in higher precision, in the order of the graph.
        accuracy: What the network reached with them, in [0, 1].
    """

    kept: tuple[str, ...]
    accuracy: float


@dataclass(frozen=True)
class Search:
    """What was found.

    Attributes:
        kept: Layers that must stay in higher precision; empty if the whole network passed.
        accuracy: With those layers kept.
        rebuilds: All tries in order, the last or an earlier one being the one chosen.
        exhausted: Whether the tries were used up: ``kept`` suffices, and fewer layers might.
    """

    kept: tuple[str, ...]
    accuracy: float
    rebuilds: tuple[Rebuild, ...]
    exhausted: bool


class _Spent(Exception):
    """No further measurement is allowed."""


class _Tries:
    """Accuracy by the layers kept, each set measured once, up to a number of measurements."""

    def __init__(
        self,
        layers: Sequence[str],
        accuracy_of: Callable[[Kept], float],
        needed: float,
        max_evaluations: int,
    ) -> None:
        self._layers, self._accuracy_of = layers, accuracy_of
        self._needed, self._max_evaluations = needed, max_evaluations
        self._known: dict[Kept, float] = {}

    def passes(self, kept: Kept) -> bool:
        if kept not in self._known:
            if len(self._known) == self._max_evaluations:
                raise _Spent
            self._known[kept] = self._accuracy_of(kept)
        # NaN does not pass.
        return self._known[kept] >= self._needed

    def accuracy(self, kept: Kept) -> float:
        return self._known[kept]

    def in_order(self, kept: Kept) -> tuple[str, ...]:
        return tuple(layer for layer in self._layers if layer in kept)

    def smallest(self) -> Kept | None:
        """The smallest set that was measured to pass, if one was."""
        return min((kept for kept in self._known if self.passes(kept)), key=len, default=None)

    def why_none(self) -> str:
        """Why no set passed: what was reached, and which setting to change."""
        whole, most = self._known[frozenset()], self._known.get(frozenset(self._layers))
        reached = f"accuracy {whole:.4f}, at least {self._needed:.4f} is asked for"
        if not self._layers:
            return f"{reached}, and no layer of it can be kept. {MEND}"
        if most is None:
            return (
                f"{reached}, and precision.gate.max_evaluations = {self._max_evaluations} leaves "
                "no try to find the layers that cost it. Set it higher."
            )
        return f"{reached}, and with all {len(self._layers)} layers kept it is {most:.4f}. {MEND}"

    def rebuilds(self) -> tuple[Rebuild, ...]:
        return tuple(Rebuild(self.in_order(kept), got) for kept, got in self._known.items())


def find_culprits(
    layers: Sequence[str],
    accuracy_of: Callable[[Kept], float],
    needed: float,
    max_evaluations: int,
    name: str,
) -> Search:
    """A small set of layers that must be kept for the network to reach ``needed``.

    Where the tries are used up, it is the smallest set that was measured to suffice by then.

    Args:
        layers: Names of all layers that can be kept, in the order of the graph.
        accuracy_of: Accuracy, in [0, 1], of the network in which the given layers are kept.
        needed: Least accuracy, in [0, 1].
        max_evaluations: How often ``accuracy_of`` may be called, at least 1.
        name: What is converted, for errors.

    Returns:
        No layer if the whole network passes; else a set from which, as far as keeping more never
        hurts, no layer can be taken away.

    Raises:
        CheckError: Not even with all layers kept is ``needed`` reached, or there was no try left to
            see whether it is.
    """
    tries = _Tries(layers, accuracy_of, needed, max_evaluations)
    exhausted = False
    try:
        _search(tries, layers)
    except _Spent:
        exhausted = True
    kept = tries.smallest()
    if kept is None:
        raise CheckError(f"{name}: {tries.why_none()}")
    return Search(tries.in_order(kept), tries.accuracy(kept), tries.rebuilds(), exhausted)


def _search(tries: _Tries, layers: Sequence[str]) -> None:
    """Measure until a set that passes, and no smaller one that could, is among the tries."""
    if tries.passes(frozenset()) or not tries.passes(frozenset(layers)):
        return
    # Asked once more, since the search itself never measures the set that it ends with.
    tries.passes(_needed(tries, frozenset(), added=False, candidates=list(layers)))


def _needed(tries: _Tries, background: Kept, added: bool, candidates: list[str]) -> Kept:
    """Those of ``candidates`` that must be kept beside ``background``, with which all would pass.

    ``added`` says whether ``background`` grew since it was last seen not to suffice.
    """
    if added and tries.passes(background):
        return frozenset()
    if len(candidates) == 1:
        return frozenset(candidates)
    first, second = candidates[: len(candidates) // 2], candidates[len(candidates) // 2 :]
    late = _needed(tries, background | frozenset(first), added=True, candidates=second)
    early = _needed(tries, background | late, added=bool(late), candidates=first)
    return late | early

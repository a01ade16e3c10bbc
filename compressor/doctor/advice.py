"""Which change of the recipe would move a layer's time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.doctor.classes import CHANNEL_MULTIPLE, Class, cost_factor, odd_channels
from compressor.doctor.layer_times import LayerTime
from compressor.doctor.names import DoctorEngine
from compressor.errors import RunError
from compressor.files import read_json
from compressor.strip.settings import BUDGETS


@dataclass(frozen=True)
class SharedWidth:
    """Units that shrink together: how many there were, how many are left, in which layers."""

    name: str
    units: int
    kept: int
    layers: frozenset[str]


@dataclass(frozen=True)
class RunFacts:
    """What a run says of its layers.

    Attributes:
        couplings: Those that could shrink.
        frozen: Why a coupling was kept whole, by its name, which is that of a layer.
        strip: The recipe's ``strip`` settings, as JSON.
        precision: Of the recipe's target; None where a run of before does not say.
    """

    couplings: tuple[SharedWidth, ...]
    frozen: dict[str, str]
    strip: dict[str, Any]
    precision: str | None = None

    def couplings_of(self, layer: str) -> list[SharedWidth]:
        """The couplings that the outputs and the inputs of a layer belong to."""
        return [coupling for coupling in self.couplings if layer in coupling.layers]

    @classmethod
    def read(cls, run: Path) -> "RunFacts":
        """Read the facts of a run that has been exported.

        Raises:
            RunError: A file is missing or is not what a run writes.
        """
        try:
            found = read_json(run / "inspect" / "couplings.json")
            kept = {
                row["coupling"]: row["kept"] for row in read_json(run / "strip" / "widths.json")
            }
            couplings = tuple(
                SharedWidth(
                    name=c["name"],
                    units=c["units"],
                    kept=kept.get(c["name"], c["units"]),
                    layers=frozenset(tensor.rpartition(".")[0] for tensor in c["tensors"]),
                )
                for c in found["free"]
            )
            frozen = {c["name"]: c["reason"] for c in found["frozen"]}
            settings = read_json(run / "settings.json")
            precision = settings.get("target", {}).get("precision")
            return cls(couplings, frozen, settings["strip"], precision)
        except OSError as failure:
            raise RunError(
                f"{failure.filename} cannot be read: {failure.strerror}. Run the recipe again."
            ) from failure
        except (ValueError, KeyError, TypeError) as failure:
            raise RunError(
                f"{run}: its records of couplings, widths and settings are damaged "
                f"({type(failure).__name__}: {failure}). Run the recipe again."
            ) from failure


@dataclass(frozen=True)
class Case:
    """One layer of the slim network, and what is known of it.

    Attributes:
        layer: As it was profiled.
        dense: The dense network's layer of that name, if it is there.
        kind: Its class.
        efficiency: Its MACs in a microsecond, over those of the best layer; in [0, 1].
        block: Channels in one block of the engine, if it has blocks.
        facts: Of the run.
        engine: What it was profiled in.
    """

    layer: LayerTime
    dense: LayerTime | None
    kind: Class
    efficiency: float
    block: int | None
    facts: RunFacts
    engine: DoctorEngine = "onnxruntime"


def advise(case: Case) -> str:
    """One or two sentences: what is so, and which change of the recipe would move it."""
    return ADVICE[case.kind](case)


def _unaligned(case: Case) -> str:
    odd, unit = odd_channels(case.layer, case.block), case.block or CHANNEL_MULTIPLE
    assert case.dense is not None
    times = cost_factor(case.layer, case.dense)
    numbers = " and ".join(map(str, dict.fromkeys(odd)))
    return (
        f"It takes {case.layer.us:g} us, the dense layer {case.dense.us:g}, and {times:.2f} times "
        f"as long for each MAC: {numbers} channels are no multiple of {unit}. "
        f"Set strip.round_to = {unit} ({_now(case, 'round_to')})."
    )


def _layout(case: Case) -> str:
    share = case.layer.layout_us / case.layer.us
    told = f"{share:.0%} of its time goes into moving its output from one layout to another. "
    if odd_channels(case.layer, case.block):
        unit = case.block or CHANNEL_MULTIPLE
        return f"{told}Set strip.round_to = {unit} ({_now(case, 'round_to')})."
    return (
        f"{told}{WHY_MOVED[case.engine]}; no setting of strip moves that, another operator in the "
        "network would."
    )


WHY_MOVED: dict[DoctorEngine, str] = {
    "onnxruntime": "An operator behind it has no kernel for the blocked layout",
    "tensorrt": "TensorRT reads it in another layout or type behind it",
}


def _overhead(case: Case) -> str:
    return (
        "Its kernels are so short that calling them is most of their time, whatever their width. "
        'Larger batches share that cost (--batch shows it); strip.depth = "remove" takes whole '
        f"branches out ({_now(case, 'depth')})."
    )


def _memory(case: Case) -> str:
    return (
        "It waits for memory: few MACs for each byte it moves, so time follows the bytes. "
        f"{_thinner(case)}"
    )


def _compute(case: Case) -> str:
    return (
        f"Its time is its MACs, at {case.efficiency:.0%} of the best rate that a layer reached. "
        f"{_thinner(case)}{_free_room(case)}"
    )


def _free_room(case: Case) -> str:
    odd, unit = odd_channels(case.layer, case.block), case.block or CHANNEL_MULTIPLE
    # Measured in ONNX Runtime alone.
    if not odd or case.engine != "onnxruntime":
        return ""
    numbers = " and ".join(map(str, dict.fromkeys(odd)))
    return (
        f" Its {numbers} channels are padded to a multiple of {unit}: more, up to there, are free."
    )


def _thinner(case: Case) -> str:
    name, couplings = case.layer.name, case.facts.couplings_of(case.layer.name)
    held = case.facts.frozen.get(name)
    told = f"Its outputs are kept whole ({held}). " if held else ""
    if not couplings:
        return f"{told}No coupling that can shrink reaches it: strip cannot change it."
    widths = " and ".join(f"{c.name} ({c.kept} of {c.units} units are left)" for c in couplings)
    return f"{told}What shrinks it: {widths}; {_tighter(case)} for fewer."


def _tighter(case: Case) -> str:
    """What to do with the budget; a recipe takes only one, so the one it has is named."""
    given = next((key for key in BUDGETS if case.facts.strip.get(key) is not None), None)
    return "set strip.keep_macs" if given is None else f"lower strip.{given} ({_now(case, given)})"


def _now(case: Case, key: str) -> str:
    value = case.facts.strip.get(key)
    return f"now {value}" if value is not None else "now unset"


ADVICE: dict[Class, Callable[[Case], str]] = {
    "unaligned": _unaligned,
    "layout change": _layout,
    "overhead": _overhead,
    "memory": _memory,
    "compute": _compute,
}

"""An inspection as a page of text."""

import io
from collections import defaultdict

from rich import box
from rich.console import Console
from rich.table import Table

from compressor.couplings.coupling import Form
from compressor.inspection.records import ExportTrial, Inspection, Outlook, Unreached
from compressor.report.formats import count, duration, factor, percent, size

FORMS: dict[Form, str] = {
    "module": "Cut in its own modules.",
    "mended": "Cut in its own modules, numbers that equal old widths mended.",
    "graph": "Its own forward cannot be mended: the slim network is the captured graph.",
}
"""How a network is cut, for people."""


def as_text(inspection: Inspection, name: str, width: int) -> str:
    """Tables of what can be removed and what cannot, and what follows from them.

    Args:
        inspection: What was found.
        name: What the network is called.
        width: Of the page, in characters.
    """
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, color_system=None, markup=False, highlight=False, emoji=False
    )
    console.print(
        f"{name} on images of {_shape(inspection.image_shape)}: {count(inspection.macs)} MACs, "
        f"{count(inspection.params)} parameters"
    )
    console.print(_free(inspection))
    if inspection.couplings:
        console.print(
            "Share: what leaves when all units of a coupling but one leave. A weight between two "
            "couplings counts for both. Couplings were tried on images of "
            f"{_shape(inspection.traced_shape)}."
        )
    if inspection.frozen:
        console.print(_frozen(inspection))
    console.print(f"{FORMS[inspection.form]} torch-pruning {inspection.second_engine}.")
    for operator, place in inspection.unknown_operators.items():
        console.print(f"The operator {operator} (first in {place}) has no rule: it freezes.")
    console.print(_reach(inspection))
    for outlook in inspection.outlooks:
        console.print(_outlook(outlook))
    console.print(_export(inspection.export))
    return stream.getvalue()


def _free(inspection: Inspection) -> Table:
    table = _table("can be removed", "units", "layers", "share of MACs", "of parameters")
    for c in inspection.couplings:
        layers = {tensor.rpartition(".")[0] for tensor in c.tensors}
        shares = percent(c.macs_share), percent(c.params_share)
        table.add_row(c.name, str(c.units), str(len(layers)), *shares)
    if not inspection.couplings:
        table.add_row("nothing")
    return table


def _frozen(inspection: Inspection) -> Table:
    table = _table("is kept whole", "units", "of parameters")
    table.add_column("because", overflow="fold", ratio=1)
    for held in inspection.frozen:
        table.add_row(held.name, str(held.units), percent(held.params_share), held.reason)
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _reach(inspection: Inspection) -> str:
    line = f"No coupling reaches {percent(inspection.unreached_share)} of the parameters"
    groups: dict[tuple[str, str], list[Unreached]] = defaultdict(list)
    for layer in inspection.unreached:
        groups[layer.type, layer.reason].append(layer)
    if not groups:
        return f"{line}."
    return f"{line}; besides those of layers named above:\n" + "\n".join(
        f"- {percent(sum(layer.params_share for layer in layers))} in {len(layers)} {kind} "
        f"({layers[0].name or 'the network itself'}{', ...' if len(layers) > 1 else ''}): {reason}"
        for (kind, reason), layers in groups.items()
    )


def _outlook(outlook: Outlook) -> str:
    times = factor(1 / outlook.keep_macs)
    if outlook.macs_share is None or outlook.params_share is None:
        return f"{times} fewer MACs: {outlook.failure}"
    narrow = ", ".join(f"{name} {kept} of {units}" for name, kept, units in outlook.narrowest)
    return (
        f"{times} fewer MACs, all couplings thinned evenly: {percent(outlook.macs_share)} of the "
        f"MACs and {percent(outlook.params_share)} of the parameters stay; narrowest: {narrow}."
    )


def _export(trial: ExportTrial) -> str:
    how = f"ONNX ({trial.exporter}, opset {trial.opset})"
    if trial.bytes is None:
        return f"{how} fails after {duration(trial.seconds)}: {trial.failure}"
    return f"{how} works: {size(trial.bytes)} in {duration(trial.seconds)}."


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

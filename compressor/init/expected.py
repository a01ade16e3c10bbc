"""What is expected of a run, as lines for a terminal and for the head of its recipe."""

from compressor.init.draft import Draft
from compressor.init.trial import Left
from compressor.report.formats import count, duration, factor, milliseconds, percent, size


def forecast_lines(draft: Draft) -> tuple[str, ...]:
    """What is expected of a run, a line each."""
    cost, seconds, epochs = draft.cutting.cost, draft.forecast, draft.epochs
    dense = f", dense {duration(seconds.dense)} ({epochs.dense} epochs)" if epochs.dense else ""
    return (
        f"Dense: {count(cost.macs({}))} MACs, {count(cost.params({}))} parameters, ONNX "
        f"{size(draft.export.bytes)}, {milliseconds(draft.export.dense_ms)} a picture in ONNX "
        "Runtime on one thread.",
        *(_left_line(left, cost.macs({}), cost.params({})) for left in draft.left()),
        f"Time on this machine, as busy as it was: about {duration(seconds.total)}: search "
        f"{duration(seconds.search)} ({epochs.search} epochs), tuning {duration(seconds.tune)} "
        f"({epochs.tune} epochs){dense}, the rest {duration(seconds.rest)}. Training is measured "
        "steps times images; the rest (couplings, exports, checks, timing) is an estimate.",
        *_too_long(draft),
    )


def _too_long(draft: Draft) -> tuple[str, ...]:
    if draft.forecast.total <= 60 * draft.asked.minutes:
        return ()
    return (
        f"That is more than the {draft.asked.minutes:g} minutes of --minutes, with as few epochs "
        "as a run needs. A smaller --image-size is faster.",
    )


def _left_line(left: Left, macs: float, params: float) -> str:
    times = factor(1 / left.asked)
    if left.macs is None or left.params is None:
        return f"{times} fewer MACs cannot be had: {left.failure}"
    return (
        f"{times} fewer MACs, all couplings thinned evenly (an estimate; the search decides): "
        f"{count(left.macs)} MACs ({percent(left.macs / macs)}), {count(left.params)} parameters "
        f"({percent(left.params / params)})."
    )

"""The sections on how it came about: path, widths, training, time; and what it was run with."""

from statistics import median

from markupsafe import Markup

from compressor.report import figures, formats
from compressor.report.page import Plot, Section, Table
from compressor.report.run_files import Entries, Epoch, RunRecord


def path_section(run: RunRecord) -> Section:
    """When the units of each coupling entered the support."""
    tables = (*_support_tables(run.train_history), *_kept_tables(run.train_history))
    title = "Path of the support"
    if run.path.is_empty():
        text = _why_empty(run)
        return Section("path", title, (text, *_stop_texts(run.train_history)), tables=tables)
    description = "Units of each coupling that have entered the support, over path time"
    entries = tuple(_entry_row(name, units) for name, units in run.path.couplings.items())
    columns = ("Coupling", "Units", "Entered", "Share", "First entry", "Median entry", "Last entry")
    plot = Plot(description, _path_drawing(run, description))
    text = (
        f"Method {run.path.method}. Path time is the sum of the step sizes. Each lane is a "
        "coupling, from the first to the last of the network; it is full where all of its units "
        "have entered."
    )
    texts = (text, *_stop_texts(run.train_history))
    entry_table = Table("Entries of each coupling", columns, entries)
    return Section("path", title, texts, (plot,), (entry_table, *tables))


def _why_empty(run: RunRecord) -> str:
    """Why there is nothing to draw; what has a path logs its clock beside the support of units."""
    method = run.path.method
    if any(epoch.path_time is not None and epoch.support for epoch in run.train_history):
        return f"Method {method}. No unit had entered the support when the search ended."
    return f"The method {method} has no path: it gives no unit a time of entry."


def _path_drawing(run: RunRecord, description: str) -> Markup:
    ends = [epoch.path_time for epoch in run.train_history if epoch.path_time is not None]
    return figures.path_drawing(run.path, _end_time(run), ends, description)


def _stop_texts(history: list[Epoch]) -> tuple[str, ...]:
    """Where a rule ended the search, and why; nothing where none did."""
    return tuple(
        f"The search stopped after epoch {epoch.epoch}: {epoch.stopped}."
        for epoch in history
        if epoch.stopped is not None
    )


def _end_time(run: RunRecord) -> float:
    """The path time at which training ended."""
    logged = [epoch.path_time for epoch in run.train_history if epoch.path_time is not None]
    entered = [time for entries in run.path.couplings.values() for time in entries.times()]
    return max([*logged, *entered])


def _entry_row(name: str, entries: Entries) -> tuple[str, ...]:
    times, num_units = entries.times(), len(entries.entry_step)
    when = (
        [formats.three_digits(time) for time in (times[0], median(times), times[-1])]
        if times
        else [formats.NOTHING] * 3
    )
    share = formats.percent(len(times) / num_units) if num_units else formats.NOTHING
    return (name, formats.integer(num_units), formats.integer(len(times)), share, *when)


def _support_tables(history: list[Epoch]) -> tuple[Table, ...]:
    """Units in the support after each epoch; no table where the method logs no support."""
    names = tuple(dict.fromkeys(name for epoch in history for name in epoch.support))
    if not names:
        return ()
    rows = tuple(
        (
            str(epoch.epoch),
            _time_or_nothing(epoch.path_time),
            formats.integer(sum(epoch.support.values())),
            *(_integer_or_nothing(epoch.support.get(name)) for name in names),
        )
        for epoch in history
    )
    columns = ("Epoch", "Path time", "All units", *names)
    return (Table("Units in the support after each epoch", columns, rows, folded=True),)


def _kept_tables(history: list[Epoch]) -> tuple[Table, ...]:
    """Share of the single weights kept after each epoch; no table where units are kept."""
    rows = tuple(
        (str(epoch.epoch), formats.percent(epoch.kept_share))
        for epoch in history
        if epoch.kept_share is not None
    )
    columns = ("Epoch", "Weights kept")
    return (Table("Weights kept after each epoch", columns, rows, folded=True),) if rows else ()


def _integer_or_nothing(value: int | None) -> str:
    return formats.NOTHING if value is None else formats.integer(value)


def _time_or_nothing(value: float | None) -> str:
    return formats.NOTHING if value is None else formats.three_digits(value)


def widths_section(run: RunRecord) -> Section:
    """Units of each coupling before and after stripping."""
    if not run.widths:
        return Section("widths", "Widths", ("No coupling of this network can be stripped.",))
    rows = tuple(
        (
            width.coupling,
            formats.integer(width.units),
            formats.integer(width.kept),
            formats.percent(width.kept / width.units),
            formats.percent(width.share_of_macs),
        )
        for width in run.widths
    )
    num_units = sum(width.units for width in run.widths)
    num_kept = sum(width.kept for width in run.widths)
    columns = ("Coupling", "Units", "Kept", "Share kept", "Share of MACs")
    description = "Units of each coupling before and after, from the first to the last"
    plot = Plot(description, figures.widths_drawing(run.widths, description))
    aligned = run.summary.alignment
    text = (
        f"{formats.integer(num_kept)} of {formats.integer(num_units)} units stay. "
        f"{aligned.aligned} of {aligned.weights} weights that could shrink have multiples of "
        f"{aligned.multiple} channels, which suits the target, with "
        f"{formats.percent(aligned.macs_share)} of their MACs."
    )
    table = Table("Units before and after", columns, rows)
    return Section("widths", "Widths", (text,), (plot,), (table,))


def training_section(run: RunRecord) -> Section:
    """Validation accuracy over the epochs of dense training, sparse training and tuning."""
    histories = {
        "Dense": run.dense_history,
        "Sparse training": run.train_history,
        "Tuning": run.tune_history,
    }
    trained = {stage: history for stage, history in histories.items() if history}
    if not trained:
        return Section("training", "Training", ("Nothing was trained in this run.",))
    description = "Validation accuracy after each epoch of each stage"
    plot = Plot(description, figures.accuracy_chart(trained, description))
    tables = (_stages_table(trained), _epochs_table(trained))
    return Section("training", "Training", (), (plot,), tables)


def _stages_table(histories: dict[str, list[Epoch]]) -> Table:
    rows = tuple(
        (
            stage,
            formats.integer(len(history)),
            formats.integer(history[-1].step),
            formats.percent(max(epoch.validation_accuracy for epoch in history)),
            formats.percent(history[-1].validation_accuracy),
            formats.number(history[-1].loss),
            formats.integer(round(median(epoch.images_per_second for epoch in history))),
        )
        for stage, history in histories.items()
    )
    columns = (
        "Stage",
        "Epochs",
        "Steps",
        "Best validation accuracy",
        "Last validation accuracy",
        "Last loss",
        "Images per second",
    )
    return Table("Each training stage", columns, rows)


def _epochs_table(histories: dict[str, list[Epoch]]) -> Table:
    rows = tuple(
        (
            stage,
            str(epoch.epoch),
            formats.integer(epoch.step),
            _time_or_nothing(epoch.path_time),
            formats.number(epoch.lr),
            formats.number(epoch.loss),
            formats.percent(epoch.validation_accuracy),
            formats.integer(round(epoch.images_per_second)),
        )
        for stage, history in histories.items()
        for epoch in history
    )
    columns = (
        "Stage",
        "Epoch",
        "Step",
        "Path time",
        "Learning rate",
        "Loss",
        "Validation accuracy",
        "Images per second",
    )
    return Table("Every epoch", columns, rows, folded=True)


def seconds_section(run: RunRecord) -> Section:
    """How long each stage took."""
    total = sum(run.summary.seconds.values())
    stages = tuple(
        (
            stage,
            formats.duration(seconds),
            formats.percent(seconds / total) if total else formats.NOTHING,
        )
        for stage, seconds in run.summary.seconds.items()
    )
    rows = (*stages, ("All stages", formats.duration(total), formats.NOTHING))
    table = Table("Time per stage", ("Stage", "Time", "Share"), rows)
    return Section("seconds", "Time", tables=(table,))


def environment_section(run: RunRecord) -> Section:
    """The machine and the versions."""
    rows = tuple(formats.flat(run.environment))
    table = Table("Machine and versions", ("Key", "Value"), rows, text_columns=2)
    return Section("environment", "Environment", tables=(table,))

"""The section on files in other precisions: what each lost, and what had to stay in float32."""

from compressor.report import formats
from compressor.report.converted import Converted
from compressor.report.headline import engine_name
from compressor.report.page import Section, Table
from compressor.report.run_files import RunRecord

COLUMNS = (
    *("Profile", "For", "Measured by", "Layers in float32"),
    *("Size", "Validation accuracy", "Against float32", "Relative L2", "SQNR"),
)


def precisions_section(run: RunRecord) -> Section | None:
    """Each file's accuracy, distance and layers in float32 by name; ``None`` without a file."""
    if not run.converted:
        return None
    note = (
        "Validation images decided which layers stay in float32; relative L2 and the signal to "
        "quantisation noise ratio (SQNR) are of the outputs, against the float32 file's."
    )
    spent = [converted.profile for converted in run.converted if converted.search.exhausted]
    more = (
        f"The tries of the search were used up for {', '.join(spent)}: fewer layers in float32 may "
        "do. Set precision.gate.max_evaluations higher to look on.",
    ) * bool(spent)
    rows = tuple(_row(converted) for converted in run.converted)
    table = Table("Files beside the float32 one", COLUMNS, rows, text_columns=4)
    return Section("precisions", "Other precisions", (note, *more), tables=(table,))


def _row(converted: Converted) -> tuple[str, ...]:
    search, figures = converted.search, converted.figures
    sqnr = formats.NOTHING if figures.sqnr_db is None else f"{figures.sqnr_db:.1f} dB"
    return (
        converted.profile,
        ", ".join(map(engine_name, converted.engines)),
        _measured(converted),
        ", ".join(search.kept) or "none",
        formats.size(converted.num_bytes),
        formats.percent(search.accuracy),
        formats.signed_points(search.accuracy - converted.float_accuracy),
        formats.difference(figures.relative_l2),
        sqnr,
    )


def _measured(converted: Converted) -> str:
    if converted.computed_in is None:
        return converted.measured_by
    return f"{converted.measured_by}, in {converted.computed_in}"

"""``write_report``: from the files of a run to its two reports."""

from pathlib import Path

from compressor.files import write_text
from compressor.report import (
    as_html,
    as_markdown,
    badges,
    classes,
    course,
    engine_plans,
    family,
    headline,
    latency,
    precisions,
    repeat,
    results,
)
from compressor.report.page import Report
from compressor.report.run_files import RunRecord, read_run

SECTIONS = (
    results.comparison_section,
    course.path_section,
    course.widths_section,
    lambda run: family.family_section(run.family),
    latency.latency_section,
    results.accuracy_section,
    lambda run: classes.classes_section(run.classes),
    precisions.precisions_section,
    engine_plans.plans_section,
    results.certificate_section,
    course.training_section,
    course.seconds_section,
    course.environment_section,
    repeat.repeat_section,
)


def write_report(folder: Path) -> None:
    """Write ``report.md`` and ``report.html`` of the finished run in ``folder``.

    Each value in them comes from the files of the run; the same files give the same bytes.

    Raises:
        RunError: A file of the run is missing, is not JSON, lacks a key, or holds an impossible
            value.
    """
    report = build_report(read_run(folder))
    write_text(folder / "report.md", as_markdown.render(report))
    write_text(folder / "report.html", as_html.render(report))


def build_report(run: RunRecord) -> Report:
    """All that stands in the report of ``run``, in the order of reading."""
    return Report(
        title=f"{run.summary.recipe}: slim network report",
        headline=headline.sentence(run.summary, run.latency),
        facts=headline.facts(run.summary, run.latency),
        sections=tuple(made for section in SECTIONS if (made := section(run)) is not None),
        badges=badges.badges(run),
    )

import json

import pytest

from compressor.report import figures
from compressor.report.run_files import read_run


def test_the_share_rises_at_each_entry_and_stays_to_the_end():
    times, shares = figures.share_steps([1.0, 2.5, 2.5], num_units=4, end_time=5.0)

    assert times == [0.0, 1.0, 2.5, 5.0]
    assert shares == [0.0, 0.25, 0.75, 0.75]


def test_a_unit_that_enters_at_time_zero_counts_from_the_start():
    assert figures.share_steps([0.0], num_units=2, end_time=1.0) == ([0.0, 1.0], [0.5, 0.5])


@pytest.mark.parametrize("num_units", [0, 3])
def test_a_coupling_that_nothing_entered_stays_at_zero(num_units):
    assert figures.share_steps([], num_units, end_time=2.0) == ([0.0, 2.0], [0.0, 0.0])


def test_the_path_has_one_line_for_each_coupling_ending_at_its_share(run):
    path = read_run(run.folder).path

    figure = figures.path_figure(path, end_time=24.0)

    last = {trace.name: (trace.x[-1], trace.y[-1]) for trace in figure.data}
    assert last == {
        name: (24.0, len(entries.times()) / len(entries.entry_step))
        for name, entries in path.couplings.items()
    }


def test_lines_have_different_colours(run):
    figure = figures.path_figure(read_run(run.folder).path, end_time=24.0)

    colours = {trace.line.color for trace in figure.data}
    assert len(colours) == len(figure.data)


def test_a_single_coupling_can_be_drawn(run):
    path = read_run(run.folder).path
    alone = path.model_copy(update={"couplings": {"stem": path.couplings["stem"]}})

    assert len(figures.path_figure(alone, end_time=24.0).data) == 1


def test_a_legend_of_many_couplings_is_left_out(run):
    path = read_run(run.folder).path
    many = {f"layer{index}": path.couplings["stem"] for index in range(60)}

    figure = figures.path_figure(path.model_copy(update={"couplings": many}), end_time=24.0)

    assert not figure.layout.showlegend


def test_bars_show_dense_and_kept_units(run):
    widths = read_run(run.folder).widths

    dense, kept = figures.width_figure(widths).data

    assert list(dense.x) == [width.units for width in widths]
    assert list(kept.x) == [width.kept for width in widths]


def test_two_long_names_that_shorten_alike_keep_their_own_bars(run):
    width = read_run(run.folder).widths[0]
    names = [f"{start}.{'a' * 40}" for start in ("first", "second")]
    widths = [width.model_copy(update={"coupling": name}) for name in names]

    figure = figures.width_figure(widths)

    assert list(figure.data[0].y) == [0, 1]
    assert list(figure.data[0].customdata) == names
    assert len(figure.layout.yaxis.ticktext[0]) == figures.MAX_LABEL


def test_names_are_escaped_in_the_way_plotly_reads_them(run):
    width = read_run(run.folder).widths[0].model_copy(update={"coupling": "a<b>&c"})

    figure = figures.width_figure([width])

    assert figure.layout.yaxis.ticktext == ("a&lt;b&gt;&amp;c",)
    assert list(figure.data[0].customdata) == ["a&lt;b&gt;&amp;c"]


def test_each_training_stage_has_its_own_curve(run):
    record = read_run(run.folder)
    histories = {"Dense": record.dense_history, "Tuning": record.tune_history}

    curves = figures.accuracy_figure(histories).data

    assert [curve.name for curve in curves] == ["Dense", "Tuning"]
    assert list(curves[1].y) == [epoch.validation_accuracy for epoch in record.tune_history]


def test_figures_leave_the_background_to_the_page(run):
    layout = json.loads(figures.width_figure(read_run(run.folder).widths).to_json())["layout"]

    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0, 0, 0, 0)"

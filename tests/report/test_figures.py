import re

import pytest

from compressor.report import figures
from compressor.report.run_files import read_run

DESCRIPTION = "what it shows"


def test_the_share_rises_at_each_entry():
    corners = figures.share_steps([1.0, 2.5, 2.5], num_units=4, end_time=5.0)

    assert corners == ((0.0, 0.0), (0.2, 0.25), (0.5, 0.75))


def test_a_unit_that_enters_at_time_zero_counts_from_the_start():
    assert figures.share_steps([0.0], num_units=2, end_time=1.0) == ((0.0, 0.5),)


@pytest.mark.parametrize("num_units", [0, 3])
def test_a_coupling_that_nothing_entered_stays_at_zero(num_units):
    assert figures.share_steps([], num_units, end_time=2.0) == ((0.0, 0.0),)


def test_counts_change_at_the_first_moment_that_is_not_before_the_entry():
    counts = figures.counts_at_moments([0.0, 1.0, 1.001, 2.0], end_time=2.0)

    assert counts == [(0, 1), (100, 2), (101, 3), (200, 4)]


def test_the_last_moment_counts_all_whatever_rounding_does():
    end_time = 0.1 + 0.2

    assert figures.counts_at_moments([end_time], end_time)[-1] == (figures.MOMENTS, 1)


def test_the_path_has_a_lane_for_each_coupling_ending_at_its_count(run):
    path = read_run(run.folder).path

    markup = figures.path_drawing(path, 24.0, [1.0, 24.0], DESCRIPTION)

    values = re.findall(r'data-steps="(\d+);([^"]*)">(\d+) of (\d+)<', markup)
    assert len(values) == len(path.couplings)
    for (units, steps, entered, of), entries in zip(values, path.couplings.values(), strict=True):
        assert int(units) == int(of) == len(entries.entry_step)
        assert int(entered) == len(entries.times())
        assert not entries.times() or int(steps.rpartition(":")[2]) == len(entries.times())
    assert 'data-end="24" data-epochs="1 24"' in markup


def test_the_slider_is_labelled_and_waits_for_the_script(run):
    markup = figures.path_drawing(read_run(run.folder).path, 24.0, [], DESCRIPTION)

    assert '<div class="slider" hidden="">' in markup
    assert '<label for="path-moment">' in markup
    assert 'type="range" id="path-moment" min="0" max="200" step="1" value="200"' in markup


def test_widths_are_drawn_around_one_axis_to_one_scale(run):
    widths = [
        width.model_copy(update={"units": units, "kept": kept})
        for width, (units, kept) in zip(
            read_run(run.folder).widths, [(64, 32), (32, 8)], strict=False
        )
    ]

    markup = figures.widths_drawing(widths, DESCRIPTION)

    spans = re.findall(r'class="span (\w+)" style="left:([\d.]+)%;width:([\d.]+)%"', markup)
    assert spans == [
        *[("dense", "0", "100"), ("slim", "25", "50")],
        *[("dense", "25", "50"), ("slim", "43.75", "12.5")],
    ]
    assert "8 of 32" in markup


def test_each_training_stage_has_its_own_line(run):
    record = read_run(run.folder)
    histories = {"Dense": record.dense_history, "Tuning": record.tune_history}

    markup = figures.accuracy_chart(histories, DESCRIPTION)

    # The keys first, each drawn like its line.
    assert re.findall(r'class="line (\w+)"', markup) == ["dense", "slim"] * 2
    assert re.findall(r"</svg>([^<]+)</li>", markup) == ["Dense", "Tuning"]
    dots = re.findall(r'class="dots slim" d="([^"]*)"', markup)[-1]
    assert dots.count("h0") == len(record.tune_history)


def test_a_history_of_one_epoch_can_be_drawn(run):
    histories = {"Tuning": read_run(run.folder).tune_history[:1]}

    assert "nan" not in figures.accuracy_chart(histories, DESCRIPTION)

"""The three kinds of drawing: rows, charts, and one of several."""

import re

import pytest

from compressor.report import formats
from compressor.report.chart import Axis, Line, draw_chart
from compressor.report.choice import draw_choice
from compressor.report.markup import element
from compressor.report.rows import Area, Group, Point, Row, Span, draw_rows
from compressor.report.scale import scale_of


def chart(*lines):
    x = Axis("Epoch", scale_of(0, 10), formats.number)
    y = Axis("Accuracy", scale_of(0, 1), formats.short_percent)
    return draw_chart(x, y, lines, "what it shows")


def test_marks_stand_where_their_numbers_say():
    assert 'style="left:25%;width:50%"' in Span(0.25, 0.75, "dense").markup()
    assert 'style="left:40%"' in Point(0.4, "p90").markup()


def test_an_area_goes_up_at_each_corner_and_on_to_the_end():
    markup = Area(((0, 0), (0.5, 0.25), (0.75, 1)), "entered").markup()

    assert 'd="M0 100H0V100H500V75H750V0H1000V100Z"' in markup


def test_rows_carry_their_description_name_and_value():
    row = Row("a<b", (Span(0, 1, "slim"),), "3 of 4", data="4;1:3")

    markup = draw_rows([Group("ONNX", (row,))], "the widths", "widths")

    assert 'role="img" aria-label="the widths"' in markup
    assert '<p class="group">ONNX</p>' in markup
    assert '<span class="name">a&lt;b</span>' in markup
    assert '<span class="value" data-steps="4;1:3">3 of 4</span>' in markup


def test_a_long_name_breaks_after_its_dots():
    row = Row("blocks.1.conv&", (), "")

    markup = draw_rows([Group("", (row,))], "", "widths")

    assert ">blocks.<wbr>1.<wbr>conv&amp;</span>" in markup


def test_a_line_runs_through_its_points_from_the_lower_left():
    markup = chart(Line(((0, 0), (5, 0.5), (10, 1)), "slim"))

    assert 'class="line slim" d="M0 1000 500 500 1000 0"' in markup
    assert 'class="dots slim" d="M0 1000h0M500 500h0M1000 0h0"' in markup


def test_points_that_are_not_joined_have_no_line_and_may_have_labels():
    markup = chart(Line(((5, 0.2),), "dense", joined=False, labels=("<dense>",)))

    assert "line dense" not in markup
    assert '<span class="label dense" style="left:50%;bottom:20%">&lt;dense&gt;</span>' in markup


def test_points_have_a_label_each_or_none_has():
    with pytest.raises(ValueError, match="shorter"):
        chart(Line(((5, 0.2), (6, 0.3)), "slim", labels=("first",)))


def test_axes_have_names_and_ticks():
    markup = chart(Line(((0, 0),), "slim"))

    assert re.findall(r'style="bottom:(\d+)%">([^<]*)<', markup)[1] == ("20", "20 %")
    assert '<span class="x-title">Epoch</span>' in markup
    assert 'aria-label="what it shows"' in markup


@pytest.mark.parametrize("label", ["MACs", "Latency"])
def test_each_choice_has_a_labelled_button_and_a_panel(label):
    panels = {"MACs": element("p", {}, "of MACs"), "Latency": element("p", {}, "of time")}

    markup = draw_choice("Cost", "cost", panels)

    (number,) = re.findall(rf'<label for="cost-(\d)">{label}</label>', markup)
    assert f'<input type="radio" name="cost" id="cost-{number}"' in markup
    assert f'<p class="panel-title">{label}</p>' in markup
    assert markup.count("checked") == 1

"""Curves in one line of text."""

import io

from runner.reports.drawing.sparkline import BLOCKS, Scale, common_scale, is_plain, sparkline

SCALE = Scale(low=0.0, high=8.0, last=8)


def test_a_curve_goes_through_all_levels() -> None:
    curve = [(step, step - 0.5) for step in range(1, 9)]
    assert sparkline(curve, SCALE, 8) == BLOCKS
    assert sparkline(curve, SCALE, 8, plain=True) == "_.:-=+*#"


def test_a_character_is_the_mean_of_its_steps() -> None:
    assert sparkline([(1, 0.0), (2, 6.0), (3, 7.0), (4, 9.0)], SCALE, 4) == "▄█"


def test_a_shorter_run_has_a_shorter_curve_and_gaps_repeat_the_value_before() -> None:
    assert sparkline([(2, 8.0), (6, 0.0)], SCALE, 8) == " ████▁"
    assert sparkline([], SCALE, 8) == ""


def test_a_value_that_is_not_finite_is_marked() -> None:
    assert sparkline([(1, 1.0), (2, None), (3, float("nan"))], SCALE, 8) == "▂xx"


def test_a_flat_curve_and_one_at_step_0_alone_can_be_drawn() -> None:
    scale = common_scale([[(0, 2.0)]])
    assert scale == Scale(low=2.0, high=2.0, last=0)
    assert sparkline([(0, 2.0)], scale, 8) == "▁"
    assert common_scale([[(1, None)], []]) is None


def test_one_outlier_does_not_flatten_all_others() -> None:
    curve = [(step, 1.0 + step / 10) for step in range(20)]
    scale = common_scale([curve, [(5, 1e9)]])
    assert scale is not None
    assert scale.high < 10
    assert sparkline([(19, 1e9)], scale, 1) == "█"


def test_what_an_encoding_lacks_is_known() -> None:
    assert is_plain(io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert not is_plain(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))

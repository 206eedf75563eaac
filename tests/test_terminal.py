"""What of others' text reaches a terminal."""

import pytest

from runner.terminal import printable, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc\r\nd", "a\tb\nc\nd"),
        ("\x1b[31mred\x1b[0m\nplain", "red\nplain"),
        ("\x1b]0;title\x07\nplain", "�]0;title�\nplain"),
        ("one\rtwo\nthree\x0bfour", "one�two\nthree�four"),
        ("left\u202eright\nnext\u2028line", "left�right\nnext�line"),
        ("a\u00a0b\u200dc\n", "a\u00a0b\u200dc\n"),
    ],
)
def test_line_breaks_and_tabs_stay_and_what_a_terminal_acts_on_does_not(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_text_in_one_line_has_no_break() -> None:
    assert printable("a\n\tb\x1b[2Jc") == "a b�[2Jc"

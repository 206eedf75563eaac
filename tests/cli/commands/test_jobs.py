"""The list of recipes fits the terminal."""

import pytest
from click.testing import CliRunner

import runner.reports.tables
from runner.cli.main import cli


@pytest.mark.parametrize("width", [60, 80, 100])
def test_recipes_become_items_where_the_table_is_too_wide(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(runner.reports.tables, "output_width", lambda: width)
    lines = CliRunner().invoke(cli, ["jobs"]).stdout.splitlines()
    assert "quickstart (sft, builtin:tiny-llama)" in lines
    descriptions = [line for line in lines if line.startswith("    ")]
    assert len(descriptions) >= 13
    assert max(map(len, descriptions)) <= width


def test_recipes_are_a_table_where_lines_have_no_end() -> None:
    header, *rows = CliRunner().invoke(cli, ["jobs"]).stdout.splitlines()
    assert header.split() == ["NAME", "METHOD", "MODEL", "DESCRIPTION"]
    assert any(row.startswith("quickstart  ") and "builtin:tiny-llama" in row for row in rows)

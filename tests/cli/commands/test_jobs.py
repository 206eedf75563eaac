"""The list of recipes fits the terminal."""

import json

import pytest
from click.testing import CliRunner

import runner.reports.tables
from runner.cli.main import cli
from support.bench import Bench
from support.paths import ROOT


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


def test_a_recipe_is_printed_and_taken_along_with_the_files_that_it_names(bench: Bench) -> None:
    printed = bench.runner("jobs", "smollm2-135m-grpo").stdout
    assert printed == (ROOT / "jobs/smollm2-135m-grpo.yaml").read_text()
    done = bench.runner("jobs", "smollm2-135m-grpo", "--copy")
    assert done.stdout.splitlines() == ["jobs/smollm2-135m-grpo.yaml", "jobs/arithmetic_rewards.py"]
    mine = bench.folder / "jobs/smollm2-135m-grpo.yaml"
    assert mine.read_text() == printed
    mine.write_text(printed.replace("max_steps: 300", "max_steps: 3"))
    assert "max_steps: 3\n" in bench.runner("jobs", "smollm2-135m-grpo").stdout, "the name means the copy now"
    again = bench.runner("jobs", "smollm2-135m-grpo", "--copy")
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert "max_steps: 3\n" in mine.read_text()


def test_a_sweep_is_taken_along_alike_and_what_is_not_there_is_said(bench: Bench) -> None:
    assert bench.runner("jobs", "quickstart-halving", "--copy").stdout == "jobs/sweeps/quickstart-halving.yaml\n"
    document = json.loads(bench.runner("jobs", "quickstart-halving", "--json").stdout)
    assert document["path"] == str(bench.folder / "jobs/sweeps/quickstart-halving.yaml")
    unknown = bench.runner("jobs", "quickstrat")
    assert (unknown.returncode, "did you mean `quickstart`?" in unknown.stderr) == (2, True)
    assert bench.runner("jobs", "--copy").returncode == 2

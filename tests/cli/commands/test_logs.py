"""`runner logs` of several runs."""

import re
from pathlib import Path

from click.testing import CliRunner

from runner.cli.main import cli
from runner.runs.attempts import attempts
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import chunk_key
from runner.storage.open import open_store
from runner.storage.store import Store
from support import stored
from support.bench import Bench
from support.compared import trained
from support.terminal import shown


def write_log(store: Store, run_id: str, *lines: str) -> None:
    [attempt] = attempts(store, run_id)
    chunks = ChunkWriter(store, run_id, "logs", attempt.token)
    chunks.append("".join(f"{line}\n" for line in lines))
    chunks.flush(final=True)


def test_lines_are_merged_by_time_each_after_its_runs_name(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    for name in ("quickstart-1", "quickstart-22"):
        trained(store, tmp_path, name, losses=[4.0], evaluations={0: 4.0, 1: 1.5})
    write_log(
        store,
        "quickstart-1",
        "2026-01-01T00:00:01Z first",
        "2026-01-01T00:00:03Z third",
        "  of more than a line",
    )
    write_log(store, "quickstart-22", "2026-01-01T00:00:02Z second", "2026-01-01T00:00:04Z \x1b[2Jfourth")
    result = CliRunner().invoke(cli, ["logs", "quickstart-1", "quickstart-22", "--store", store.url])
    assert result.exit_code == 0, result.output
    lines = [line.split(" | ") for line in result.stdout.splitlines()]
    assert [text.split("Z ")[-1] for _, text in lines[:-1]] == ["first", "second", "third", "  of more than a line"]
    assert "\x1b" not in result.stdout
    names = [name.strip() for name, _ in lines]
    assert names == [names[0], names[1], names[0], names[0], names[1]]
    for name, run_id in zip(names[:2], ("quickstart-1", "quickstart-22"), strict=True):
        again = CliRunner().invoke(cli, ["logs", name, "--store", store.url])
        assert again.exit_code == 0, "the name is one of the run's"
        assert again.stdout.count("\n") == (3 if run_id == "quickstart-1" else 2)


def test_the_last_lines_are_those_of_each(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    for name in ("one", "two"):
        trained(store, tmp_path, name, losses=[4.0], evaluations={0: 4.0, 1: 1.5})
        write_log(store, name, *(f"2026-01-01T00:00:0{second}Z line {second}" for second in range(5)))
    result = CliRunner().invoke(cli, ["logs", "one", "two", "--tail", "1", "--follow", "--store", store.url])
    assert [line.split("Z ")[-1] for line in result.stdout.splitlines()] == ["line 4", "line 4"]


def test_on_a_terminal_names_leave_room_for_what_is_said(bench: Bench) -> None:
    names = ["support-bot-20260101-000000-abcd", "code-helper-with-a-long-name-20260101-000000-ef01"]
    for name in names:
        stored.running(bench.store, name)
        bench.store.create(chunk_key(name, "logs", stored.TOKEN, 1), b"2026-01-01T00:00:01Z step 1\n")
    for columns in (60, 100):
        lines = shown(bench, columns, "logs", *names)
        assert [re.sub(r"\x1b\[[0-9]*m", "", line).index(" | ") <= columns // 3 for line in lines] == [True, True]
        assert any("abcd" in line for line in lines)
        assert any("ef01" in line for line in lines)
    assert any(names[1] in line for line in shown(bench, 160, "logs", *names))
    assert bench.runner("logs", *names).stdout.startswith(names[0]), "programs get whole names"

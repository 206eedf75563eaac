"""Commands that look at a store that somebody has damaged: no traceback, no wait, nothing raw on the terminal."""

import copy
import json
import os
import random
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runner.cli.main import cli
from support.bench import Bench

CHANGES = 15
NASTY = ["\x1b]0;x\x07\x1b[2J", "\u202eabc", "a\x00b", "", "../../../outside", "/outside", "\ud800", "\r\n", "9" * 5000]
VALUES = [None, True, 0, -1, 1.5, 1e308, 10**30, 10**400, float("nan"), [], {}, [[]], {"": None}, *NASTY]
DEPTHS = (60, 70, 100_000)
BYTES = (b"", b"\xff\xfe\xe9", b"\0" * 10, b"\x1b[2J\x9b2J\r", b"{", b"\n" * 1000, b"[" * 100_000)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, as keys and indexes."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with something else at a place."""
    if not path:
        return new
    value = inner = copy.deepcopy(value)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


def damage(path: Path, others: list[Path], rng: random.Random) -> str:
    """Damage a file of a store, in one of many ways; returns in which."""
    data = path.read_bytes()
    kind = rng.choice(["value", "value", "value", "depth", "bytes", "cut", "file system", "name", "time", "swap"])
    if kind in ("value", "depth") and path.suffix == ".json":
        document = json.loads(data)
        place = rng.choice(list(places(document)))
        if kind == "value":
            new = rng.choice(VALUES)
            path.write_text(json.dumps(changed(document, place, new)))
            return f"{place}: {new!r:.40}"
        depth = rng.choice(DEPTHS)
        path.write_text(json.dumps(changed(document, place, "@@")).replace('"@@"', "[" * depth + "]" * depth))
        return f"{place}: {depth} deep"
    match kind:
        case "cut":
            path.write_bytes(data[: rng.randrange(len(data) + 1)])
        case "file system":
            kind = rng.choice(["missing", "folder", "pipe", "device", "link to itself", "folder is a file"])
            path.unlink()
            match kind:
                case "folder":
                    (path / "x").mkdir(parents=True)
                case "pipe":
                    os.mkfifo(path)
                case "device":
                    path.symlink_to("/dev/zero")
                case "link to itself":
                    path.symlink_to(path)
                case "folder is a file":
                    shutil.rmtree(path.parent)
                    path.parent.write_text("")
        case "name":
            path.rename(path.with_name(rng.choice(["\x1b[31m", "a\nb", "..x", "\u202ex", "0001.json", "\udcff"])))
        case "time":
            time = rng.choice([0, -1e9, 9e9, 253402300800])
            os.utime(path, (time, time))
        case "swap":
            path.write_bytes(rng.choice(others).read_bytes())
        case _:
            part = rng.choice(BYTES)
            path.write_bytes(data[: len(data) // 2] + part + data[len(data) // 2 :])
            kind = repr(part[:10])
    return kind


def is_clean(text: str) -> bool:
    """Whether nothing in a text moves the cursor or turns the direction of reading."""
    return not any(
        (unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t") or "\u202a" <= letter <= "\u202e"
        for letter in text
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 6))])
def test_a_damaged_store_is_told_from_a_whole_one(
    bench: Bench, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards, when it was mended, everything reads as before: what was damaged is not remembered."""
    rng = random.Random(seed)
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "RUNNER_STORE"):
        monkeypatch.setenv(name, bench.environment[name])
    monkeypatch.setenv("COLUMNS", "200")
    for run_id, plan in (
        ("ended", {"1": ["kill", 5]}),
        ("stopped", {"1": ["stop", 5]}),
        ("failed", {"1": ["fail", 5]}),
    ):
        bench.submit(run_id)
        bench.supervise(run_id, plan)
    store, whole = Path(bench.store.url), tmp_path / "whole"
    shutil.copytree(store, whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())

    def run(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, arguments)
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def listed() -> tuple[Any, ...]:
        rows = json.loads(run("ps", "--all", "--json")[1])
        steady = [{key: value for key, value in row.items() if not key.endswith("_seconds")} for row in rows]
        return steady, run("metrics", "ended", "--csv"), run("logs", "stopped")

    before = listed()
    assert [row["state"] for row in before[0]].count("succeeded") == 1
    for _ in range(CHANGES):
        file = rng.choice(files)
        how = damage(store / file, [whole / other for other in files], rng)
        run_id, pulled = file.parts[1], str(tmp_path / "pulled")
        for command in (
            ["ps"], ["ps", "--all", "--json"], ["logs", run_id], ["logs", run_id, "-n", "3"], ["metrics", run_id],
            ["metrics", run_id, "--json"], ["wait", run_id, "--timeout", "0"],
            ["pull", run_id, pulled], ["pull", run_id, pulled, "--checkpoint", "last"],
        ):  # fmt: skip
            code, out, err = run(*command)
            assert code in (0, 1, 2, 75), (file, how, command, err)
            assert is_clean(out + err), (file, how, command, out, err)
            shutil.rmtree(pulled, ignore_errors=True)
        shutil.rmtree(store)
        shutil.copytree(whole, store)
        assert listed() == before, (file, how)
    assert not (tmp_path / "outside").exists()

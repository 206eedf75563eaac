"""Whoever can write to a store can write anything into a record: readers work, or say which record is damaged."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.cli.commands.ps import _table as ps_table
from runner.control.results.pull import pull
from runner.control.wait import RunWaiter
from runner.errors import UserError
from runner.reports import summary
from runner.reports.metrics import metrics_table
from runner.runs.attempts import Claim, attempts, claim_attempt, fits_so_far, is_superseded, read_heartbeat
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.launches import needed_environment, run_placement
from runner.runs.layout import CheckpointName
from runner.runs.listing import find_run, list_runs
from runner.runs.liveness import newest_attempt, write_cancelled
from runner.runs.logs import for_terminal, read_log
from runner.runs.metrics import read_metrics
from runner.runs.records import DamagedRecord, run_document, run_recipe, run_result
from runner.runs.rendezvous import (
    NotAdmitted,
    Participant,
    read_admission,
    read_head_end,
    read_node_beat,
    read_node_end,
)
from runner.runs.status import run_status
from runner.storage.commit import commit
from runner.storage.manifest import Damaged
from runner.terminal import printable
from support.bench import Bench
from support.fakes.memory_store import MemoryStore

TOKEN = "0001-aaaa"
TIME = "2026-01-01T00:00:00+00:00"
PARTICIPANT = Participant("run", 1, 1, "abcdef")
HARDWARE = {
    "device": "cpu",
    "compute_capability": None,
    "torch": "2",
    "precision": "bf16",
    "weights": "float32",
    "quantization": None,
    "attn_implementation": "sdpa",
    "optim": "adamw",
    "use_liger_kernel": False,
    "packing": None,
    "padding_free": False,
    "loss_on": "all tokens",
    "activation_checkpointing": False,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 2,
}
MEASURED = {"eval_loss": 2.0, "perplexity": 7.4, "exact_match": 0.5, "exact_match_samples": 4}
STAGE = {
    "stage": "sft",
    "method": "sft",
    "step": 4,
    "max_steps": 4,
    "best": {"step": 2, "metric": "eval_loss", "value": 2.0},
    "artifacts": {"model": f"artifacts/model/{TOKEN}/"},
    "started_from": {"base": None, "adapter": None},
    "before": MEASURED,
    "after": MEASURED,
    "generations": [{"prompt": "Say", "before": "x", "after": "y"}],
}
PLACEMENT = {"infra": "aws", "accelerators": {"T4": 1}, "resources": {"infra": "aws"}, "num_nodes": 2, "image": None}
WHO = {"host": "far", "boot_id": "other", "pid": 7, "started_at": TIME}
RECORDS: dict[str, dict[str, Any]] = {
    "run.json": {
        "version": 1,
        "run_id": "run",
        "name": "small",
        "recipe": {"name": "small", "training": {"max_steps": 4}, "stages": [{"stage": "sft", "training": {}}]},
        "settings": {},
        "digest": "d",
        "runner_version": "1",
        "git_revision": None,
        "created_at": TIME,
        **PLACEMENT,
    },
    "submission.json": {"version": 1, "engine": "local", **WHO, "environment": ["HF_TOKEN"], "submitted_at": TIME},
    "launches/0001.json": {"name": "run", "number": 1, "engine": "skypilot", "cluster": None, **PLACEMENT},
    "launches/0001.job.json": {"job_id": 3},
    "launches/0001.ended.json": {"status": "FAILED", "reason": "no capacity"},
    "attempts/0001.json": {"token": TOKEN, "number": 1, **WHO, "nodes": 2, "processes": 2},
    "attempts/0001.restored.json": {"token": TOKEN, "checkpoint": None, "stages": ["sft"]},
    "attempts/0001.heartbeat.json": {
        "token": TOKEN,
        "at": TIME,
        "phase": "training",
        "message": "all is well",
        "stage": "sft",
        "stage_number": 1,
        "step": 3,
        "max_steps": 4,
        "checkpoint_step": 2,
        "loss": 2.5,
        "tokens_per_second": 100.0,
        "eta_seconds": 3.0,
    },
    "attempts/0001.ended.json": {
        "token": TOKEN,
        "ended_at": TIME,
        "exit_code": 75,
        "outcome": "interrupted",
        "reason": "told to stop",
        "retry": True,
        "split": [1, 2],
    },
    "attempts/0001.fit-sft.json": {"token": TOKEN, "accelerators": "T4:1", "nodes": 1, "settings": {"a": 1}},
    "attempts/0001/1-abcdef.json": {"rank": 1, "nonce": "abcdef", **WHO},
    "attempts/0001/go.json": {"token": TOKEN, "nodes": {"1": "abcdef"}, "checkpoint": None},
    "attempts/0001/1-abcdef.heartbeat.json": {"count": 1},
    "attempts/0001/1-abcdef.ended.json": {
        "nonce": "abcdef",
        "exit_code": 1,
        "ends": [{"rank": 1, "code": 1, "killed": False, "outcome": {"outcome": "failed"}, "said_at": 1.0}],
        "last_lines": ["bye"],
        "host": "far",
    },
    "result.json": {
        "state": "succeeded",
        "reason": None,
        "ended_at": TIME,
        "attempts": 2,
        "stage": "sft",
        "stage_number": 1,
        **{name: value for name, value in STAGE.items() if name not in ("stage", "method", "started_from")},
        "stages": [STAGE],
        "hardware": HARDWARE,
        "checkpoint_stall_seconds": 0.1,
    },
    "metrics/0001-aaaa-000001.jsonl": {
        "kind": "train",
        "stage": "sft",
        "step": 1,
        "loss": 2.0,
        "learning_rate": 1e-3,
        "grad_norm": 1.0,
        "tokens_per_second": 9.0,
        "time": 1.0,
    },
    "metrics/0001-aaaa-000002.jsonl": {
        "kind": "eval",
        "phase": "after",
        "stage": "sft",
        "step": 1,
        **MEASURED,
        "generations": [{"prompt": "Say", "text": "x"}],
    },
}
"""Every kind of record, below the run's folder."""

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2,
    10**30,
    1.5,
    1e308,
    "",
    "..",
    "../../outside",
    "/tmp/outside",
    "a\\..\\b",
    "run",
    "2026-01-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "0002-bbbb",
    "sft-000001-0007-aaaa",
    "artifacts/../../outside/x/",
    "artifacts/model/../x/",
    "\x1b[2J\x1b]0;title\x07",
    "two\nlines\r",
    "\N{RIGHT-TO-LEFT OVERRIDE}cba",
    "\ud800",
    "x" * 10_000,
    [],
    {},
    [None],
    ["../x", 1],
    {"../../outside": "artifacts/model/0001-aaaa/"},
    {"\x1b[2J": 1},
    {"a": {"b": []}},
]
RAW = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"\xff\xfe{}",
    b'{"a": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b'{"version": ' + b"9" * 5000 + b"}",
    b"[" * 2000 + b"]" * 2000,
    b'{"run_id": "run", "run_id": "other"}',
    b"\x00",
    b'{"a": "' + b"x" * (17 << 20) + b'"}',
]
TOKENS = {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity", "huge": "1e999", "long": "9" * 5000}


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all values inside a record."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from paths(inner, (*path, key))


PLACES = [(name, path) for name, record in RECORDS.items() for path in paths(record)]


def mutate(name: str, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> bytes:
    record = copy.deepcopy(RECORDS[name])
    inner: Any = record
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return json.dumps(record).encode()


@st.composite
def damage(draw: st.DrawFn) -> tuple[str, bytes]:
    """A record's name and its damaged contents."""
    kind = draw(st.sampled_from(["value", "value", "value", "token", "missing", "renamed", "raw"]))
    if kind == "raw":
        return draw(st.sampled_from(sorted(RECORDS))), draw(st.sampled_from(RAW))
    name, path = draw(st.sampled_from(PLACES))
    if kind == "value":
        odd = draw(st.sampled_from(ODD))
        return name, mutate(name, path, lambda inner, key: inner.__setitem__(key, odd))
    if kind == "token":
        token = draw(st.sampled_from(sorted(TOKENS)))
        data = mutate(name, path, lambda inner, key: inner.__setitem__(key, "PLACEHOLDER"))
        return name, data.replace(b'"PLACEHOLDER"', TOKENS[token].encode())
    if kind == "missing":
        return name, mutate(name, path, lambda inner, key: inner.pop(key))
    odd_name = draw(st.sampled_from([odd for odd in ODD if isinstance(odd, str)]))

    def rename(inner: Any, key: Any) -> None:
        if isinstance(inner, dict):
            inner[odd_name] = inner.pop(key)

    return name, mutate(name, path, rename)


def good_store(*, ended: bool) -> MemoryStore:
    """A store with the run and every record of it, and another run that is in order."""
    return MemoryStore(data=dict(good_objects(ended)))


@cache
def good_objects(ended: bool) -> dict[str, bytes]:
    store = MemoryStore()
    for name, record in RECORDS.items():
        if ended or name != "result.json":
            store.create(f"runs/run/{name}", json.dumps(record).encode())
    store.create("runs/run/logs/0001-aaaa-000001.txt", b"step 1\n\x1b[31mred\x1b[0m\x1b[2J\xff\n")
    store.create(f"runs/run/checkpoints/sft-000002-{TOKEN}/manifest.json", b"{}")
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        weights.write_bytes(b"weights")
        commit(store, f"runs/run/artifacts/model/{TOKEN}/", {"weights": weights}, {})
    neighbour = {**RECORDS["run.json"], "run_id": "neighbour", "infra": "local"}
    store.create("runs/neighbour/run.json", json.dumps(neighbour).encode())
    return store.data


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("runner.backends.skypilot.job_status.refresh_in_background", lambda url, run_ids: None)
    # What a listing remembers would hide the next damage.
    monkeypatch.setattr("runner.runs.remembered.ended.EndedRuns.read", lambda self: {})
    monkeypatch.setattr("runner.runs.remembered.ended.EndedRuns.add", lambda self, statuses: list(statuses))


def harmless(text: str) -> None:
    assert all(letter.isprintable() or letter == "\n" for letter in text), ascii(text)


def read_all(store: MemoryStore) -> dict[str, Exception | None]:
    """Call every reader; by its name what it raised."""
    claim = Claim("run", 2, "0002-bbbb")

    def show_status() -> None:
        status = run_status(store, "run")
        harmless(ps_table([status], {}, {}))
        harmless(f"{status.reason} {status.message} {status.phase} {status.recipe} {status.infra} {status.stage}")
        json.dumps(status.accelerators, allow_nan=False)

    def show_result() -> None:
        result = run_result(store, "run")
        if result is not None:
            harmless(summary.summarize_success(result, run_id="run", store_url="s3://bucket"))

    def show_metrics() -> None:
        records = read_metrics(store, "run")
        if records:
            harmless(metrics_table(records))
        json.dumps(records)

    def admission() -> None:
        try:
            read_admission(store, PARTICIPANT)
        except NotAdmitted:
            return

    readers: dict[str, Callable[[], object]] = {
        "status": show_status,
        "result": show_result,
        "metrics": show_metrics,
        "logs": lambda: harmless(
            for_terminal(read_log(store, "run")[0]).replace("\x1b[31m", "").replace("\x1b[0m", "")
        ),
        "wait": lambda: RunWaiter(store, "run").look(),
        "placement": lambda: run_placement(store, "run"),
        "recipe": lambda: run_recipe(run_document(store, "run")),
        "environment": lambda: needed_environment(store, "run"),
        "find": lambda: find_run(store, "run"),
        "attempts": lambda: attempts(store, "run"),
        "newest": lambda: newest_attempt(store, "run"),
        "superseded": lambda: is_superseded(store, claim),
        "checkpoints": lambda: checkpoints(store, "run"),
        "fits": lambda: fits_so_far(store, claim, "sft"),
        "heartbeat": lambda: read_heartbeat(store, "run", 1),
        "admission": admission,
        "node": lambda: (read_node_beat(store, PARTICIPANT), read_node_end(store, PARTICIPANT)),
        "head": lambda: read_head_end(store, "run", 1),
        "cancel": lambda: write_cancelled(store, "run"),
    }
    raised: dict[str, Exception | None] = {}
    for name, reader in readers.items():
        raised[name] = None
        try:
            reader()
        except Damaged as error:
            harmless(str(error))
            raised[name] = error
    return raised


@pytest.mark.parametrize("ended", [True, False])
def test_every_reader_takes_a_good_store(ended: bool) -> None:
    raised = read_all(good_store(ended=ended))
    # This recipe has only what readers look at, and is not one to train.
    assert {name: error for name, error in raised.items() if error is not None and name != "recipe"} == {}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage(), st.booleans())
def test_readers_work_or_name_the_record(damaged: tuple[str, bytes], ended: bool) -> None:
    """Nothing else is raised, and nothing that a terminal acts on is shown."""
    store = good_store(ended=ended)
    name, data = damaged
    store.data[f"runs/run/{name}"] = data
    for error in read_all(store).values():
        assert error is None or isinstance(error, DamagedRecord)


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage(), st.booleans())
def test_a_listing_shows_the_other_runs(damaged: tuple[str, bytes], ended: bool) -> None:
    """The damaged one is shown too, or left out with its error."""
    store = good_store(ended=ended)
    store.data[f"runs/run/{damaged[0]}"] = damaged[1]
    left_out: list[str] = []
    runs = [run.run_id for run in list_runs(store, on_damaged=lambda run_id, error: left_out.append(run_id))]
    assert sorted(runs + left_out) == ["neighbour", "run"]
    assert "neighbour" in runs


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage(), st.booleans())
def test_pull_writes_only_into_its_folder(damaged: tuple[str, bytes], ended: bool) -> None:
    store = good_store(ended=ended)
    store.data[f"runs/run/{damaged[0]}"] = damaged[1]
    with TemporaryDirectory() as outer:
        folder = Path(outer) / "a" / "b" / "out"
        try:
            pull(store, "run", folder, say=lambda sentence: None)
        except (Damaged, UserError) as error:
            harmless(str(error))
        files = {str(path.relative_to(outer)) for path in Path(outer).rglob("*") if not path.is_dir()}
        assert all(file.startswith("a/b/out/") for file in files)
        assert {file.split("/")[3] for file in files} <= {"run.json", "result.json", "metrics.jsonl", "artifacts"}
    assert not Path("/tmp/outside").exists()


@pytest.mark.parametrize(
    "key",
    [
        "runs/../x/run.json",
        "runs/\x1b[2J/run.json",
        "runs/a\\b/run.json",
        "runs/Run/run.json",
        "runs/run/artifacts/../0009-zzzz/manifest.json",
        "runs/run/artifacts/\x1b[2J/0009-zzzz/manifest.json",
        "runs/run/artifacts/model/../manifest.json",
        "runs/run/attempts/00002.json",
        "runs/run/attempts/" + "9" * 5000 + ".json",
        "runs/run/attempts/\N{ARABIC-INDIC DIGIT ONE}000.json",
        "runs/run/attempts/x/0002.json",
        "runs/run/attempts/0002.heartbeat.json",
        "runs/run/launches/x/0002.json",
        "runs/run/launches/0002.job.json",
        "runs/run/metrics/0001-aaaa-x.jsonl",
        "runs/run/logs/" + "9" * 5000 + "-aaaa-1.txt",
        "runs/run/checkpoints/sft-9-0001-aaaa/manifest.json",
        "runs/run/checkpoints/../manifest.json",
    ],
)
def test_odd_names_in_the_store_are_left_alone(key: str, tmp_path: Path) -> None:
    store = good_store(ended=False)
    before = run_status(store, "run"), checkpoints(store, "run")
    store.data[key] = b"{}"
    after = run_status(store, "run"), checkpoints(store, "run")
    assert [run.run_id for run in list_runs(store)] == ["run", "neighbour"]
    assert (after[0].attempts, after[0].infra, after[1]) == (before[0].attempts, before[0].infra, before[1])
    assert {name: error for name, error in read_all(store).items() if error is not None and name != "recipe"} == {}
    pull(store, "run", tmp_path / "out", say=lambda sentence: None)
    assert {path.name for path in (tmp_path / "out/artifacts").iterdir()} == {"model"}


def test_a_record_of_another_run_is_damaged() -> None:
    store = good_store(ended=False)
    store.data["runs/copy/run.json"] = store.data["runs/run/run.json"]
    with pytest.raises(DamagedRecord, match="another run, run"):
        run_status(store, "copy")
    assert {run.run_id for run in list_runs(store)} == {"run", "neighbour"}


def test_what_older_versions_wrote_for_a_loss_that_is_not_a_number_is_read_as_null() -> None:
    store = good_store(ended=True)
    key = "runs/run/metrics/0001-aaaa-000001.jsonl"
    store.data[key] = store.data[key].replace(b'"loss": 2.0', b'"loss": NaN')
    store.data["runs/run/result.json"] = store.data["runs/run/result.json"].replace(
        b'"value": 2.0', b'"value": -Infinity'
    )
    assert read_metrics(store, "run")[0]["loss"] is None
    result = run_result(store, "run")
    assert result is not None
    assert result["best"] == {"step": 2, "metric": "eval_loss", "value": None}


def test_the_message_names_the_record_the_field_and_the_value() -> None:
    store = good_store(ended=True)
    result = {**RECORDS["result.json"], "artifacts": {"model": "../../outside/"}}
    store.data["runs/run/result.json"] = json.dumps(result).encode()
    with pytest.raises(DamagedRecord) as caught:
        run_result(store, "run")
    assert str(caught.value) == "runs/run/result.json: artifacts.model is '../../outside/', not an artifact's key"


def test_a_name_of_a_checkpoint_is_read_only_as_it_is_written() -> None:
    assert CheckpointName.parse("sft-\N{ARABIC-INDIC DIGIT ONE}-0001-aaaa") is None


def test_what_is_no_record_at_all_is_damaged_and_is_not_read(bench: Bench) -> None:
    """A pipe, on which others would wait for ever, a file of 100 MB, a link to nothing that ends."""
    root = bench.folder / "store/runs"
    for name in ("good", "pipe", "large", "zero", "folder"):
        bench.submit(name)
        if name != "good":
            (root / name / "run.json").unlink()
    os.mkfifo(root / "pipe/run.json")
    with (root / "large/run.json").open("wb") as file:
        file.truncate(100_000_000)
    (root / "zero/run.json").symlink_to("/dev/zero")
    (root / "folder/run.json").mkdir()
    done = bench.runner("ps", "--json", timeout=20)
    assert done.returncode == 0, done
    states = {run["run_id"]: (run["state"], run["reason"]) for run in json.loads(done.stdout)}
    assert states == {
        "good": ("pending", None),
        "pipe": ("damaged", "runs/pipe/run.json: it is not a file"),
        "large": ("damaged", "runs/large/run.json: it has 100,000,000 bytes, and 67,108,864 at most are read"),
        "zero": ("damaged", "runs/zero/run.json: it is not a file"),
    }


def test_a_heartbeat_from_the_future_is_not_a_sign_of_life(bench: Bench) -> None:
    bench.submit()
    claim = {**RECORDS["attempts/0001.json"]}
    bench.store.create("runs/run/attempts/0001.json", json.dumps(claim).encode())
    bench.store.put("runs/run/attempts/0001.heartbeat.json", b"{}")
    assert run_status(bench.store, "run").state == "running"
    for path in (bench.folder / "store/runs/run/attempts").iterdir():
        os.utime(path, (4e9, 4e9))
    assert run_status(bench.store, "run").state == "interrupted"


@pytest.mark.parametrize("number", [2, 7, 999_999_999_999])
def test_an_attempt_of_any_number_is_no_traceback(number: int) -> None:
    store = good_store(ended=False)
    record = {**RECORDS["attempts/0001.json"], "token": f"{number:04d}-aaaa", "number": number}
    store.data[f"runs/run/attempts/{number:04d}.json"] = json.dumps(record).encode()
    assert run_status(store, "run").attempts == number
    raised = read_all(store)
    assert {name for name, error in raised.items() if error is not None} <= {"recipe"}
    try:
        assert claim_attempt(store, "run", {}).number == number + 1
    except DamagedRecord as error:
        harmless(str(error))


def test_text_is_made_printable() -> None:
    assert printable("a\x1b[2Jb") == "a\N{REPLACEMENT CHARACTER}[2Jb"
    assert printable("two\nlines") == "two lines"
    assert printable("größer, 大きい") == "größer, 大きい"


def test_a_log_keeps_its_colors_and_nothing_else() -> None:
    assert for_terminal("\x1b[1;31mred\x1b[0m\tok\n") == "\x1b[1;31mred\x1b[0m\tok\n"
    assert for_terminal("\x1b]0;t\x07\x1b[2J\x9b1m") == "\N{REPLACEMENT CHARACTER}]0;t\N{REPLACEMENT CHARACTER}" + (
        "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}1m"
    )


def test_ps_shows_a_damaged_run_in_a_row_and_says_why(bench: Bench) -> None:
    bench.submit("good")
    bench.submit("bad")
    bench.store.create("runs/bad/result.json", b'{"state": "\\u001b[2J"}')
    done = bench.runner("ps")
    assert done.returncode == 0
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert rows == [["RUN", "STATE"], ["good", "pending"], ["bad", "damaged"]]
    [line] = done.stderr.splitlines()
    assert line.startswith("bad is damaged in the store: runs/bad/result.json: state is '\\x1b[2J', not one of")
    listed = json.loads(bench.runner("ps", "--json").stdout)
    assert [run["state"] for run in listed] == ["pending", "damaged"]
    assert listed[0].keys() == listed[1].keys()
    for command in ("wait", "pull", "logs", "metrics", "resume", "cancel"):
        done = bench.runner(command, "bad")
        assert "Traceback" not in done.stderr, command
        if command not in ("logs", "metrics"):
            assert (done.returncode, "damaged in the store: runs/bad/result.json" in done.stderr) == (1, True), command

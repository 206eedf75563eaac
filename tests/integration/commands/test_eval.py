"""A finished run is measured again, with the same numbers on the same data; its right answers are counted."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.recipe.recipe import Data, DataSource, ExactMatch, Recipe
from runner.runs.layout import run_key
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.train.agent.events import Events
from runner.train.run_eval import evaluate
from support.forked import Attempts
from support.references import References
from support.runs import recipe, submit
from support.stage_recipes import one_adapter

QUICK = {"eval_strategy": "no", "load_best_model_at_end": False, "early_stopping_patience": None}


def rows(path: Path, answer: str) -> Path:
    """Questions that all have this answer."""
    asked = [{"prompt": f"What is {number}?", "completion": f" #### {answer}"} for number in range(24)]
    path.write_text("".join(json.dumps(row) + "\n" for row in asked))
    return path


def sevens(folder: Path, *, adapter: bool) -> Recipe:
    """Learns to answer 7, whatever is asked."""
    training = {**QUICK, "metric_for_best_model": None, "learning_rate": 2e-2 if adapter else 5e-3}
    what = recipe(folder, adapter=adapter, **training, max_steps=24, per_device_train_batch_size=4)
    path = str(rows(folder / "sevens.jsonl", "7"))
    return replace(
        what,
        adapter={"r": 16, "target_modules": "all-linear"} if adapter else None,
        data=Data(train=(DataSource(path=path),), eval_from_train=6),
        evaluate=replace(what.evaluate, exact_match=ExactMatch(max_new_tokens=8)),
    )


@pytest.fixture(scope="module", params=["full", "lora", "stages"])
def finished(
    request: pytest.FixtureRequest,
    forked: Attempts,
    references: References,
    data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Store, str, dict[str, Any]]:
    """A run that has succeeded, with its result."""
    kind: str = request.param
    if kind == "stages":
        run = references(one_adapter(data))
        store = open_store(run.attempts.store_url)
        return store, run.run_id, json.loads(store.get(run_key(run.run_id, "result.json")))
    store = open_store(forked.store_url)
    folder = tmp_path_factory.mktemp(kind)
    submit(store, kind, sevens(folder, adapter=kind == "lora"))
    assert forked.run(kind) == 0, forked.log(kind)
    return store, kind, json.loads(store.get(run_key(kind, "result.json")))


def measured(store: Store, run_id: str, forked: Attempts, folder: Path, **arguments: Any) -> dict[str, Any]:
    """The evaluation in this process, with one thread as the run had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    nobody = os.open(os.devnull, os.O_WRONLY)
    try:
        found = evaluate(
            store,
            run_id,
            work_dir=folder,
            cache_dir=forked.folder / "cache" / "runner",
            events=Events(nobody),
            **arguments,
        )
    finally:
        os.close(nobody)
        torch.set_num_threads(threads)
    for phase in ("before", "after"):
        del found[phase]["samples_per_second"]
    return found


def test_the_same_comes_out_as_in_the_run_itself(
    finished: tuple[Store, str, dict[str, Any]], forked: Attempts, tmp_path: Path
) -> None:
    """Loss, perplexity or rewards against the stage's own reference, completions, and answers."""
    store, run_id, result = finished
    found = measured(store, run_id, forked, tmp_path)
    for phase in ("before", "after"):
        del result[phase]["samples_per_second"]
        assert found[phase] == result[phase]
    assert found["generations"] == result["generations"]


@pytest.mark.parametrize("finished", ["full", "lora"], indirect=True)
def test_right_answers_are_counted(
    finished: tuple[Store, str, dict[str, Any]], forked: Attempts, tmp_path: Path
) -> None:
    """None before training, all after it; and none again where another answer is the right one."""
    store, run_id, result = finished
    assert (result["before"]["exact_match"], result["after"]["exact_match"]) == (0, 1)
    assert result["after"]["exact_match_samples"] == 6
    eights = DataSource(path=str(rows(tmp_path / "eights.jsonl", "8")))
    found = measured(store, run_id, forked, tmp_path / "work", data=[eights], prompts=["What is 3?", "Why?"])
    assert found["after"]["exact_match"] == 0
    assert found["after"]["exact_match_samples"] == 24
    assert found["after"]["eval_loss"] > result["after"]["eval_loss"]
    assert [shown["prompt"] for shown in found["generations"]] == ["What is 3?", "Why?"]
    assert found["generations"][0]["after"].startswith("###"), "four tokens of it"


@pytest.mark.parametrize("finished", ["full"], indirect=True)
def test_another_format_is_measured_as_the_run_was_trained(
    finished: tuple[Store, str, dict[str, Any]], forked: Attempts, tmp_path: Path
) -> None:
    """The same questions as conversations: pairs of strings again, so that the numbers are the same."""
    store, run_id, _ = finished
    pairs = rows(tmp_path / "pairs.jsonl", "8")
    turns = tmp_path / "turns.jsonl"
    with turns.open("w") as file:
        for line in pairs.read_text().splitlines():
            row = json.loads(line)
            user, assistant = ({"role": "user", "content": row["prompt"]}, {"role": "assistant"})
            messages = [user, {**assistant, "content": row["completion"]}]
            file.write(json.dumps({"messages": messages}) + "\n")
    found = [
        measured(store, run_id, forked, tmp_path / path.stem, data=[DataSource(path=str(path))], prompts=[])
        for path in (pairs, turns)
    ]
    assert found[0]["after"] == found[1]["after"]


@pytest.mark.parametrize("finished", ["full"], indirect=True)
def test_the_command_prints_a_table_and_keeps_a_record(
    finished: tuple[Store, str, dict[str, Any]], forked: Attempts, tmp_path: Path
) -> None:
    """The run's own records stay as they are."""
    store, run_id, _ = finished
    before = {info.key: store.get(info.key) for info in store.objects(run_key(run_id, ""))}
    rows(tmp_path / "eights.jsonl", "8")
    done = run_eval(forked, tmp_path, run_id, "--data", "eights.jsonl", "--prompt", "What is 3?")
    assert done.returncode == 0, done.stderr
    assert "exact match of 24" in done.stdout
    assert "Prompt: What is 3?" in done.stdout
    assert "evaluating (the trained model)" in done.stderr
    after = {info.key: store.get(info.key) for info in store.objects(run_key(run_id, ""))}
    new = after.keys() - before.keys()
    assert {key: after[key] for key in before} == before
    assert len(new) == 1
    (key,) = new
    record = json.loads(after[key])
    assert key == run_key(run_id, f"evaluations/{record['id']}.json")
    assert record["data"] == [{"path": str(tmp_path / "eights.jsonl")}]
    assert record["after"]["exact_match"] == 0


@pytest.mark.parametrize("finished", ["full"], indirect=True)
def test_a_mistake_is_one_message(
    finished: tuple[Store, str, dict[str, Any]], forked: Attempts, data: Path, tmp_path: Path
) -> None:
    """Said before anything heavy is started."""
    store, run_id, _ = finished
    submit(store, "not-ended", recipe(data, adapter=False))
    (tmp_path / "odd.jsonl").write_text('{"a": 1}\n')
    for arguments, message in {
        ("not-ended",): "the run has not ended and has no model yet",
        (run_id, "--data", "nix.jsonl"): "there is no file or folder `nix.jsonl`",
        (run_id, "--data", "odd.jsonl"): "odd.jsonl",
        (run_id, "--data", "{path: odd.jsonl, templat: {}}"): "did you mean `template`?",
    }.items():
        done = run_eval(forked, tmp_path, *arguments)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def run_eval(forked: Attempts, cwd: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "XDG_CACHE_HOME": str(forked.folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from runner.cli.main import main; main()", "eval", *arguments]
    command += ["--store", forked.store_url]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=1800)

"""Workers of a real sweep: whatever is killed, each trial ends as it would alone, and the sweep ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.control.sweeping.define import SweepOptions
from runner.control.sweeping.launch import prepare_sweep
from runner.control.sweeping.retry import retry_trials
from runner.control.sweeping.stop import request_stop
from runner.runs.layout import run_key
from runner.runs.metrics import read_metrics
from runner.runs.record_types.money import PriceRecord
from runner.runs.status import run_status
from runner.storage.local import LocalStore
from runner.storage.store import NotFound, StoreUnavailable
from runner.sweeps.controller import Controller
from runner.sweeps.definition import Definition, write_definition
from runner.sweeps.journal import Journal
from runner.sweeps.layout import sweep_key, trial_run_id
from runner.sweeps.state import SweepState
from runner.train import entrypoint
from runner.train.agent.timing import Timing
from runner.train.agent.warm.processes import WarmProcesses
from runner.train.sweeping.worker import SweepWorker, WorkerTiming
from support.forked import Attempts
from support.runs import assert_same, outcome
from support.sweeping.small import tale

RECIPE: dict[str, Any] = {
    "name": "small",
    "method": "sft",
    "model": {"model_name_or_path": "builtin:tiny-llama"},
    "adapter": {"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"},
    "data": {"train": [{"path": "train.jsonl", "format": "prompt_completion"}], "eval": {"from_train": 8}},
    "training": {
        "max_steps": 24,
        "per_device_train_batch_size": 2,
        "max_length": 32,
        "gradient_checkpointing": False,
        "eval_strategy": "steps",
        "eval_steps": 6,
        "per_device_eval_batch_size": 4,
        "seed": 3,
    },
    "checkpoint": {"save_steps": 5, "save_total_limit": 2},
    "evaluate": {"before_and_after": False},
}
SWEEP: dict[str, Any] = {
    "program": "recipe.yaml",
    "method": "random",
    "metric": {"name": "eval/loss", "goal": "minimize"},
    "run_cap": 4,
    "parameters": {"learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}},
    "runner": {"rungs": [6, 12], "eta": 2, "scheduler": "successive_halving"},
}
QUICK = WorkerTiming(beat=0.2, look=0.1, wait=0.1, lost=0.5)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of all that trains here."""
    added = {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in added.items():
            patch.setenv(name, value)
        yield added


@pytest.fixture(scope="module")
def warm(environment: dict[str, str]) -> Iterator[WarmProcesses]:
    processes = WarmProcesses(entrypoint.start_worker)
    yield processes
    processes.close()


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def launched(
    store: LocalStore, folder: Path, data: Path, *, sweep: dict[str, Any] = SWEEP, **training: Any
) -> Definition:
    """A sweep as a launch writes it, without workers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.jsonl").write_bytes(data.read_bytes())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "training": {**RECIPE["training"], **training}}))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    prepared = prepare_sweep(store, SweepOptions(file="./sweep.yaml", name="sweep", cwd=folder), say=print)
    for key, path in prepared.portable.inputs.items():
        store.upload(sweep_key("sweep", key), path)
    assert write_definition(store, prepared.definition)
    return prepared.definition


def work(
    store: LocalStore,
    definition: Definition,
    folder: Path,
    warm: WarmProcesses,
    name: str = "here",
    price: PriceRecord | None = None,
) -> int:
    """Be a worker until there is nothing left to do."""
    worker = SweepWorker(
        store=store,
        definition=definition,
        name=name,
        work_dir=folder / name,
        spawn=warm,
        prepare=warm.is_settled,
        price=price,
        timing=QUICK,
        attempt_timing=Timing(beat=0.1),
    )
    return worker.run()


def state_of(store: LocalStore, definition: Definition) -> SweepState:
    return Journal(store, definition, by="test").catch_up()


def step_of(store: LocalStore, trial: int | None) -> int:
    """How far a trial is, as far as its heartbeat says."""
    try:
        return 0 if trial is None else run_status(store, trial_run_id("sweep", trial)).step or 0
    except NotFound:
        return 0


def in_background(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.05)


def straight(store: LocalStore, run_id: str, folder: Path) -> dict[str, Any]:
    """Train the same recipe as a trial's in one go; return what must be the same."""
    document = json.loads(store.get(run_key(run_id, "run.json")))
    alone = f"{run_id}-alone"
    store.create(run_key(alone, "run.json"), json.dumps({**document, "run_id": alone}).encode())
    forked = Attempts(store.url, folder)
    assert forked.run(alone) == 0, forked.log(alone)
    return outcome(store, alone)


class Machine:
    """A worker in a process of its own."""

    def __init__(self, store: LocalStore, folder: Path, name: str, environment: dict[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        command = [sys.executable, "-P", "-m", "runner.train.sweep_worker", "--store", store.url, "--sweep", "sweep"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--work-dir", str(folder / name), "--worker", name, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )

    def trial(self, state: SweepState) -> int | None:
        """The trial that it has."""
        mine = [trial.number for trial in state.trials.values() if (trial.worker or "").startswith(f"{self.name}-")]
        return mine[0] if mine else None


@pytest.mark.thorough
def test_workers_are_killed_and_told_to_stop_and_the_sweep_ends_as_if_nothing_had_happened(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    content = {**SWEEP, "runner": {**SWEEP["runner"], "rungs": [60, 120]}}
    definition = launched(store, tmp_path, data, sweep=content, max_steps=240, eval_steps=60)
    machines = [Machine(store, tmp_path, name, environment) for name in ("one", "two")]

    def training(machine: Machine, further: int) -> bool:
        """Whether it trains a trial beyond a step."""
        return step_of(store, machine.trial(state_of(store, definition))) >= further

    wait_for(lambda: training(machines[0], 1))
    machines[0].process.kill()
    wait_for(lambda: training(machines[1], 1))
    machines[1].process.terminate()
    assert machines[1].process.wait(240) == 75, machines[1].log.read_text()
    state = state_of(store, definition)
    assert machines[1].trial(state) is None, "it has given its trial back itself"
    machines += [Machine(store, tmp_path, name, environment) for name in ("three", "four")]
    for machine in machines[2:]:
        assert machine.process.wait(240) == 0, machine.log.read_text()
    state = state_of(store, definition)
    assert state.ended is not None
    assert state.ended[0] == "succeeded", state.ended
    assert [len(state.rung(0, number).ranked) for number in range(3)] == [4, 2, 1]
    assert not state.running
    assert all(worker.left_at for worker in state.workers.values()), "also the one that was killed"
    best = state.best()[0]
    run_id = trial_run_id("sweep", best.number)
    assert_same(outcome(store, run_id), straight(store, run_id, tmp_path))
    for number in state.trials:
        steps = [r["step"] for r in read_metrics(store, trial_run_id("sweep", number)) if r["kind"] == "train"]
        assert steps == list(range(1, (240 if number == best.number else state.trials[number].step) + 1))


def test_trials_pause_at_rungs_and_the_best_goes_on_to_the_end(warm: WarmProcesses, data: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    definition = launched(store, tmp_path, data)
    assert work(store, definition, tmp_path, warm) == 0
    state = state_of(store, definition)
    assert state.ended is not None
    assert state.ended[0] == "succeeded", state.ended
    assert [len(state.rung(0, number).ranked) for number in range(3)] == [4, 2, 1]
    best = state.best()[0]
    run_id = trial_run_id("sweep", best.number)
    assert_same(outcome(store, run_id), straight(store, run_id, tmp_path))
    evaluations = {r["step"]: r["eval_loss"] for r in read_metrics(store, run_id) if r["kind"] == "eval"}
    assert best.scores == {0: evaluations[6], 1: evaluations[12], 2: evaluations[24]}
    paused = [trial for trial in state.trials.values() if trial.state == "paused"]
    assert {run_status(store, trial_run_id("sweep", trial.number)).shown_state for trial in paused} == {"paused"}
    assert not list((tmp_path / "here" / "runs").glob("*")), "what is in the store is not kept here too"


@pytest.mark.thorough
def test_a_sweep_that_is_stopped_has_its_trial_save_and_goes_on_from_there_later(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    content = {**SWEEP, "run_cap": 1, "runner": {}}
    definition = launched(store, tmp_path, data, sweep=content, max_steps=4000, eval_steps=4000)

    def stop() -> None:
        wait_for(lambda: step_of(store, 0) > 3)
        request_stop(Journal(store, definition, by="person"), "enough")

    stopper = in_background(stop)
    assert work(store, definition, tmp_path, warm) == 0
    stopper.join()
    trial = state_of(store, definition).trials[0]
    assert (trial.state, trial.interruptions) == ("ready", 0), "nobody has lost it"
    assert trial.step > 3
    assert run_status(store, trial_run_id("sweep", 0)).checkpoint_step == trial.step


@pytest.mark.thorough
def test_a_worker_comes_to_the_cap_while_its_trial_trains_and_has_it_save(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    """The cap is a dollar above what was spent when the trial was well under way: a second, at this worker's price."""
    store = LocalStore(tmp_path / "store")
    content = {**SWEEP, "run_cap": 1, "runner": {}}
    definition = launched(store, tmp_path, data, sweep=content, max_steps=1_000_000, eval_steps=1_000_000)

    def cap() -> None:
        wait_for(lambda: step_of(store, 0) > 3)
        journal = Journal(store, definition, by="person")
        spent = journal.catch_up().spent(datetime.now(UTC))
        journal.append(lambda state: [{"event": "resumed", "max_cost": spent + 1}])

    capper = in_background(cap)
    assert work(store, definition, tmp_path, warm, price={"dollars_per_hour": 3600.0, "source": "stated"}) == 0
    capper.join()
    state = state_of(store, definition)
    assert (state.stop or "").startswith("the budget is spent: $"), state.stop
    assert state.ended is None, "a higher cap goes on"
    trial = state.trials[0]
    assert (trial.state, trial.interruptions) == ("ready", 0), "nobody has lost it"
    assert trial.step > 3
    assert run_status(store, trial_run_id("sweep", 0)).checkpoint_step == trial.step
    assert [worker.left_at is not None for worker in state.workers.values()] == [True]


class TakenForLost(LocalStore):
    """A store in which the first worker that takes a trial is taken for lost at once."""

    definition: Definition | None = None
    lost: str | None = None

    def create(self, key: str, data: bytes) -> bool:
        """Create it; write down that its writer is lost."""
        created = super().create(key, data)
        taken = (
            [event for event in json.loads(data)["events"] if event["event"] == "taken"] if "/journal/" in key else []
        )
        if created and taken and self.lost is None:
            assert self.definition is not None
            self.lost = taken[0]["worker"]
            controller, now = Controller(self.definition), datetime.now(UTC)
            Journal(LocalStore(self.root), self.definition, by="other").append(
                lambda state: controller.lost(
                    state, str(self.lost), last_sign=now.isoformat(), reason="no sign of life", now=now, steps={}
                )
            )
        return created


@pytest.mark.thorough
def test_a_worker_that_was_taken_for_lost_comes_back_under_another_name_and_nothing_is_trained_twice(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    store = TakenForLost(tmp_path / "store")
    definition = launched(store, tmp_path, data, sweep={**SWEEP, "run_cap": 2})
    store.definition = definition
    assert work(store, definition, tmp_path, warm, name="here-1") == 0
    state = state_of(store, definition)
    assert store.lost == "here-1"
    first, second = state.workers.values()
    assert (first.name, first.reason) == ("here-1", "no sign of life")
    assert second.name.startswith("here-")
    assert second.name != first.name
    assert state.ended is not None
    assert state.ended[0] == "succeeded"
    for number, trial in state.trials.items():
        records = read_metrics(store, trial_run_id("sweep", number))
        steps = [record["step"] for record in records if record["kind"] == "train"]
        assert steps == list(range(1, trial.step + 1))


class Forgetful(LocalStore):
    """A store that creates each entry of the journal and does not say so, nor answers the question that follows."""

    silent: str | None = None
    answers_lost = 0

    def create(self, key: str, data: bytes) -> bool:
        """Create it; the answer is lost."""
        created = super().create(key, data)
        if created and "/journal/" in key:
            self.silent = key
            self.answers_lost += 1
            raise StoreUnavailable("the connection was reset")
        return created

    def get(self, key: str) -> bytes:
        """Read, but not what was created last, the first time."""
        if key == self.silent:
            self.silent = None
            raise StoreUnavailable("the connection was reset")
        return super().get(key)


@pytest.mark.thorough
def test_when_each_answer_of_the_store_is_lost_the_sweep_is_the_same(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    tales = []
    for name, kind in (("calm", LocalStore), ("forgetful", Forgetful)):
        store = kind(tmp_path / name / "store")
        definition = launched(store, tmp_path / name, data)
        assert work(store, definition, tmp_path / name, warm) == 0
        state = state_of(LocalStore(tmp_path / name / "store"), definition)
        tales.append(tale(state))
        assert all(trial.interruptions == trial.failures == 0 for trial in state.trials.values())
        if isinstance(store, Forgetful):
            assert store.answers_lost == state.number, "an entry was written twice, or none was lost"
    assert tales[0] == tales[1]


@pytest.mark.thorough
def test_a_failed_trial_is_retried_when_its_cause_is_gone(warm: WarmProcesses, data: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    definition = launched(store, tmp_path, data, sweep={**SWEEP, "run_cap": 1, "runner": {}})
    (key,) = [info.key for info in store.objects(sweep_key("sweep", "inputs/"))]
    rows = store.get(key)
    store.put(key, rows[:-9])
    assert work(store, definition, tmp_path, warm) == 0
    trial = state_of(store, definition).trials[0]
    assert (trial.state, trial.kind) == ("failed", "mistake")
    store.put(key, rows)
    retried = retry_trials(store, "sweep", [0])
    assert (list(retried.trials), retried.needs_resume) == ([0], True)
    Journal(store, definition, by="resume").append(lambda state: [{"event": "resumed"}])
    assert work(store, definition, tmp_path, warm, name="again") == 0
    state = state_of(store, definition)
    assert (state.trials[0].state, state.trials[0].step) == ("finished", 24)
    assert state.trials[0].values == trial.values
    assert state.ended is not None
    assert state.ended[0] == "succeeded"


@pytest.mark.thorough
def test_a_preemption_gives_the_trial_back_at_once(warm: WarmProcesses, data: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    content = {**SWEEP, "run_cap": 1, "runner": {}}
    definition = launched(store, tmp_path, data, sweep=content, max_steps=4000, eval_steps=4000)

    def preempt() -> None:
        wait_for(lambda: step_of(store, 0) > 3)
        os.kill(os.getpid(), signal.SIGTERM)

    machine = in_background(preempt)
    assert work(store, definition, tmp_path, warm) == 75
    machine.join()
    state = state_of(store, definition)
    assert (state.trials[0].state, state.trials[0].interruptions) == ("ready", 1)
    assert state.trials[0].step > 3
    assert state.workers["here"].reason == "told to stop"


def test_a_metric_that_never_comes_is_found_at_the_first_evaluation(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    content = {**SWEEP, "run_cap": 1, "runner": {}}
    definition = launched(store, tmp_path, data, sweep=content, max_steps=4000, eval_steps=2)
    definition = replace(definition, metric="eval_los")
    assert work(store, definition, tmp_path, warm) == 0
    trial = state_of(store, definition).trials[0]
    assert (trial.state, trial.kind) == ("failed", "mistake")
    assert "the trial has no 'eval_los': did you mean 'eval_loss'? there are" in str(trial.failure)
    assert trial.step < 4000


@pytest.mark.thorough
def test_a_trial_that_diverges_is_not_tried_again_and_the_other_finishes(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    content = {
        **{key: value for key, value in SWEEP.items() if key != "run_cap"},
        "method": "grid",
        "parameters": {"learning_rate": {"values": [1e-3, 1e30]}},
        "runner": {},
    }
    definition = launched(store, tmp_path, data, sweep=content, max_grad_norm=0.0)
    assert work(store, definition, tmp_path, warm) == 0
    trials = state_of(store, definition).trials
    assert trials[0].state == "finished"
    assert (trials[1].state, trials[1].kind, trials[1].failures) == ("failed", "diverged", 1), trials[1]


def test_a_worker_of_another_version_refuses(environment: dict[str, str], data: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    definition = launched(store, tmp_path, data)
    key = sweep_key("sweep", "sweep.json")
    store.put(key, json.dumps({**json.loads(store.get(key)), "runner_version": "99.1.0"}).encode())
    machine = Machine(store, tmp_path, "other", environment)
    assert machine.process.wait(240) == 2
    assert "was launched by runner 99.1.0" in machine.log.read_text()
    assert not state_of(store, definition).workers

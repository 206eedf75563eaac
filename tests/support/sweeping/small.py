"""Small real sweeps: `runner sweep` on the command line, real workers and trainings, and what of them can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import yaml

from runner.runs.metrics import read_metrics
from runner.runs.records import run_result
from runner.storage.open import open_store
from runner.sweeps.definition import Definition, read_definition
from runner.sweeps.events import Entry
from runner.sweeps.journal import Journal
from runner.sweeps.layout import trial_run_id
from runner.sweeps.members import Trial
from runner.sweeps.state import SweepState

RUNNER = Path(sys.executable).parent / "runner"
MARK = "RUNNER_TEST_MARK"
"""All that a place starts has this variable, so that it is found whoever its parent is by then."""

RECIPE: Mapping[str, Any] = {
    "name": "small",
    "method": "sft",
    "model": {"model_name_or_path": "builtin:tiny-llama"},
    "adapter": {"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"},
    "data": {"train": [{"path": "rows.jsonl", "format": "prompt_completion"}], "eval": {"from_train": 8}},
    "training": {
        "max_steps": 12,
        "per_device_train_batch_size": 2,
        "learning_rate": 2.0e-3,
        "max_length": 32,
        "gradient_checkpointing": False,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "per_device_eval_batch_size": 4,
        "seed": 3,
        "report_to": "none",
    },
    "checkpoint": {"save_steps": 2, "save_total_limit": 2},
    "evaluate": {"before_and_after": False, "prompts": []},
}
SWEEP: Mapping[str, Any] = {
    "program": "small.yaml",
    "name": "small",
    "method": "random",
    "metric": {"name": "eval/loss", "goal": "minimize"},
    "run_cap": 4,
    "parameters": {
        "learning_rate": {"distribution": "log_uniform_values", "min": 1.0e-4, "max": 2.0e-2},
        "lora_dropout": {"values": [0.0, 0.1, 0.3]},
    },
    "runner": {"parallel": 2, "scheduler": "successive_halving", "rungs": [4, 8], "eta": 2},
}

_PATIENCE_SECONDS = 300.0


class Place:
    """A machine with an empty home, a recipe, a sweep, and `runner`.

    Args:
        folder: its home.
        rows: training data.
        store: where sweeps live.
        cache: shared by all that trains.
        environment: further variables.
    """

    def __init__(
        self, folder: Path, rows: Path, store: str, cache: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.mark = uuid4().hex
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "XDG_"))}
        self.environment = {
            **kept,
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(cache),
            "RUNNER_STORE": store,
            "OMP_NUM_THREADS": "1",
            MARK: self.mark,
            **(environment or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.jsonl").write_bytes(rows.read_bytes())
        self.store = open_store(store)
        self.started: list[subprocess.Popen[str]] = []
        self.write()

    def write(self, *, name: str = "sweep.yaml", recipe: Mapping[str, Any] | None = None, **keys: Any) -> None:
        """Write the recipe and the sweep; `keys` are the sweep's, None leaves one out, `runner` is merged."""
        section = {**SWEEP["runner"], **keys.get("runner", {})}
        section = {key: value for key, value in section.items() if value is not None}
        sweep = {**SWEEP, **keys, "runner": section}
        (self.folder / "small.yaml").write_text(yaml.safe_dump(dict(recipe or RECIPE)))
        kept = {key: value for key, value in sweep.items() if value is not None}
        (self.folder / name).write_text(yaml.safe_dump(kept, sort_keys=False))

    # -- commands --------------------------------------------------------------------------------------------------

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `runner` with these arguments."""
        process = subprocess.Popen(
            [str(RUNNER), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run `runner` to its end; return all that it printed."""
        return ended(self.start(*arguments), code=code)

    def launch(self, sweep_id: str, *arguments: str) -> "subprocess.Popen[str]":
        """Start `runner sweep launch sweep.yaml` in the foreground."""
        return self.start("sweep", "launch", "./sweep.yaml", "--name", sweep_id, *arguments)

    def close(self) -> None:
        """Kill what is left."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self.started:
            started.kill()
            started.communicate()

    # -- what there is ---------------------------------------------------------------------------------------------

    def definition(self, sweep_id: str) -> Definition:
        """``sweep.json``."""
        return read_definition(self.store, sweep_id)

    def state(self, sweep_id: str) -> SweepState:
        """The sweep as its journal has it."""
        return Journal(self.store, self.definition(sweep_id), by="a test").catch_up()

    def entries(self, sweep_id: str) -> list[Entry]:
        """The journal."""
        found: list[Entry] = []
        Journal(self.store, self.definition(sweep_id), by="a test", on_entry=found.append).catch_up()
        return found

    def processes(self) -> list[psutil.Process]:
        """All that was started from here and runs, whoever started it."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, FileNotFoundError):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def of_kind(self, kind: str) -> list[psutil.Process]:
        """The processes of a kind: ``foreground``, ``slots``, ``worker`` or ``training``, in the order of their ids."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if _kind(process) == kind:
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Within, no worker and no training gets any further, however fast the machine is."""
        found = [*self.of_kind("worker"), *self.of_kind("training")]
        for process in found:
            kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in found:
                kill(process, signal.SIGCONT)

    def wait_for(self, what: Callable[[], Any], *, seconds: float = _PATIENCE_SECONDS) -> Any:
        """Wait until something is true; return it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(Exception):  # nothing is there yet
                if found := what():
                    return found
            time.sleep(0.05)
        raise AssertionError("it does not happen")

    def wait_for_event(self, sweep_id: str, name: str, *, count: int = 1) -> None:
        """Wait until the journal has so many events of a name."""
        self.wait_for(lambda: sum(event["event"] == name for event in events(self.entries(sweep_id))) >= count)


def ended(process: "subprocess.Popen[str]", *, code: int | None = 0) -> str:
    """Wait for the end of a command; return all that it printed. None: any exit code will do."""
    printed, _ = process.communicate(timeout=_PATIENCE_SECONDS)
    if code is not None:
        assert process.returncode == code, f"exit code {process.returncode}\n{printed}"
    assert "Traceback" not in printed, printed
    return printed


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> None:
    """Send a signal; a process that has gone meanwhile has gone."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _kind(process: psutil.Process) -> str:
    line = process.cmdline()
    for kind, module in (("slots", "runner.backends.local.slots"), ("worker", "runner.train.sweep_worker")):
        if module in line:
            return kind
    if any(part.endswith("bin/runner") for part in line):
        return "foreground"
    parent = process.parent()
    grandparent = parent.parent() if parent is not None else None
    return "training" if grandparent is not None and "runner.train.sweep_worker" in grandparent.cmdline() else "other"


def events(entries: list[Entry]) -> Iterator[Mapping[str, Any]]:
    """All events, in order."""
    for entry in entries:
        yield from entry["events"]


# -- what must hold ----------------------------------------------------------------------------------------------------


def tale(state: SweepState) -> dict[str, Any]:
    """All of a sweep that must not depend on what happened to its machines."""

    def of(trial: Trial) -> tuple[Any, ...]:
        return (dict(trial.values), dict(trial.settings), dict(trial.scores), trial.state, trial.kind, trial.rung)

    return {
        "ended": state.ended,
        "best": [trial.number for trial in state.best(len(state.trials))],
        "trials": {number: of(trial) for number, trial in sorted(state.trials.items())},
    }


def check_sweep(place: Place, sweep_id: str) -> SweepState:
    """Nothing is lost and nothing was done twice; returns the state.

    Each step of each trial was recorded once; no trial was ever had by two workers; none is still with anybody.
    """
    state = place.state(sweep_id)
    owners: dict[int, str] = {}
    for event in events(place.entries(sweep_id)):
        match event["event"]:
            case "taken":
                assert event["trial"] not in owners, f"{event} although {owners[event['trial']]} has it"
                owners[event["trial"]] = event["worker"]
            case "reached" | "finished" | "released" | "failed":
                assert owners.pop(event["trial"]) == event["worker"]
    assert owners == {}
    for number, trial in state.trials.items():
        run_id = trial_run_id(sweep_id, number)
        steps = [record["step"] for record in read_metrics(place.store, run_id) if record["kind"] == "train"]
        assert steps == list(range(1, len(steps) + 1)), f"trial {number}: {steps}"
        if trial.state in ("paused", "finished"):
            assert len(steps) == trial.step, f"trial {number} is at {trial.step}: {steps}"
        result = run_result(place.store, run_id)
        assert (result is not None and result["state"] == "succeeded") == (trial.state == "finished")
    return state


def as_flag(setting: str, value: Any) -> str:
    """A drawn setting as a person writes it after ``--set``."""
    return f"{setting}={json.dumps(value)}"

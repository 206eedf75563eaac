"""How long `runner sweep status` takes for a sweep of 10,000 trials: while it runs, and after its end.

    python benchmarks/sweep_status.py [--trials 10000] [--rounds 10]
    python benchmarks/sweep_status.py --trials 60 --rounds 2    # seconds: does it still run?

The sweep is simulated: the real controller writes the real journal for machines that come and go
(`tests/support/sweeping/simulated.py`), and the journal is then put into a folder store in a temporary folder.
Successive halving, rungs at 30, 60 and 120 steps. The sweep under way is as far from its newest snapshot as a reader
can find it.
Times are those of the whole process, start-up included. In the same rounds: `runner --help`, which only starts; and,
where Optuna is installed, what a study of as many trials with the same results costs there: loaded from a file of
Optuna's own journal, and asked for the best trial. Target: less than a second.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from runner.storage.store import Store
from runner.sweeps.definition import Definition, write_definition
from runner.sweeps.journal import SNAPSHOT_EVERY
from runner.sweeps.state import SweepState
from support.fakes.memory_store import MemoryStore
from support.sweeping.definitions import make_definition
from support.sweeping.simulated import Simulation
from support.sweeping.spaces import make_space

RUNGS = (30, 60, 120)
OPTUNA = """
import sys
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="study", storage=JournalStorage(JournalFileBackend(sys.argv[1])))
print(study.best_trial.number, study.best_value, len(study.trials))
"""


def main() -> None:
    """Measure, and print a table and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = MemoryStore()
        ended = simulate(memory, "ended", options.trials)
        under_way = simulate(memory, "under-way", options.trials, share=0.6)
        for info in memory.objects("sweeps/"):
            path = folder / "store" / info.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(memory.get(info.key))
        runner = str(Path(sys.executable).with_name("runner"))
        commands = {
            "status, ended": [runner, "sweep", "status", "ended"],
            "status, under way": [runner, "sweep", "status", "under-way"],
            "status --all": [runner, "sweep", "status", "ended", "--all"],
            "status --json": [runner, "sweep", "status", "ended", "--json"],
            "results --csv": [runner, "sweep", "results", "ended", "--csv"],
            "best": [runner, "sweep", "best", "ended"],
            "runner --help": [runner, "--help"],
        }
        if find_spec("optuna") is not None:
            write_study(folder / "study.log", ended)
            commands["Optuna's journal"] = [sys.executable, "-c", OPTUNA, str(folder / "study.log")]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for command_name, command in commands.items():
                seconds[command_name].append(measure(command, folder))
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(
        f"{len(ended.trials)} trials, {ended.number} entries, {len(ended.workers)} workers came and went; under way: "
    )
    print(f"{under_way.number} entries, {under_way.number % SNAPSHOT_EVERY} of them after the newest snapshot")
    print(f"{'command':<20} {'median s':>9} {'slowest':>9}")
    for name, value in medians.items():
        print(f"{name:<20} {value:>9.3f} {max(seconds[name]):>9.3f}")
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "trials": options.trials,
        "entries": ended.number,
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "slowest_seconds": {name: round(max(taken), 4) for name, taken in seconds.items()},
    }
    print(json.dumps(figures))


def simulate(store: Store, sweep_id: str, trials: int, *, share: float = 1.0) -> SweepState:
    """Simulate a sweep to its end, or until a share of its trials is drawn and the next entry makes a snapshot."""
    space = make_space(
        training__learning_rate={"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3},
        adapter__r={"values": [8, 16, 32]},
        adapter__lora_dropout={"min": 0.0, "max": 0.2},
    )
    definition: Definition = make_definition(
        sweep_id=sweep_id,
        space=space.to_mapping(),
        scheduler="successive_halving",
        rungs=RUNGS[:-1],
        max_steps=RUNGS[-1],
        run_cap=trials,
        recipe={"document": {"name": "swept", "method": "sft", "training": {"max_steps": RUNGS[-1]}}},
    )
    assert write_definition(store, definition)
    simulation = Simulation(store, definition, workers=max(2, trials // 100), mean_life_seconds=3000)
    while share < 1.0:
        simulation.run_once()
        state = simulation.journal.state
        if len(state.trials) >= share * trials and (state.number + 2) % SNAPSHOT_EVERY < 2:
            return state
        if state.ended is not None:
            return state
    return simulation.run()


def write_study(path: Path, state: SweepState) -> None:
    """Write the trials of a sweep as a study in a file of Optuna's journal."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="study", storage=JournalStorage(JournalFileBackend(str(path))))
    distributions = {
        "learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True),
        "r": optuna.distributions.CategoricalDistribution([8, 16, 32]),
        "lora_dropout": optuna.distributions.FloatDistribution(0.0, 0.2),
    }
    for trial in state.trials.values():
        params = {name.rpartition(".")[2]: value for name, value in trial.values.items()}
        results = {RUNGS[rung]: value for rung, value in trial.scores.items() if value is not None}
        finished = trial.state == "finished"
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if finished else TrialState.PRUNED,
                value=trial.value,
                params=params,
                distributions=distributions,
                intermediate_values=results,
            )
        )


def measure(command: list[str], folder: Path) -> float:
    """Return the wall seconds from a command's start to its exit."""
    environment = {**os.environ, "RUNNER_STORE": str(folder / "store"), "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

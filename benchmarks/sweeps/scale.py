"""Seconds of processor for a decision as a sweep grows: 10,000 trials on 1,000 machines that come and go.

    python benchmarks/sweeps/scale.py                                    # minutes
    python benchmarks/sweeps/scale.py --trials 500 --machines 50         # seconds: does it still run?

Simulated time with runner's own controller and journal (`tests/support/sweeping/simulated.py`, which fails if two
machines train one trial at once); the store is a folder in memory. Machines live for 120 steps on average, trials pause
at two rungs of delayed ASHA. Printed is the mean time of `Controller.next_work` in each tenth of the sweep.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from runner.sweeps.controller import Controller
from support.fakes.memory_store import MemoryStore
from support.sweeping.simulated import simulate


def main() -> None:
    """Simulate, check, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    spent: list[float] = []

    class Timed(Controller):
        def next_work(self, *arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return super().next_work(*arguments, **named)
            finally:
                spent.append(time.process_time() - began)

    import support.sweeping.simulated as simulated

    simulated.Controller = Timed  # type: ignore[misc]
    began = time.process_time()
    simulation = simulate(
        MemoryStore(),
        scheduler="asha",
        rungs=(10, 30),
        run_cap=options.trials,
        workers=options.machines,
        mean_life_seconds=120.0,
    )
    state = simulation.journal.state
    assert sorted(state.trials) == list(range(options.trials)), "a trial is missing"
    for number, spans in simulation.steps_trained.items():
        assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])], (
            f"trial {number} was trained twice"
        )
    lost = sum(trial.interruptions for trial in state.trials.values())
    print(f"{len(state.trials)} trials on {options.machines} machines ({len(state.workers)} in all), lost {lost} times")
    print(f"{state.number} entries of the journal, {len(spent)} decisions, {time.process_time() - began:.0f} s in all")
    size = len(spent) // 10
    tenths = [sum(spent[index * size : (index + 1) * size]) / size * 1e6 for index in range(10)]
    print("microseconds a decision, by tenth of the sweep: " + " ".join(f"{tenth:.0f}" for tenth in tenths))
    if options.json:
        print(json.dumps({"tenths": tenths, "lost": lost}))


if __name__ == "__main__":
    main()

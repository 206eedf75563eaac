"""What deciding costs as a sweep grows: the real controller and the real journal, with simulated machines.

    python benchmarks/sweeps/simulation.py [--trials 10000] [--workers 1000] [--scheduler asha]

Machines are preempted: their lives are drawn from an exponential distribution with a mean of 1.4 hours, the shortest
mean of the four zones in the public V100 preemption traces. A step takes ten seconds, and each tenth is a checkpoint.
Prints the processor's milliseconds and the requests to the store for each decision, of the first, the middle
and the last tenth of them, then JSON. The default takes a minute or two; `--trials 300 --workers 40` takes seconds.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from support.fakes.memory_store import MemoryStore
from support.simulated_sweep import Simulation
from support.spaces import make_space
from support.sweeps import make_definition

MEAN_LIFE_SECONDS = 1.4 * 3600


def main() -> None:
    """Simulate a sweep; print what its decisions cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--scheduler", default="asha", choices=["successive_halving", "asha", "hyperband", "stop"])
    options = parser.parse_args()
    requests: list[str] = []
    store = MemoryStore(step=requests.append)
    space = make_space(
        training__learning_rate={"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3},
        adapter__r={"values": [8, 16, 32]},
    )
    definition = make_definition(
        space=space.to_mapping(),
        scheduler=options.scheduler,
        rungs=(30, 60, 120),
        max_steps=360,
        run_cap=options.trials,
        max_cost=1e9,
        max_hours=1e6,
    )
    simulation = Simulation(
        store, definition, workers=options.workers, mean_life_seconds=MEAN_LIFE_SECONDS, step_seconds=10.0
    )
    marks: list[tuple[int, float, int]] = []
    began, decide = time.process_time(), simulation.controller.next_work

    def marked(*arguments: Any, **options: Any) -> Any:
        marks.append((len(marks), time.process_time(), len(requests)))
        return decide(*arguments, **options)

    simulation.controller.next_work = marked  # type: ignore[method-assign]
    state = simulation.run(most_happenings=10**9)
    assert state.ended is not None
    assert not state.running | state.ready
    tenth = len(marks) // 10
    middle = len(marks) // 2
    spans = {
        "first tenth": (marks[0], marks[tenth]),
        "middle tenth": (marks[middle], marks[middle + tenth]),
        "last tenth": (marks[-tenth - 1], marks[-1]),
    }
    figures = {
        name: {
            "milliseconds a decision": 1000 * (end[1] - start[1]) / (end[0] - start[0]),
            "requests a decision": (end[2] - start[2]) / (end[0] - start[0]),
        }
        for name, (start, end) in spans.items()
    }
    lost = sum(trial.interruptions for trial in state.trials.values())
    print(
        f"{len(state.trials)} trials, {len(state.workers)} machines in all, {lost} trials preempted, {state.ended[1]}"
    )
    for name, values in figures.items():
        print(name, *(f"{value:.3f} {unit}" for unit, value in values.items()), sep=", ")
    whole = {"trials": len(state.trials), "events": simulation.events, "decisions": len(marks)}
    print(json.dumps({**whole, "seconds": time.process_time() - began, **figures}))


if __name__ == "__main__":
    main()

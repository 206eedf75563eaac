"""GPU hours until a finished model in the top 1%: runner's rules beside Ray's, Optuna's and W&B's, and random search.

    python benchmarks/sweeps/halving.py                        # 8 tasks x 20 seeds on LCBench: a minute
    python benchmarks/sweeps/halving.py --tasks 1 --seeds 1    # seconds: does it still run?
    python benchmarks/sweeps/halving.py --table quickstart.csv --rungs 30 60 --eta 2     # a table of our own

Events are simulated: workers take a trial, train it to its next rung, tell the loss there and take the next. What
decides is, for runner, the controller that real workers ask (`runner.sweeps.controller`), in whose hands a trial
pauses and goes on; for the others a port of their rule (contenders.py), or Optuna itself, which can only stop a trial.
All have the same rungs and the same eta, and draw the same values at random in the same order. A rule for so many
trials (successive halving, Hyperband) begins anew when its sweep is over.

*GPU* is what all workers have trained until the first trial whose loss at the end is in the best share of the table, in
whole trainings of mean length; *epochs* is the same counted in epochs; *wall* is the time on the clock.
"""

import argparse
import heapq
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contenders import Contender, OptunaPruner, RayAsha, Runner, Segment, WandbHyperband
from tables import Table, lcbench, quickstart

MOST = 3000
"""Whole trainings after which a contender counts as not having found it."""


@dataclass(frozen=True)
class Outcome:
    """What one sweep took, in whole trainings of mean length."""

    gpu: float
    epochs: float
    wall: float


def race(contender: Contender, table: Table, *, workers: int, share: float) -> Outcome:
    """Run workers until a trial has finished among the best."""
    best, last, mean = table.best(share), table.steps[-1], float(table.seconds.mean())
    ties = itertools.count()
    running: dict[str, tuple[float, Segment]] = {}
    heap: list[tuple[float, int, str]] = []
    idle = [f"w{index}" for index in range(workers)]
    now = seconds = epochs = 0.0

    def trained(segment: Segment, since: float) -> tuple[float, float]:
        spent = now - since
        return spent, spent / float(table.seconds[segment.configuration]) * last

    while seconds < MOST * mean:
        waiting = []
        for worker in idle:
            segment = contender.take(worker, now)
            if segment is None:
                waiting.append(worker)
                continue
            length = (segment.end - segment.start) / last * float(table.seconds[segment.configuration])
            running[worker] = now, segment
            heapq.heappush(heap, (now + length, next(ties), worker))
        idle = waiting
        now, _, worker = heapq.heappop(heap)
        while worker not in running:  # it was stopped
            now, _, worker = heapq.heappop(heap)
        since, segment = running.pop(worker)
        spent = trained(segment, since)
        seconds, epochs = seconds + spent[0], epochs + spent[1]
        if segment.end == last and segment.configuration in best:
            for since, other in running.values():
                spent = trained(other, since)
                seconds, epochs = seconds + spent[0], epochs + spent[1]
            return Outcome(seconds / mean, epochs / last, now / mean)
        idle.append(worker)
        stopped = set(contender.report(segment, worker, table.loss(segment.configuration, segment.end), now))
        for worker in [name for name, (_, other) in running.items() if other.trial in stopped]:
            since, segment = running.pop(worker)
            spent = trained(segment, since)
            seconds, epochs = seconds + spent[0], epochs + spent[1]
            heap[:] = [entry for entry in heap if entry[2] != worker]
            heapq.heapify(heap)
            idle.append(worker)
    return Outcome(MOST, MOST, now / mean)


Make = Callable[[Sequence[int], int, int, int], Contender]


def _runner(
    scheduler: str,
    rungs: Sequence[int],
    last: int,
    configurations: int,
    seed: int,
    *,
    eta: float,
    cap: int | None = None,
) -> Contender:
    return Runner(scheduler, rungs, last, configurations, seed, eta=eta, run_cap=cap)  # type: ignore[arg-type]


def contenders(eta: int) -> Mapping[str, Make]:
    """Return how each contender is made, by its name."""
    return {
        "random, to the end": partial(_runner, "none", eta=eta),
        "runner: successive halving of 27": partial(_runner, "successive_halving", eta=eta, cap=27),
        "runner: successive halving of 81": partial(_runner, "successive_halving", eta=eta, cap=81),
        "runner: successive halving of 243": partial(_runner, "successive_halving", eta=eta, cap=243),
        "runner: asha (delayed, promotes)": partial(_runner, "asha", eta=eta),
        "runner: stop": partial(_runner, "stop", eta=eta),
        "runner: hyperband of 81": partial(_runner, "hyperband", eta=eta, cap=81),
        "Ray's ASHA": partial(RayAsha, eta=eta),
        "W&B's hyperband, strict": partial(WandbHyperband, eta=eta),
        "Optuna's SuccessiveHalvingPruner": partial(OptunaPruner, pruner="halving", eta=eta),
        "Optuna's HyperbandPruner": partial(OptunaPruner, pruner="hyperband", eta=eta),
    }


def run_one(
    name: str, table: Table, seed: int, *, rungs: Sequence[int], eta: int, workers: int, share: float
) -> Outcome:
    """Run one contender once."""
    contender = contenders(eta)[name](rungs, table.steps[-1], len(table.losses), seed)
    return race(contender, table, workers=workers, share=share)


def main() -> None:
    """Run all and print a table; with --json the figures of each sweep in a last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a table of quickstart_table.py; LCBench if it is left out")
    parser.add_argument("--rungs", type=int, nargs="+", default=[2, 6, 18])
    parser.add_argument("--eta", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.01, help="which of the finished models are good enough")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", nargs="+", help="contenders whose names begin so")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    tables = (quickstart(options.table) if options.table else lcbench())[: options.tasks]
    names = [name for name in contenders(options.eta) if not options.only or name.startswith(tuple(options.only))]
    cases = [(name, table, seed) for name in names for table in tables for seed in range(options.seeds)]
    one = partial(run_one, rungs=options.rungs, eta=options.eta, workers=options.workers, share=options.share)
    began = time.perf_counter()
    if options.processes > 1:
        with ProcessPoolExecutor(options.processes) as pool:
            outcomes = list(pool.map(one, *zip(*cases, strict=True), chunksize=4))
    else:
        outcomes = [one(*case) for case in cases]

    def of(name: str, table: Table | None = None) -> list[Outcome]:
        return [
            outcome
            for case, outcome in zip(cases, outcomes, strict=True)
            if case[0] == name and (table is None or case[1] is table)
        ]

    size = f"{len(tables)} tasks x {options.seeds} seeds, {options.workers} workers"
    print(f"{size}, rungs {options.rungs} of {tables[0].steps[-1]}, eta {options.eta}, top {options.share:.0%}")
    print(f"{'':36}  {'GPU':>7}  {'median':>7}  {'epochs':>7}  {'wall':>7}  {'never':>5}  by task")
    for name in names:
        got = of(name)
        means = [statistics.fmean(outcome.gpu for outcome in of(name, table)) for table in tables]
        print(
            f"{name:36}  {statistics.fmean(outcome.gpu for outcome in got):7.1f}"
            f"  {statistics.median(outcome.gpu for outcome in got):7.1f}"
            f"  {statistics.fmean(outcome.epochs for outcome in got):7.1f}"
            f"  {statistics.fmean(outcome.wall for outcome in got):7.1f}"
            f"  {sum(outcome.gpu >= MOST for outcome in got):5d}  {' '.join(f'{mean:.1f}' for mean in means)}"
        )
    print(f"simulated in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if options.json:
        print(json.dumps({name: [outcome.gpu for outcome in of(name)] for name in names}))


if __name__ == "__main__":
    main()

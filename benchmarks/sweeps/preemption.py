"""Paid over useful GPU hours of a sweep on spot machines, for several ways to keep what was trained.

    python benchmarks/sweeps/preemption.py --traces spot-traces       # a clone of github.com/skypilot-org/spot-traces
    python benchmarks/sweeps/preemption.py                            # without it: machines as long-lived as those
    python benchmarks/sweeps/preemption.py --days 0.5 --seeds 1       # seconds: does it still run?

Sixteen slots follow the week of preemptions of one V100 in four zones of AWS that SkyPilot's authors recorded (Wu et
al., NSDI 24), each from another moment on. A machine is paid from the moment it is up. It takes `--start-seconds` until
it can train; then it takes trials of one sweep by runner's own controller (delayed ASHA on LCBench's curves, a whole
training of `--hours` on average), each after `--trial-seconds`. When the machine goes, what was not saved is lost, and
the trial is free for any other machine. *Useful* is each step once.

- runner: a checkpoint every 5 minutes (the recipe's default), beside training, in the store `--commit-seconds` later;
  and one at each rung. *With notice*: also one when the machine is announced to go, where that is in time.
- naive: every 30 or 60 minutes, while training waits 6 seconds; and one at each rung.
- a machine for each trial: naive, and each trial from rung to rung has to wait for a machine's start.

Without traces the times that a machine is up are drawn from a log-normal distribution with the zone's median and mean,
and the times that it is not from an exponential one with the mean.
"""

import argparse
import heapq
import itertools
import json
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from contenders import START, Runner
from tables import Table, lcbench

FOLDER = Path("preemption/1-node/aws-04-22-2023")
# Hours that a machine is up (median and mean) and is not (mean), from the traces.
ZONES = {
    "us-east-1c": (0.36, 1.36, 2.88),
    "us-east-1f": (0.34, 1.75, 1.21),
    "us-west-2b": (1.04, 2.87, 0.82),
    "us-west-2c": (0.69, 2.17, 0.82),
}
SLOTS = 16
PARTS = 1000
"""A trial's steps in one epoch of the table."""


@dataclass(frozen=True)
class Policy:
    """How what was trained is kept."""

    name: str
    every_minutes: float
    save_seconds: float
    """How long training waits for one."""
    commit_seconds: float
    """After how long it is safe."""
    notice_seconds: float = 0.0
    """How long before its end a machine says so, and saves; 0: never."""
    machine_each: bool = False
    """Each trial has a machine of its own."""

    def kept(self, seconds: float) -> float:
        """Return for how many seconds of training there is a checkpoint when a machine goes."""
        if self.notice_seconds > self.commit_seconds:
            return max(0.0, seconds - self.notice_seconds)
        period = 60 * self.every_minutes
        return max(0, math.floor((seconds - self.commit_seconds) / period)) * period


def policies(commit_seconds: float) -> list[Policy]:
    """Return all that are compared."""
    return [
        Policy("runner, every 5 minutes", 5, 0.02, commit_seconds),
        Policy("runner, with 120 s notice", 5, 0.02, commit_seconds, notice_seconds=120),
        Policy("runner, with 30 s notice", 5, 0.02, commit_seconds, notice_seconds=30),
        Policy("naive, every 30 minutes", 30, 6, 0),
        Policy("naive, every 60 minutes", 60, 6, 0),
        Policy("a machine each, every 30 minutes", 30, 6, 0, machine_each=True),
    ]


def recorded(path: Path, offset: float) -> Iterator[tuple[float, float]]:
    """Yield when a machine of a trace comes and goes, in seconds, over and over, from a moment on (0 to 1)."""
    trace = json.loads(path.read_text())
    gap, data = trace["metadata"]["gap_seconds"], trace["data"]
    begin = int(offset * len(data))
    up: int | None = None
    for index in itertools.count():
        there = data[(begin + index) % len(data)] > 0
        if there and up is None:
            up = index
        elif not there and up is not None:
            yield up * gap, index * gap
            up = None


def drawn(zone: str, seed: str) -> Iterator[tuple[float, float]]:
    """Yield when a machine comes and goes, in seconds."""
    median, mean, off = ZONES[zone]
    source = random.Random(seed)
    now = 0.0
    while True:
        now += source.expovariate(1 / (off * 3600))
        life = source.lognormvariate(math.log(median), math.sqrt(2 * math.log(mean / median))) * 3600
        yield now, now + life
        now += life


class Sweep(Runner):
    """A sweep whose trials can be lost."""

    def lose(self, number: int, worker: str, step: int, seconds: float) -> None:
        """Give a trial back, trained and saved up to a step."""
        now = START + timedelta(seconds=seconds)
        events = self._controller.released(self._state, number, worker, reason="gone", step=step, seconds=0.0)
        self._write(events, now)


@dataclass
class Hours:
    """What a sweep took, in GPU hours."""

    paid: float = 0.0
    useful: float = 0.0
    machines: int = 0
    lost: float = 0.0
    """Trained and not kept."""
    starting: float = 0.0
    """Of machines and trials."""


def simulate(
    policy: Policy,
    table: Table,
    slots: Sequence[Iterator[tuple[float, float]]],
    *,
    seed: int,
    days: float,
    hours: float,
    start_seconds: float,
    trial_seconds: float,
) -> Hours:
    """Run a sweep on machines that come and go."""
    rungs = [PARTS * step for step in (2, 6, 18)]
    sweep = Sweep("asha", rungs, PARTS * table.steps[-1], len(table.losses), seed)
    scale = hours * 3600 / float(table.seconds.mean())
    end, took = days * 86400, Hours()
    heap = [(next(times), slot) for slot, times in enumerate(slots)]
    queue = [(up, down, slot, f"m{slot}-0", True) for (up, down), slot in heap]
    heapq.heapify(queue)
    names = itertools.count(1)
    reports: dict[str, tuple[object, float]] = {}
    while queue:
        now, down, slot, worker, new = heapq.heappop(queue)
        if now >= end:
            continue
        if new:
            took.machines += 1
            took.paid += min(down, end) - now
        if worker in reports:  # a trial is at its rung
            segment, loss = reports.pop(worker)
            sweep.report(segment, worker, loss, now)  # type: ignore[arg-type]
        starts = trial_seconds + (start_seconds if new or policy.machine_each else 0.0)
        if now + starts >= down:
            took.starting += min(down, end) - now
            up, down = next(slots[slot])
            heapq.heappush(queue, (up, down, slot, f"m{slot}-{next(names)}", True))
            continue
        took.starting += min(starts, end - now)
        work = sweep.take(worker, now)
        assert work is not None, "this rule never lets a worker wait"
        rate = float(table.seconds[work.configuration]) * scale / (PARTS * table.steps[-1])  # seconds a step
        train = (work.end - work.start) * rate
        saves = math.floor(train / (60 * policy.every_minutes)) * policy.save_seconds + policy.save_seconds
        left = max(0.0, end - now - starts)  # until the simulation ends
        if now + starts + train + saves <= down:
            took.useful += min(train, left) / 3600
            reports[worker] = work, table.loss(work.configuration, work.end // PARTS)
            heapq.heappush(queue, (now + starts + train + saves, down, slot, worker, False))
        else:
            trained = down - now - starts
            steps = int(min(policy.kept(trained), train) / rate)
            if down > end:  # what it would lose, it loses later
                took.useful += left / 3600
            else:
                took.useful += steps * rate / 3600
                took.lost += (trained - steps * rate) / 3600
            sweep.lose(work.trial[1], worker, work.start + steps, down)
            up, down = next(slots[slot])
            heapq.heappush(queue, (up, down, slot, f"m{slot}-{next(names)}", True))
    took.paid /= 3600
    took.starting /= 3600
    return took


def main() -> None:
    """Simulate all and print a table; with --json the ratios in a last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, help="a clone of https://github.com/skypilot-org/spot-traces")
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--hours", type=float, default=8.0, help="of a whole training, on average")
    parser.add_argument("--start-seconds", type=float, default=360.0)
    parser.add_argument("--trial-seconds", type=float, default=10.0)
    parser.add_argument("--commit-seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    table = lcbench()[0]

    def slots(seed: int) -> list[Iterator[tuple[float, float]]]:
        zones = list(ZONES)
        if options.traces is None:
            return [drawn(zones[slot % len(zones)], f"{seed}/{slot}") for slot in range(SLOTS)]
        source = random.Random(seed)
        paths = [options.traces / FOLDER / f"{zone}_v100_1.json" for zone in zones]
        return [recorded(paths[slot % len(paths)], source.random()) for slot in range(SLOTS)]

    origin = f"traces of {options.traces.name}" if options.traces else "drawn from the traces' medians and means"
    print(f"{SLOTS} slots, {options.days:g} days, {options.seeds} seeds; machines: {origin}")
    print(f"{'':34}  {'paid/useful':>11}  {'starts':>7}  {'lost':>7}  {'useful h':>9}  {'machines':>9}")
    ratios = {}
    for policy in policies(options.commit_seconds):
        runs = [
            simulate(
                policy,
                table,
                slots(seed),
                seed=seed,
                days=options.days,
                hours=options.hours,
                start_seconds=options.start_seconds,
                trial_seconds=options.trial_seconds,
            )
            for seed in range(options.seeds)
        ]
        paid, useful = sum(run.paid for run in runs), sum(run.useful for run in runs)
        starts, lost = sum(run.starting for run in runs) / paid, sum(run.lost for run in runs) / paid
        ratios[policy.name] = paid / useful
        print(
            f"{policy.name:34}  {paid / useful:11.3f}  {starts:7.1%}  {lost:7.1%}  {useful / len(runs):9.0f}"
            f"  {statistics.fmean(run.machines for run in runs):9.0f}"
        )
    if options.json:
        print(json.dumps(ratios))


if __name__ == "__main__":
    main()

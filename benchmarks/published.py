"""The plan against peaks, times and out-of-memory reports that others have published, in one process.

    python benchmarks/published.py FOLDER            # FOLDER holds points.csv and recipes/
    python benchmarks/published.py FOLDER --rows     # every point

Each point is a recipe with its model's config. A peak is compared with the same kind of figure: allocated without the
context of CUDA and fragmentation, reserved without the context. Beside the errors stand those of constants that were
chosen without the point's source (leave one source out), for the constants that are empirical.
"""

import argparse
import collections
import csv
import itertools
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.fit import memory, throughput
from runner.fit.accelerators import GIB, parse_accelerators
from runner.planning.plan import Row, plan
from runner.planning.prices import Prices
from runner.recipe.recipe import Data, DataSource, Recipe

SLACKS = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Values that are tried for each of the two shares."""
FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Factors that are tried on what arithmetic takes, and on what launches take."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A published measurement, and what is planned for it."""

    facts: Mapping[str, str]
    """The row of points.csv."""
    peak: Row | None
    """The plan of its memory; None if the recipe cannot be planned."""
    time: Row | None
    """The plan with rows of their true length; None if no time was published."""

    @property
    def source(self) -> str:
        """Where it was published."""
        return self.facts["source"].partition("#")[0]

    @property
    def is_plain(self) -> bool:
        """Whether it was trained by transformers, peft and TRL without other kernels."""
        stack = self.facts["kernel_stack"]
        return stack.startswith("plain") or "DeepSpeed" in stack or "liger fused linear CE" in stack

    @property
    def kind(self) -> str:
        """Its class in the table."""
        alone = self.facts["strategy"] not in ("zero2", "zero3") and int(self.facts["gpus"] or 1) == 1
        return self.facts["method"] if alone else f"{self.facts['strategy']} {self.facts['method']}"

    @property
    def ratio(self) -> float | None:
        """The planned peak over the measured one."""
        if self.peak is None or self.peak.fit.memory is None or not self.facts["memory_gib"]:
            return None
        terms = self.peak.fit.memory
        left_out = {"allocated": terms.context + terms.fragmentation, "reserved": terms.context}
        return (terms.gib - left_out.get(self.facts["kind"], 0.0) / GIB) / float(self.facts["memory_gib"])

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """(low, high, measured) seconds of a step."""
        if self.time is None or self.time.time is None:
            return None
        low, high = (hours * 3600 / self.time.time.steps for hours in self.time.time.hours)
        return low, high, float(self.facts["seconds_per_step"])


@dataclass
class Errors:
    """Relative errors of some points."""

    values: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        off = sorted(abs(value) for value in self.values)
        bias, middle, most = statistics.median(self.values), statistics.median(off), off[int(0.9 * (len(off) - 1))]
        return f"{len(off):4} {bias:+7.1%} {middle:7.1%} {most:7.1%}"

    @property
    def score(self) -> float:
        """What is made small: the median error over its target, and the 90th percentile over its own."""
        off = sorted(abs(value) for value in self.values)
        return statistics.median(off) / 0.08 + off[int(0.9 * (len(off) - 1))] / 0.25


def read_points(folder: Path) -> list[Point]:
    """Plan every point of a folder."""
    with (folder / "points.csv").open(newline="") as lines:
        return [_planned(folder / "recipes", facts) for facts in csv.DictReader(lines)]


def _planned(recipes: Path, facts: Mapping[str, str]) -> Point:
    base, whole, timed = (recipes / f"{facts['id']}{ending}.yaml" for ending in ("", "_whole", "_time"))
    peak = _plan(whole if facts["head"] == "whole" and whole.exists() else base, facts)
    time = _plan(timed if timed.exists() else base, facts) if facts["seconds_per_step"] else None
    return Point(facts=facts, peak=peak, time=time)


def _plan(path: Path, facts: Mapping[str, str]) -> Row | None:
    written: dict[str, Any] = json.loads(path.read_text())  # their YAML is JSON
    config = json.loads((path.parent / written["model"]["model_name_or_path"] / "config.json").read_text())
    sources = tuple(DataSource(path=str(each["path"])) for each in written["data"]["train"])
    parts = {name: written[name] for name in ("name", "method", "model", "training")}
    recipe = Recipe(data=Data(train=sources), adapter=written.get("adapter"), **parts)
    if facts["strategy"] == "zero3" and written["model"].get("load_in_4bit"):
        return None  # FSDP; a recipe that shares out 4-bit weights is refused
    found = re.search(r"(\d+) machines", facts["note"])
    nodes = int(found[1]) if found else 1
    wanted = [parse_accelerators(f"{facts['gpu']}:{int(facts['gpus'] or 1) // nodes}")]
    try:
        return plan(recipe, config, Prices(offers=(), source=""), wanted=wanted, nodes=nodes)[0]
    except UserError:
        return None


def _errors(points: Iterable[Point]) -> Errors:
    return Errors([ratio - 1 for point in points if (ratio := point.ratio) is not None])


def _print_memory(points: Sequence[Point]) -> None:
    classes: dict[str, list[Point]] = collections.defaultdict(list)
    for point in points:
        if point.ratio is not None:
            classes["all plain stacks" if point.is_plain else "other stacks"].append(point)
            classes[point.kind].append(point)
    print(f"{'peak':24}    n    bias  median     p90")
    for name, members in sorted(classes.items(), key=lambda item: -len(item[1])):
        print(f"{name:24} {_errors(members)}")
    outcomes = collections.Counter(
        (point.facts["outcome"], "fits" if point.peak.fit.fits else "says no") for point in points if point.peak
    )
    for (outcome, said), count in sorted(outcomes.items()):
        print(f"{outcome:4} -> {said:8} {count}")


def _hold_out_slack(folder: Path) -> None:
    """Print the errors of each source under the slack that is best for all other sources."""
    chosen = memory.SLACK, memory.SLACK_OF_LENGTHS
    tried: dict[tuple[float, float], list[Point]] = {}
    for pair in itertools.product(SLACKS, SLACKS):
        memory.SLACK, memory.SLACK_OF_LENGTHS = pair
        tried[pair] = [point for point in read_points(folder) if point.is_plain and point.ratio is not None]
    memory.SLACK, memory.SLACK_OF_LENGTHS = chosen
    everything = min(tried, key=lambda pair: _errors(tried[pair]).score)
    held: list[Point] = []
    for source in sorted({point.source for point in tried[everything]}):
        best = min(tried, key=lambda pair: _errors(point for point in tried[pair] if point.source != source).score)
        held += [point for point in tried[best] if point.source == source]
    print(f"slack: best for all {everything}, in use {chosen}; each source with the others' best:")
    print(f"{'all plain stacks':24} {_errors(held)}")


def _print_times(points: Sequence[Point]) -> None:
    timed = [seconds for point in points if point.is_plain and (seconds := point.seconds) is not None]
    inside = sum(low <= measured <= high for low, high, measured in timed)
    width = statistics.median(high / low for low, high, _ in timed)
    centre = statistics.median(math.sqrt(low * high) / measured for low, high, measured in timed)
    print(f"time: {len(timed)} points, {inside / len(timed):.0%} in range, width {width:.2f}, centre {centre:.2f}")


def _hold_out_times(folder: Path) -> None:
    """Print how many times lie in their range if arithmetic and launches are scaled to fit all other sources."""
    arithmetic, launches = dict(throughput.ARITHMETIC), dict(throughput.LAUNCH_SECONDS)
    tried: dict[tuple[float, float], list[Point]] = {}
    for pair in itertools.product(FACTORS, FACTORS):
        throughput.ARITHMETIC.update({key: share / pair[0] for key, share in arithmetic.items()})
        throughput.LAUNCH_SECONDS.update({key: seconds * pair[1] for key, seconds in launches.items()})
        tried[pair] = [point for point in read_points(folder) if point.is_plain and point.seconds is not None]
    throughput.ARITHMETIC.update(arithmetic)
    throughput.LAUNCH_SECONDS.update(launches)

    def off(points: Iterable[Point]) -> float:
        ranges = (point.seconds for point in points)
        return statistics.median(abs(math.log(math.sqrt(each[0] * each[1]) / each[2])) for each in ranges if each)

    held: list[Point] = []
    for source in sorted({point.source for point in tried[1.0, 1.0]}):
        best = min(tried, key=lambda pair: off(point for point in tried[pair] if point.source != source))
        held += [point for point in tried[best] if point.source == source]
    print(f"times: best for all {min(tried, key=lambda pair: off(tried[pair]))}; each source with the others' best:")
    _print_times(held)


def main() -> None:
    """Print how far off the plan is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", action="store_true", help="print every point")
    options = parser.parse_args()
    points = read_points(options.folder)
    if options.rows:
        for point in points:
            print(point.facts["id"], point.kind, point.source, point.ratio, point.seconds)
    _print_memory(points)
    _print_times(points)
    _hold_out_slack(options.folder)
    _hold_out_times(options.folder)


if __name__ == "__main__":
    main()

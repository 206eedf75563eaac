"""`stages:` taken apart: each stage as a recipe of its own, with the recipe's other sections as its defaults.

A setting that a stage and the top both have is the stage's, unless the command line says it at the top: what counts is
who said it first, and where only then.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from runner.recipe.loading.aliases import RANK, merge_save_aliases
from runner.recipe.loading.overrides import Layered
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.settings import Source, source_of
from runner.recipe.suggestions import remedy_for_unknown

STAGE_NAME = "^[a-z0-9_]{1,40}$"
"""What names a stage: it stands in the names of checkpoints, before a `-`."""
SECTIONS = ("data", "adapter", "training", "checkpoint", "evaluate")
"""What stands in a stage, or at the top as the default of all."""
SHARED = ("name", "model", "export", "resources")
"""What stands at the top only."""

_KEYS = ("name", "method", *SECTIONS)
_LENGTH = ("max_steps", "num_train_epochs")
"""Two ways to say one thing: a stage that has one of them does not take the other from the top."""


@dataclass(frozen=True)
class Stage:
    """One stage, to be checked as a recipe of its own."""

    name: str
    """What it is called."""
    index: int
    """Its place in the list."""
    layers: Layered
    """The recipe that it comes to."""
    own: frozenset[RecipePath] = field(default_factory=frozenset)
    """The settings that stand in the stage itself, by their first two steps."""

    def explained(self, problems: Iterable[Problem]) -> list[Problem]:
        """What is wrong with the stage, where it was written: in the stage, or at the top."""
        return [self._placed(problem) for problem in problems]

    def _placed(self, problem: Problem) -> Problem:
        path = problem.path
        at_the_top = path[:1] in [(section,) for section in SHARED] or (
            path[:2] not in self.own and path[:1] not in self.own and path[:1] in [(section,) for section in SECTIONS]
        )
        if not at_the_top:
            return replace(problem, path=("stages", self.index, *path))
        if problem.what.startswith("it is a setting of "):
            what = f"{problem.what.partition(', not of ')[0]}, and not of every stage's method"
            return replace(problem, what=what, remedy="write it in the stages that it is for")
        return problem


def split_stages(layers: Layered) -> tuple[list[Stage], list[Problem]]:
    """The stages of a recipe, in order, and what keeps them from being taken apart.

    Args:
        layers: a recipe with `stages`; not changed.
    """
    written = layers.data["stages"]
    if not isinstance(written, list) or not written:
        return [], [Problem(("stages",), f"a list of stages expected, not {show(written)}", "write `[{method: sft}]`")]
    problems = []
    if "method" in layers.data:
        problems.append(
            Problem(("method",), "`stages` is set as well, and each stage has its own", "write it in the stages")
        )
    for index, stage in enumerate(written):
        problems += _malformed(index, stage)
    names = [stage.get("name", stage.get("method")) if isinstance(stage, dict) else None for stage in written]
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            what = f"two stages are called {show(name)}"
            problems.append(Problem(("stages", index), what, "give one of them a `name:` of its own"))
    if problems:
        return [], problems
    tops = Layered({key: value for key, value in layers.data.items() if key != "stages"}, layers.sources, layers.places)
    tops = _copied(tops)
    problems += merge_save_aliases(tops)
    stages, taken = [], set[RecipePath]()
    for index, name in enumerate(names):
        own = _own(layers, index)
        problems += [replace(problem, path=("stages", index, *problem.path)) for problem in merge_save_aliases(own)]
        stage = _merge_stage(tops, own, index, str(name), taken, last=index == len(written) - 1)
        stages.append(stage)
    problems += _never_taken(tops, taken)
    return stages, problems


def unique_problems(problems: Iterable[Problem]) -> Sequence[Problem]:
    """Each problem once: a default of all stages may be wrong in each of them."""
    return list({(problem.path, problem.what): problem for problem in problems}.values())


def _malformed(index: int, stage: Json) -> Iterable[Problem]:
    from runner.recipe.schema import recipe_schema  # here: nothing is read before it is needed

    at: RecipePath = ("stages", index)
    if not isinstance(stage, dict):
        yield Problem(at, f"a mapping expected, not {show(stage)}", "write `{method: …}`")
        return
    for key in stage:
        if key not in _KEYS:
            remedy = remedy_for_unknown((*at, key), _KEYS, recipe_schema())
            yield Problem((*at, key), f"there is no such setting (it is {show(stage[key])})", remedy)
    if "method" not in stage:
        yield Problem(at, "`method` is missing", "write `method: sft`, or another: cpt, dpo, grpo")
    name = stage.get("name")
    if "name" in stage and not (isinstance(name, str) and re.fullmatch(STAGE_NAME[1:-1], name)):
        yield Problem(
            (*at, "name"),
            f"{show(name)} cannot name a stage",
            "write lower-case letters, digits and `_`, at most 40",
        )


def _copied(layers: Layered) -> Layered:
    sections = {key: dict(value) if isinstance(value, dict) else value for key, value in layers.data.items()}
    return Layered(sections, dict(layers.sources), dict(layers.places))


def _own(layers: Layered, index: int) -> Layered:
    """What one stage itself says, with who said it."""
    own = _copied(Layered(layers.data["stages"][index]))
    for path, source in layers.sources.items():
        if path in (("stages",), ("stages", index)):
            own.sources.update({(key,): source for key in own.data})
    for path, source in layers.sources.items():
        if path[:2] == ("stages", index) and len(path) > 2:
            own.sources[path[2:]] = source
            own.places[path[2:]] = layers.places[path]
    return own


def _merge_stage(tops: Layered, own: Layered, index: int, name: str, taken: set[RecipePath], *, last: bool) -> Stage:
    """One stage's recipe. Adds to `taken` what it has from the top."""
    result = Layered({key: tops.data[key] for key in SHARED if key in tops.data and (last or key != "export")})
    result.data["method"] = own.data["method"]
    result.sources.update({path: source for path, source in tops.sources.items() if path[0] in SHARED})
    result.sources.update({path: source for path, source in own.sources.items() if path[0] == "method"})
    mine: set[RecipePath] = {("method",)}
    for section in SECTIONS:
        here, there = own.data.get(section), tops.data.get(section)
        if not (isinstance(here, dict) and isinstance(there, dict)):
            # At most one of them has settings: it is taken as a whole.
            ours = section in own.data and (section not in tops.data or _counts((section,), own, tops))
            if ours or section in tops.data:
                layers = own if ours else tops
                result.data[section] = layers.data[section]
                _take(result, layers, (section,))
                (mine if ours else taken).add((section,))
            if not ours and isinstance(there, dict):
                taken.update((section, key) for key in there)
            continue
        result.data[section] = {}
        dropped = _said_otherwise(section, own, tops)
        for key in dict.fromkeys([*there, *here]):
            path: RecipePath = (section, key)
            if key in dropped:
                continue
            ours = key in here and (key not in there or _counts(path, own, tops))
            result.data[section][key] = (here if ours else there)[key]
            _take(result, own if ours else tops, path)
            (mine if ours else taken).add(path)
    return Stage(name, index, result, frozenset(mine))


def _counts(path: RecipePath, own: Layered, tops: Layered) -> bool:
    """Whether of two values the stage's counts."""
    return RANK[source_of(path, own.sources)] >= RANK[source_of(path, tops.sources)]


def _said_otherwise(section: str, own: Layered, tops: Layered) -> list[str]:
    """The length of training at the top, where the stage says it in its other form."""
    here, there = own.data[section], tops.data[section]
    return [
        key
        for key, other in (_LENGTH, _LENGTH[::-1])
        if section == "training" and key in there and key not in here and other in here
        if RANK[source_of((section, other), own.sources)] >= RANK[source_of((section, key), tops.sources)]
    ]


def _take(result: Layered, layers: Layered, path: RecipePath) -> None:
    """Note down who said what stands at `path` of `layers`, and below it."""
    source: Source = source_of(path, layers.sources)
    result.sources[path] = source
    result.sources.update({below: who for below, who in layers.sources.items() if below[: len(path)] == path})


def _never_taken(tops: Layered, taken: set[RecipePath]) -> Iterable[Problem]:
    for section in SECTIONS:
        settings = tops.data.get(section)
        paths: list[RecipePath] = [(section, key) for key in settings] if isinstance(settings, dict) else []
        for path in paths:
            if path not in taken:
                yield Problem(
                    path,
                    "every stage sets its own, so this one has no effect",
                    "leave it out, or write it in a stage (`--set stages.<name>.…`)",
                )

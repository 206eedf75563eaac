"""Split `stages:`: each stage becomes a recipe of its own, with the recipe's other sections as defaults.

If a stage and the top both have a setting, the source with the higher rank wins, and the stage between equals. So a
stage wins over the top of the recipe, but `--set` at the top wins over a stage in the recipe.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from runner.recipe.loading.aliases import RANK, merge_save_aliases
from runner.recipe.loading.overrides import LayeredRecipe
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.settings import Source, source_of
from runner.recipe.suggestions import remedy_for_unknown

STAGE_NAME = "^[a-z0-9_]{1,40}$"
"""Valid names of stages. Names of checkpoints contain them, before a `-`."""
SECTIONS = ("data", "adapter", "training", "checkpoint", "evaluate")
"""The sections that a stage may have; at the top they are the defaults of all stages."""
SHARED = ("name", "model", "export", "resources", "watchdog", "notify")
"""The sections that only the top may have."""

_KEYS = ("name", "method", *SECTIONS)
_LENGTH = ("max_steps", "num_train_epochs")
"""Two ways to set the length of training: a stage that has one does not inherit the other."""


@dataclass(frozen=True)
class Stage:
    """One stage, to be checked as a recipe of its own."""

    name: str
    """Unique in the recipe."""
    index: int
    """Its index in `stages`."""
    layers: LayeredRecipe
    """Its recipe, with the defaults from the top."""
    own: frozenset[RecipePath] = field(default_factory=frozenset)
    """The settings that the stage itself has: the first two keys of their paths."""

    def relocate_problems(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return the problems with paths of the whole recipe: in the stage, or at the top."""
        return [self._relocate(problem) for problem in problems]

    def _relocate(self, problem: Problem) -> Problem:
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


def split_stages(layers: LayeredRecipe) -> tuple[list[Stage], list[Problem]]:
    """Return the stages of a recipe in order, and problems with `stages` itself.

    Args:
        layers: a recipe with `stages`; not modified.
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
    top = _copy(
        LayeredRecipe(
            {key: value for key, value in layers.data.items() if key != "stages"}, layers.sources, layers.places
        )
    )
    problems += merge_save_aliases(top)
    stages, inherited = [], set[RecipePath]()
    for index, name in enumerate(names):
        own = _own(layers, index)
        problems += [replace(problem, path=("stages", index, *problem.path)) for problem in merge_save_aliases(own)]
        stage = _merge_stage(top, own, index, str(name), inherited, last=index == len(written) - 1)
        stages.append(stage)
    problems += _unused_defaults(top, inherited)
    return stages, problems


def unique_problems(problems: Iterable[Problem]) -> Sequence[Problem]:
    """Return each problem once: a wrong default at the top is a problem in every stage."""
    return list({(problem.path, problem.what): problem for problem in problems}.values())


def _malformed(index: int, stage: Json) -> Iterable[Problem]:
    from runner.recipe.schema import recipe_schema  # not above: reads the schema only if it is needed

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


def _copy(layers: LayeredRecipe) -> LayeredRecipe:
    sections = {key: dict(value) if isinstance(value, dict) else value for key, value in layers.data.items()}
    return LayeredRecipe(sections, dict(layers.sources), dict(layers.places))


def _own(layers: LayeredRecipe, index: int) -> LayeredRecipe:
    """Return what the stage itself sets, with the sources."""
    own = _copy(LayeredRecipe(layers.data["stages"][index]))
    for path, source in layers.sources.items():
        if path in (("stages",), ("stages", index)):
            own.sources.update({(key,): source for key in own.data})
    for path, source in layers.sources.items():
        if path[:2] == ("stages", index) and len(path) > 2:
            own.sources[path[2:]] = source
            own.places[path[2:]] = layers.places[path]
    return own


def _merge_stage(
    top: LayeredRecipe, own: LayeredRecipe, index: int, name: str, inherited: set[RecipePath], *, last: bool
) -> Stage:
    """Return one stage with its defaults. Adds to `inherited` what it has from the top."""
    result = LayeredRecipe({key: top.data[key] for key in SHARED if key in top.data and (last or key != "export")})
    result.data["method"] = own.data["method"]
    result.sources.update({path: source for path, source in top.sources.items() if path[0] in SHARED})
    result.sources.update({path: source for path, source in own.sources.items() if path[0] == "method"})
    own_paths: set[RecipePath] = {("method",)}
    for section in SECTIONS:
        stage_section, top_section = own.data.get(section), top.data.get(section)
        if not (isinstance(stage_section, dict) and isinstance(top_section, dict)):
            # At most one of them is a mapping, so there is nothing to merge: the winner's section is used.
            from_stage = section in own.data and (section not in top.data or _stage_wins((section,), own, top))
            if from_stage or section in top.data:
                layers = own if from_stage else top
                result.data[section] = layers.data[section]
                _copy_sources(result, layers, (section,))
                (own_paths if from_stage else inherited).add((section,))
            if not from_stage and isinstance(top_section, dict):
                inherited.update((section, key) for key in top_section)
            continue
        result.data[section] = {}
        dropped = _replaced_lengths(section, own, top)
        for key in dict.fromkeys([*top_section, *stage_section]):
            path: RecipePath = (section, key)
            if key in dropped:
                continue
            from_stage = key in stage_section and (key not in top_section or _stage_wins(path, own, top))
            result.data[section][key] = (stage_section if from_stage else top_section)[key]
            _copy_sources(result, own if from_stage else top, path)
            (own_paths if from_stage else inherited).add(path)
    return Stage(name, index, result, frozenset(own_paths))


def _stage_wins(path: RecipePath, own: LayeredRecipe, top: LayeredRecipe) -> bool:
    """Whether the stage's value wins over the one at the top."""
    return RANK[source_of(path, own.sources)] >= RANK[source_of(path, top.sources)]


def _replaced_lengths(section: str, own: LayeredRecipe, top: LayeredRecipe) -> list[str]:
    """Return the settings of the training's length at the top that the stage replaces with the other form."""
    stage_section, top_section = own.data[section], top.data[section]
    return [
        key
        for key, other in (_LENGTH, _LENGTH[::-1])
        if section == "training" and key in top_section and key not in stage_section and other in stage_section
        if RANK[source_of((section, other), own.sources)] >= RANK[source_of((section, key), top.sources)]
    ]


def _copy_sources(result: LayeredRecipe, layers: LayeredRecipe, path: RecipePath) -> None:
    """Copy the sources of `path` in `layers`, and below it."""
    source: Source = source_of(path, layers.sources)
    result.sources[path] = source
    result.sources.update({below: who for below, who in layers.sources.items() if below[: len(path)] == path})


def _unused_defaults(top: LayeredRecipe, inherited: set[RecipePath]) -> Iterable[Problem]:
    for section in SECTIONS:
        settings = top.data.get(section)
        paths: list[RecipePath] = [(section, key) for key in settings] if isinstance(settings, dict) else []
        for path in paths:
            if path not in inherited:
                yield Problem(
                    path,
                    "every stage sets its own, so this one has no effect",
                    "leave it out, or write it in a stage (`--set stages.<name>.…`)",
                )

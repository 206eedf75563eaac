"""Give a sweep another space for the trials that are still to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from blake3 import blake3

from runner.control.recipes.warm_start import start_resolver
from runner.control.sweeping.compare import MISSING, differences, value_at
from runner.control.sweeping.find import journal_of
from runner.errors import UserError
from runner.recipe.inputs.references import is_local
from runner.runs.submission.portable import PortableRecipe, portable_recipe
from runner.runs.submission.prepare import prepare
from runner.storage.store import Store
from runner.sweeps.definition import Definition
from runner.sweeps.draws import Draws
from runner.sweeps.events import Changed, Event
from runner.sweeps.space.files import drawn_files, paths_of
from runner.sweeps.space.load import LoadedSweep, load_sweep
from runner.sweeps.space.space import Space
from runner.sweeps.state import SweepState


@dataclass(frozen=True, kw_only=True)
class ChangedSweep:
    """What has changed."""

    lines: Sequence[str]
    """A sentence for each parameter that is another, for the method and the number of trials; empty: nothing."""
    notes: Sequence[str]
    """What is worth knowing besides."""
    state: SweepState
    """The sweep since then."""

    @property
    def needs_resume(self) -> bool:
        """Whether nobody draws trials before the sweep is resumed."""
        stopped = self.state.ended is not None or self.state.stop is not None
        return stopped or all(worker.left_at is not None for worker in self.state.workers.values())


def change_sweep(store: Store, sweep_id: str, file: str, *, cwd: Path) -> ChangedSweep:
    """Draw what is still to be drawn from the space of another file. Trials that were drawn stay what they are.

    Args:
        store: where the sweep lives.
        sweep_id: the sweep.
        file: a sweep's file, or its name.
        cwd: the folder that relative paths begin in.

    Raises:
        UserError: the file is not valid, or belongs to another recipe or metric.
        NotFound, DamagedRecord: the sweep cannot be read.
    """
    loaded = load_sweep(file, cwd=cwd, start=start_resolver(store))
    journal = journal_of(store, sweep_id)
    definition = journal.definition
    _check(definition, loaded)
    _check_files(definition, loaded, cwd)
    space = loaded.space.to_mapping()
    lines: list[str] = []

    def decide(state: SweepState) -> Sequence[Event]:
        _check_number(definition, state, loaded)
        lines[:] = _lines(definition, state, loaded)
        if not lines:
            return []
        event: Changed = {"event": "changed", "space": space}
        if loaded.file.method != (state.method or definition.method):
            event["method"] = loaded.file.method
        if loaded.file.run_cap is not None:
            event["run_cap"] = loaded.file.run_cap
        return [cast(Event, event)]

    journal.append(decide)
    notes = _notes(definition, loaded)
    if lines and not Draws(definition).may_draw(journal.state):
        count = len(journal.state.trials)
        notes.append(f"no other trial will be drawn: there are {count}, and run_cap, or the grid, has no more")
    return ChangedSweep(lines=lines, notes=notes, state=journal.state)


def _check(definition: Definition, loaded: LoadedSweep) -> None:
    """Refuse a file of another sweep.

    Raises:
        UserError: it is one.
    """
    where, metric = str(loaded.path), loaded.metric
    if (metric.name, metric.goal) != (definition.metric, definition.goal):
        raise UserError(
            f"it has the metric {metric.name} ({metric.goal}), and {definition.sweep_id} has {definition.metric} "
            f"({definition.goal}): earlier results could not be compared",
            where=where,
            remedy="launch it as a sweep of its own: `runner sweep launch FILE --from SWEEP` takes the results along",
        )
    if blake3(loaded.recipe.path.read_bytes()).hexdigest() != definition.recipe_digest:
        drawn = _paths(Space.from_mapping(definition.space)) | _paths(loaded.space)
        new = prepare(loaded.recipe).recipe
        path = next(differences(definition.resolved, new, drawn=drawn), None)
        if path is not None:
            shown = [value_at(recipe, path) for recipe in (new, definition.resolved)]
            is_, was = ("nothing" if value is MISSING else repr(value) for value in shown)
            raise UserError(
                f"its recipe is not that of {definition.sweep_id}: {path} is {is_}, and {was} in the sweep",
                where=where,
                remedy="launch it as a sweep of its own, or name the recipe as it was",
            )


def _check_files(definition: Definition, loaded: LoadedSweep, cwd: Path) -> None:
    """Refuse files that only the new file draws: those that travel were copied to the store at the launch.

    Raises:
        UserError: there is one; or a folder whose path is relative, which no worker would find.
    """
    files = portable_recipe(loaded.recipe, drawn=drawn_files(loaded.space), cwd=cwd).files
    for text in files.keys() - definition.recipe.get("files", {}).keys():
        stands_for = files[text]
        if isinstance(stands_for, str) and is_local(stands_for):
            what, remedy = "a relative path, which a worker cannot find", f"write {stands_for}"
        else:
            what = "a local file, and the sweep's files were copied at its launch"
            remedy = "launch it as a sweep of its own, with --from"
        raise UserError(f"parameters: {text} is {what}", where=str(loaded.path), remedy=remedy)


def _check_number(definition: Definition, state: SweepState, loaded: LoadedSweep) -> None:
    cap = next((one for one in (loaded.file.run_cap, state.run_cap, definition.run_cap) if one is not None), None)
    needs = definition.rungs and definition.scheduler in ("successive_halving", "hyperband")
    if needs and cap is None and loaded.file.method != "grid":
        raise UserError(
            f"{definition.scheduler} halves a number of trials that is known",
            where=str(loaded.path),
            remedy="write `run_cap: 27`",
        )


def _paths(space: Space) -> set[str]:
    paths = set()
    for parameter in space.parameters:
        paths.add(parameter.path)
        for value in parameter.distribution.values() or ():
            paths |= set(parameter.settings(value))
    return paths - {""}


def _lines(definition: Definition, state: SweepState, loaded: LoadedSweep) -> list[str]:
    old = Space.from_mapping(definition.space if state.space is None else state.space)
    before = {parameter.name: str(parameter.distribution) for parameter in old.parameters}
    after = {parameter.name: str(parameter.distribution) for parameter in loaded.space.parameters}
    lines = []
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            lines.append(f"{name} is not drawn any more: what the recipe says counts (was {before[name]})")
        elif name not in before:
            lines.append(f"{name} is new: {after[name]}")
        elif before[name] != after[name]:
            lines.append(f"{name}: {after[name]} (was {before[name]})")
    method = state.method or definition.method
    if loaded.file.method != method:
        lines.append(f"method: {loaded.file.method} (was {method})")
    cap = state.run_cap if state.run_cap is not None else definition.run_cap
    if loaded.file.run_cap is not None and loaded.file.run_cap != cap:
        lines.append(f"run_cap: {loaded.file.run_cap} (was {cap})")
    if not lines and loaded.space.to_mapping() != old.to_mapping():
        lines.append("the parameters are written at other places of the recipe")
    return lines


def _notes(definition: Definition, loaded: LoadedSweep) -> list[str]:
    notes = list(loaded.notes)
    rungs = list(loaded.rungs[:-1]) if definition.rungs else []
    if rungs != list(definition.rungs):
        notes.append("rungs stay as they were: trials that have been compared could not be compared with others")
    if loaded.metric.target != definition.target:
        notes.append("metric.target stays as it was")
    portable = PortableRecipe.from_mapping(definition.recipe)
    before, now = (paths_of(portable, [space]) for space in (Space.from_mapping(definition.space), loaded.space))
    if definition.infra == "docker" and (new := sorted({*now} - {*before})):
        notes.append(
            f"workers that run now have no {', '.join(new)} in their container: `runner sweep stop "
            f"{definition.sweep_id}` and then resume starts some that have"
        )
    section = loaded.file.runner
    if section.max_cost not in (None, definition.max_cost) or section.max_hours not in (None, definition.max_hours):
        notes.append(f"the budget stays as it was: `runner sweep resume {definition.sweep_id} --max-cost` changes it")
    return notes

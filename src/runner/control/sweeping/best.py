"""The recipes of a sweep's best trials: as the recipe was written, with the values that were drawn at their places."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.control.sweeping.status import read_sweep
from runner.errors import UserError
from runner.recipe.loading.overrides import apply_overrides
from runner.recipe.loading.strict_yaml import Document
from runner.recipe.recipe import Json
from runner.runs.inputs import fetch_sweep_input
from runner.storage.commit import digest
from runner.storage.store import Store
from runner.sweeps.definition import Definition
from runner.sweeps.layout import trial_run_id
from runner.sweeps.members import Trial
from runner.terminal import printable

_INPUTS = "inputs/"


@dataclass(frozen=True, kw_only=True)
class BestTrial:
    """One of the best trials, with its recipe."""

    place: int
    """Counted from 1."""
    trial: Trial
    run_id: str
    value: float | None
    """The metric at the highest rung that the trial has reached."""
    step: int
    """That rung's step."""
    is_finished: bool
    """Whether it was trained to its end."""
    recipe: Mapping[str, Json]
    """Ready for `runner launch`, where all that it names is on this machine."""
    missing: Sequence[str]
    """Local files that it names and that are not on this machine as they were when the sweep was launched."""

    def as_yaml(self, definition: Definition) -> str:
        """Return the recipe as a file, with a line above it that says where it comes from."""
        import yaml

        value = "" if self.value is None else f", {definition.metric} {self.value:.6g}"
        end = "" if self.is_finished else ", not trained to its end"
        line = printable(f"# Trial {self.trial.number} of sweep {definition.sweep_id}{value} at step {self.step}{end}")
        text: str = yaml.safe_dump(dict(self.recipe), sort_keys=False, allow_unicode=True, width=100)
        return f"{line}\n{text}"


def best_trials(
    store: Store, sweep_id: str, *, top: int = 1, beside: Path | None = None, say: Callable[[str], None]
) -> tuple[Definition, list[BestTrial]]:
    """Return a sweep's definition, and its best trials with their recipes, the best first.

    Args:
        store: where the sweep lives.
        sweep_id: the sweep.
        top: how many.
        beside: a folder that gets the local files that are not on this machine as they were; the recipe names them by
            paths that begin there. None: nothing is fetched.
        say: receives what is worth knowing.

    Raises:
        UserError: no trial has a result yet.
        NotFound, DamagedRecord: the sweep, or a file of it, cannot be read.
    """
    definition, state = read_sweep(store, sweep_id)
    chosen = state.best(top)
    if not chosen:
        raise UserError(
            "no trial has a result yet",
            where=sweep_id,
            remedy=f"`runner sweep status {sweep_id}` shows where it stands",
        )
    files = _Files(store, definition, beside)
    steps = [*definition.rungs, definition.max_steps]
    found = []
    for place, trial in enumerate(chosen, 1):
        rung = max(trial.scores)
        finished = trial.state == "finished"
        recipe, missing = files.located(_written(definition, trial))
        found.append(
            BestTrial(
                place=place,
                trial=trial,
                run_id=trial_run_id(sweep_id, trial.number),
                value=trial.scores[rung],
                step=trial.step if finished else steps[rung] or trial.step,
                is_finished=finished,
                recipe=recipe,
                missing=missing,
            )
        )
    for name in files.fetched:
        say(f"{name} was fetched from the sweep")
    return definition, found


def _written(definition: Definition, trial: Trial) -> dict[str, Json]:
    document = definition.recipe.get("document", definition.recipe)
    return apply_overrides(Document(dict(document)), [], trial.settings).data


class _Files:
    """Finds the local files of a recipe on this machine, or fetches them."""

    def __init__(self, store: Store, definition: Definition, beside: Path | None) -> None:
        self._store = store
        self._definition = definition
        self._beside = beside
        self._known: dict[str, str | None] = {}
        self.fetched: list[str] = []
        """What was fetched, as recipes name it."""

    def located(self, recipe: dict[str, Json]) -> tuple[dict[str, Json], list[str]]:
        """Return the recipe with paths of this machine, and the files that are not there."""
        missing: list[str] = []
        return self._replaced(recipe, missing), list(dict.fromkeys(missing))

    def _replaced(self, value: Any, missing: list[str]) -> Any:
        if isinstance(value, dict):
            return {key: self._replaced(item, missing) for key, item in value.items()}
        if isinstance(value, list):
            return [self._replaced(item, missing) for item in value]
        if not isinstance(value, str) or not value.startswith(_INPUTS):
            return value
        key, colon, function = value.partition(":") if value not in self._definition.paths else (value, "", "")
        path = self._path(key)
        if path is None:
            path = self._definition.paths.get(key, key)
            missing.append(path)
        return f"{path}{colon}{function}"

    def _path(self, key: str) -> str | None:
        if key not in self._known:
            self._known[key] = self._find(key)
        return self._known[key]

    def _find(self, key: str) -> str | None:
        original = self._definition.paths.get(key)
        if original is not None and os.path.isfile(original):  # noqa: PTH113 (it may be anything)
            try:
                if digest(Path(original)) == key.split("/")[1]:
                    return original
            except OSError:
                pass
        if self._beside is None:
            return None
        fetched = fetch_sweep_input(self._store, self._definition.sweep_id, key, self._beside)
        name = f"./{fetched.relative_to(self._beside)}"
        self.fetched.append(name)
        return name

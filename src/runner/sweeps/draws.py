"""What a sweep draws: from which space, how many in all, and what the search is told of those before. Pure."""

from collections.abc import Mapping
from typing import Any

from runner.sweeps.definition import Definition
from runner.sweeps.members import WORST, Trial
from runner.sweeps.search.base import Observation, Search, make_search
from runner.sweeps.space.space import Space
from runner.sweeps.state import SweepState


class Draws:
    """The drawing of one sweep. It remembers nothing but what can be computed again.

    Args:
        definition: what the sweep is.
    """

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._space_of: tuple[Mapping[str, Any], str, Space, Search] | None = None

    def may_draw(self, state: SweepState) -> bool:
        """Whether there may be more trials than there are."""
        cap = self.run_cap(state)
        return cap is None or len(state.trials) < cap

    def run_cap(self, state: SweepState) -> int | None:
        """How many trials there will be at most; None: nobody knows."""
        cap = state.run_cap if state.run_cap is not None else self._definition.run_cap
        if (state.method or self._definition.method) != "grid":
            return cap
        space = self._space(state)[0]
        grid = space.grid()
        size = grid.size if grid is not None else 0
        if state.space is not None:  # what was drawn from another space counts besides
            size += sum(space.quantiles_of(trial.values) is None for trial in state.trials.values())
        if state.known:  # and what is known is not drawn again
            drawn = [trial.values for trial in state.trials.values()]
            known = [one["values"] for one in state.known if space.quantiles_of(one["values"]) is not None]
            size -= sum(values not in drawn and values not in known[:index] for index, values in enumerate(known))
        return size if cap is None else min(cap, size)

    def next_values(self, state: SweepState) -> dict[str, Any] | None:
        """Return the next trial's `values`, with the `settings` and `quantiles` of `Drawn`; None: none is left."""
        space, search = self._space(state)
        drawn = search.draw(len(state.trials), self.observations(state) if search.looks_back else [])
        if drawn is None:
            return None
        fields: dict[str, Any] = {"values": dict(drawn.values)}
        settings = space.settings(drawn.values)
        if settings != fields["values"]:
            fields["settings"] = settings
        if drawn.quantiles:
            fields["quantiles"] = dict(drawn.quantiles)
        return fields

    def observations(self, state: SweepState) -> list[Observation]:
        """What the search is told: each trial with what it reached, and what is known from outside of the sweep."""
        sign = self._definition.sign
        told = [_observation(state, trial, self._definition) for trial in state.trials.values()]
        for index, known in enumerate(state.known):
            value = known.get("value")
            told.append(
                Observation(
                    trial=-1 - index,
                    values=known["values"],
                    quantiles=known.get("quantiles", {}),
                    state="infeasible" if value is None else "complete",
                    step=known.get("step"),
                    value=None if value is None else sign * value,
                )
            )
        return told

    def _space(self, state: SweepState) -> tuple[Space, Search]:
        mapping = self._definition.space if state.space is None else state.space
        method = state.method or self._definition.method
        if self._space_of is None or self._space_of[0] is not mapping or self._space_of[1] != method:
            space = Space.from_mapping(mapping)
            self._space_of = mapping, method, space, make_search(space, method=method, seed=self._definition.seed)
        return self._space_of[2:]


def _observation(state: SweepState, trial: Trial, definition: Definition) -> Observation:
    told: Mapping[str, Any] = {"trial": trial.number, "values": trial.values, "quantiles": trial.quantiles}
    if trial.state == "failed":
        says_something = trial.kind in ("diverged", "out_of_memory")
        return Observation(**told, state="infeasible" if says_something else "failed", step=trial.step)
    if not trial.scores:
        return Observation(**told, state="running")
    steps = [*definition.rungs, definition.max_steps]
    scores = {rung: state.score(value) for rung, value in trial.scores.items()}
    newest = max(scores)
    if scores[newest] == WORST:
        return Observation(**told, state="infeasible", step=steps[newest])
    results = {step: score for rung, score in scores.items() if (step := steps[rung]) is not None and score < WORST}
    return Observation(**told, state="complete", step=steps[newest], value=scores[newest], results=results)

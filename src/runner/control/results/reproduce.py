"""Launch the same training again, and say whether the result is identical; if not, from where on and why."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.control.launching.start import Launched
from runner.control.results.again import AgainOptions, Talk, start_from_record
from runner.control.results.compare import compare
from runner.control.results.comparing.choose import Chosen
from runner.control.results.provenance import Provenance
from runner.control.results.pull import artifact_prefixes
from runner.errors import UserError
from runner.recipe.inputs.references import is_local
from runner.runs.metrics import read_metrics
from runner.runs.record_types.result import MetricRecord
from runner.runs.record_types.run import RunDocument, RunLineage
from runner.runs.records import run_result
from runner.runs.reopened import current_document
from runner.storage.commit import read_manifest
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

_COMPARED = ("loss", "grad_norm", "learning_rate", "eval_loss")
"""Metrics that are computed, not measured by a clock."""
_NOT_COMPARED = ("README.md", "adapter_config.json", "training_args.bin")
"""Files that name the run, its folders or the time."""
_NO_MODELS = ("wandb", "tensorboard", "trackio", "mlflow", "hub")
"""Beginnings of the names of artifacts that record a run and are not made of its weights."""


@dataclass(frozen=True, kw_only=True)
class FirstDifference:
    """Where two curves part."""

    stage: str
    """The stage."""
    step: int
    """Its step."""
    metric: str
    """What differs there first."""
    values: tuple[float | None, float | None]
    """The values, in the order of the runs; None: it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Whether two runs are one training with one result."""

    run_ids: tuple[str, str]
    """The run, and the one that is to equal it."""
    losses: int
    """Steps whose numbers were compared."""
    first: FirstDifference | None
    """Where the curves part; None: nowhere."""
    artifacts: Mapping[str, str]
    """``identical``, ``different`` or ``missing``, by name."""
    states: tuple[str | None, str | None]
    """How they ended; None: not yet."""
    differences: Mapping[str, Mapping[str, tuple[Any, Any]]] = field(default_factory=dict)
    """What they were made with that is not the same: by group (settings, data, code, libraries, hardware) and name."""

    @property
    def identical(self) -> bool:
        """Whether every number and every file is the same."""
        same = all(verdict == "identical" for verdict in self.artifacts.values())
        return self.first is None and same and self.states[0] == self.states[1] is not None

    def as_json(self) -> dict[str, Any]:
        """The same as ``runner reproduce --json`` prints it."""
        first = self.first
        return {
            "identical": self.identical,
            "run_id": self.run_ids[0],
            "reproduced_by": self.run_ids[1],
            "states": list(self.states),
            "steps_compared": self.losses,
            "first_difference": first
            and {"stage": first.stage, "step": first.step, "metric": first.metric, "values": list(first.values)},
            "artifacts": dict(self.artifacts),
            "differences": {
                group: {name: list(pair) for name, pair in found.items()} for group, found in self.differences.items()
            },
        }

    def sentences(self) -> list[str]:
        """The same for people."""
        one, other = self.run_ids
        files = ", ".join(f"{name} {verdict}" for name, verdict in self.artifacts.items()) or "no artifacts"
        if self.identical:
            return [f"identical: {other} has the numbers of {one} at each of {self.losses} steps, bit for bit; {files}"]
        lines = []
        if self.first is not None:
            first = self.first
            old, new = ("none" if value is None else repr(value) for value in first.values)
            lines.append(f"different from step {first.step} of {first.stage} on: {first.metric} is {new}, not {old}")
        else:
            lines.append(f"different: the numbers of {self.losses} steps are the same, bit for bit")
        lines.append(f"artifacts: {files}")
        if self.states[0] != self.states[1]:
            lines.append(f"{one} has {self.states[0] or 'not ended'}, {other} has {self.states[1] or 'not ended'}")
        for group, found in self.differences.items():
            for name, (before, after) in found.items():
                lines.append(f"{group}: {name} was {_shown(before)}, is {_shown(after)}")
        if not self.differences:
            lines.append("nothing recorded of them differs: neither settings, data, code, libraries nor hardware")
        return lines


def reproduce(store: Store, run_id: str, options: AgainOptions, *, talk: Talk) -> Launched:
    """Launch a run's training again from its record; the recipe's file is not needed.

    Names on the hub are pinned to the commits that the run found.

    Args:
        store: where the run lives.
        run_id: the run.
        options: where the new run runs; what is left open is as it was.
        talk: how to speak with the person.

    Raises:
        UserError: the run has not ended, or cannot run there.
        Damaged: a record or a file of the run cannot be trusted.
    """
    source = current_document(store, run_id)
    if run_result(store, run_id) is None:
        remedy = f"wait for it with `runner wait {run_id}`, or go on with it with `runner resume {run_id}`"
        raise UserError("the run has not ended: there is nothing to compare with", where=run_id, remedy=remedy)
    lineage: RunLineage = {"kind": "reproduce", "run_id": run_id}
    before = source.get("lineage")
    if before is not None and before["kind"] != "reproduce":
        lineage = {**before, "reproduces": run_id}
    recipe = _pinned(source, Provenance(store, run_id), talk)
    return start_from_record(
        store,
        source,
        recipe=recipe,
        settings=source.get("settings", {}),
        digest=source.get("digest"),
        lineage=lineage,
        options=options,
        talk=talk,
    )


def compare_reproduction(store: Store, run_id: str, other_id: str) -> Reproduction:
    """Compare two runs that should be one training: their numbers, their artifacts, and what they were made with.

    Args:
        store: where both live.
        run_id: the run.
        other_id: the one that is to equal it.

    Raises:
        Damaged: a record cannot be trusted.
    """
    first, steps = _first_difference(read_metrics(store, run_id), read_metrics(store, other_id))
    results = [run_result(store, one) for one in (run_id, other_id)]
    files = [
        {
            name: _files(store, prefix)
            for name, prefix in artifact_prefixes(store, one, result).items()
            if not name.startswith(_NO_MODELS) and "/export-" not in prefix
        }
        for one, result in zip((run_id, other_id), results, strict=True)
    ]
    artifacts = {}
    for name in dict.fromkeys([*files[0], *files[1]]):
        here, there = files[0].get(name), files[1].get(name)
        artifacts[name] = "missing" if here is None or there is None else "identical" if here == there else "different"
    states = tuple(None if result is None else result["state"] for result in results)
    return Reproduction(
        run_ids=(run_id, other_id),
        losses=steps,
        first=first,
        artifacts=artifacts,
        states=(states[0], states[1]),
        differences=_differences(store, run_id, other_id),
    )


def _first_difference(ours: list[MetricRecord], theirs: list[MetricRecord]) -> tuple[FirstDifference | None, int]:
    """Return where two curves part, and how many steps of training were compared before."""
    tables = [_by_position(ours), _by_position(theirs)]
    steps = 0
    for at in dict.fromkeys([*tables[0], *tables[1]]):
        here, there = tables[0].get(at, {}), tables[1].get(at, {})
        for metric in _COMPARED:
            if here.get(metric) != there.get(metric):
                values = (here.get(metric), there.get(metric))
                return FirstDifference(stage=at[0], step=at[2], metric=metric, values=values), steps
        steps += at[1] == "train"
    return None, steps


def _by_position(records: list[MetricRecord]) -> dict[tuple[str, str, int, str], Mapping[str, Any]]:
    return {
        (one["stage"], one["kind"], one["step"], str(one.get("phase", ""))): one  # the same order in both runs
        for one in records
        if one["kind"] == "train" or one.get("phase") != "before"
    }


def _files(store: Store, prefix: str) -> dict[str, str] | None:
    try:
        manifest = read_manifest(store, prefix)
    except (NotFound, Damaged):
        return None
    return {file.name: file.blake3 for file in manifest.files if file.name.rpartition("/")[2] not in _NOT_COMPARED}


def _differences(store: Store, run_id: str, other_id: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    chosen = Chosen(run_ids=[run_id, other_id], sweeps={}, left_out={})
    comparison = compare(store, chosen, on_damaged=lambda one, error: None)
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    groups = {"settings": comparison.settings, **comparison.others}
    for group, differences in groups.items():
        for one in differences:
            pair = one.values.get(run_id), one.values.get(other_id)
            if one.name.endswith(("revision", "model_revision")) and group != "code" and None in pair:
                continue  # pinned to what the run found
            found.setdefault(group, {})[one.name] = pair
    return found


def _pinned(source: RunDocument, provenance: Provenance, talk: Talk) -> dict[str, Any]:
    """Return a run's recipe, with names on the hub pinned to the commits that it found."""
    recipe: dict[str, Any] = copy.deepcopy(dict(source["recipe"]))
    for stage_name, section, index, commit in provenance.pins():
        for stage in [recipe, *(recipe.get("stages") or [])]:
            if (stage.get("stage") or stage["method"]) != stage_name and not (index is None and stage is recipe):
                continue
            if index is None:
                model = stage["model"]
                name = str(model["model_name_or_path"])
                if not is_local(name) and not name.startswith("builtin:"):
                    model["model_revision"] = commit
                continue
            entries = stage["data"][section[1]]
            if index < len(entries) and not entries[index]["path"].startswith(("inputs/", "builtin:", "/")):
                entries[index]["revision"] = commit
                talk.say(f"{entries[index]['path']} is read as it was: {commit}")
    return recipe


def _shown(value: object) -> str:
    return "not there" if value is None else str(value)

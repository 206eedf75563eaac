"""Gather runs to compare them: those that names, patterns and sweeps stand for, with all that is known of each."""

import dataclasses
import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.control.results.provenance import Provenance
from runner.control.sweeping.find import find_sweep
from runner.control.sweeping.results import sorted_rows, sweep_overview
from runner.errors import UserError
from runner.reports.comparison import ComparedRun, Comparison, compare_runs, flat_settings, rows
from runner.runs.layout import RUN, RUNS, attempt_key, is_run_id, run_key
from runner.runs.listing import LAST, find_run, list_runs
from runner.runs.metrics import read_metrics
from runner.runs.record_types.attempt import HardwareRecord
from runner.runs.record_types.result import MetricRecord, Result
from runner.runs.record_types.run import RunDocument
from runner.runs.records import exists, find_hint, numbered_records, run_document, run_result
from runner.runs.status import RunStatus, run_status
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import Definition
from runner.sweeps.layout import SWEEP, is_sweep_id, sweep_key
from runner.sweeps.views.overview import Overview, TrialRow

MOST = 20
"""Runs that a pattern or a sweep stands for, unless all are asked for."""

_READERS = 16
_HARDWARE = "hardware-"

OnDamaged = Callable[[str, Damaged], None]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The runs that the words of a command line stand for."""

    run_ids: Sequence[str]
    """Each once, in the order of the words."""
    sweeps: Mapping[str, Overview]
    """The sweeps that were read on the way."""
    left_out: Mapping[str, int]
    """How many more runs each word stands for."""


def choose_runs(store: Store, words: Sequence[str], *, everything: bool = False, on_damaged: OnDamaged) -> Chosen:
    """Return the runs that words stand for.

    Args:
        store: where the runs live.
        words: each a run's id, its beginning or end, ``last``, a pattern (``quickstart-*``), or a sweep, whose trials
            come the best first.
        everything: whether patterns and sweeps stand for all of their runs, not for `MOST`.
        on_damaged: called with the id and the error of a run that fits a pattern and cannot be read.

    Raises:
        UserError: a word stands for nothing.
        Damaged: a sweep cannot be read.
    """
    run_ids: dict[str, None] = {}
    sweeps: dict[str, Overview] = {}
    left_out = {}
    for word in words:
        found = _fitting(store, word, sweeps, on_damaged)
        cut = len(found) if everything else MOST
        run_ids |= dict.fromkeys(found[:cut])
        if len(found) > cut:
            left_out[word] = len(found) - cut
    return Chosen(run_ids=list(run_ids), sweeps=sweeps, left_out=left_out)


def compare(store: Store, chosen: Chosen, *, sort: str | None = None, on_damaged: OnDamaged) -> Comparison:
    """Read runs and compare them.

    Args:
        store: where the runs live.
        chosen: which.
        sort: the column of `runner.reports.comparison.rows` that orders them, downwards with ``-`` before it.
        on_damaged: called with the id and the error of each run that cannot be read (it is left out), or whose metrics
            cannot (it is there without curves).

    Raises:
        UserError: there is no such column.
        Damaged: no run can be read.
    """
    errors: list[Damaged] = []

    def read(run_id: str) -> ComparedRun | Damaged | None:
        problems: list[Damaged] = []
        try:
            run = _read_run(store, run_id, problems.append)
        except NotFound:
            return None
        except Damaged as error:
            return error
        for problem in problems:
            on_damaged(run_id, problem)
        return run

    runs = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="compare") as readers:
        for run_id, found in zip(chosen.run_ids, readers.map(read, chosen.run_ids), strict=True):
            if isinstance(found, Damaged):
                errors.append(found)
                on_damaged(run_id, found)
            elif found is not None:
                runs.append(found)
    if not runs and errors:
        raise errors[0]
    if not runs:
        raise UserError("none of these runs is in the store", where=store.url, remedy="`runner ps --all` lists them")
    sweeps = _sweeps_of(store, runs, chosen.sweeps)
    runs = [_with_sweep(run, sweeps.get(run.sweep_id or "")) for run in runs]
    definition = _common(runs, sweeps)
    metric = definition.metric if definition else None
    maximize = definition is not None and definition.goal == "maximize"
    if definition is None:
        metric, maximize = _tracked(runs)
    comparison = compare_runs(runs, metric=metric, maximize=maximize)
    if sort is None:
        return comparison
    order = [row["run_id"] for row in sorted_rows(rows(comparison), sort)]
    return dataclasses.replace(comparison, runs=sorted(runs, key=lambda run: order.index(run.run_id)))


# -- which runs ----------------------------------------------------------------------------------------------------


def _fitting(store: Store, word: str, sweeps: dict[str, Overview], on_damaged: OnDamaged) -> list[str]:
    if word == LAST or (is_run_id(word) and exists(store, run_key(word, RUN))):
        return [find_run(store, word)]
    if any(letter in word for letter in "*?["):
        return _of_pattern(store, word, on_damaged)
    if is_sweep_id(word) and exists(store, sweep_key(word, SWEEP)):
        return _trials(store, word, sweeps)
    try:
        return [find_run(store, word)]
    except UserError as error:
        try:
            sweep_id = find_sweep(store, word)
        except UserError:
            raise error from None
        return _trials(store, sweep_id, sweeps)


def _of_pattern(store: Store, pattern: str, on_damaged: OnDamaged) -> list[str]:
    def note(run_id: str, error: Damaged) -> None:
        if fnmatch.fnmatchcase(run_id, pattern):
            on_damaged(run_id, error)

    found = [
        run.run_id for run in list_runs(store, on_damaged=note) if fnmatch.fnmatchcase(run.run_id, pattern)
    ]  # the newest first
    if not found:
        raise UserError(f"no run fits {pattern!r}", where=store.url, remedy="`runner ps --all` lists every run")
    return found


def _trials(store: Store, sweep_id: str, sweeps: dict[str, Overview]) -> list[str]:
    sweeps[sweep_id] = overview = sweep_overview(store, sweep_id)
    there = {run_id for run_id in store.folders(RUNS) if run_id.startswith(sweep_id)}
    found = [row.run_id for row in overview.trials if row.run_id in there]
    if not found:
        remedy = f"`runner sweep status {sweep_id}` says where it stands"
        raise UserError(f"no trial of the sweep {sweep_id} has begun", where=store.url, remedy=remedy)
    return found


# -- one run -------------------------------------------------------------------------------------------------------


def _read_run(store: Store, run_id: str, on_problem: Callable[[Damaged], None]) -> ComparedRun:
    status = run_status(store, run_id)
    document = run_document(store, run_id)
    result: Result | dict[str, Any] = run_result(store, run_id) or {}
    records: list[MetricRecord] = []
    try:
        records = read_metrics(store, run_id)
    except Damaged as error:
        on_problem(error)
    last_stage = [record for record in records if record["stage"] == records[-1]["stage"]]
    measured, before, not_finite = _measured(last_stage, result)
    trained = [record for record in last_stage if record["kind"] == "train"]
    evaluated = [record for record in last_stage if record["kind"] == "eval" and "eval_loss" in record]
    trial = document.get("sweep")
    dropped = result.get("dropped_rows")
    settings = flat_settings(document["recipe"], document.get("settings", {}))
    return ComparedRun(
        status=status if status.step is not None or not trained else dataclasses.replace(status, step=_step(trained)),
        settings=settings,
        drawn={name: settings[name] for name in _drawn(document) if name in settings},
        sweep_id=trial["sweep_id"] if trial else None,
        trial=trial["trial"] if trial else None,
        digest=document.get("digest"),
        facts=_facts(document, status, result, _hardware(store, run_id, result), Provenance(store, run_id)),
        loss=status.loss if status.loss is not None and not trained else _newest(trained, "loss"),
        not_finite=not_finite,
        measured=measured,
        before=before,
        best=result.get("best"),
        seconds=_seconds(status),
        dollars=status.cost,
        dropped_rows=sum(one["rows"] for one in dropped) if dropped is not None else None,
        losses=[(record["step"], record.get("loss")) for record in trained if "loss" in record],
        eval_losses=[(_place(record, trained), record.get("eval_loss")) for record in evaluated],
    )


def _drawn(document: RunDocument) -> list[str]:
    """The dotted names of the settings that a sweep has drawn."""
    settings = document.get("settings", {})
    names = [name for name, it in settings.items() if isinstance(it, Mapping) and it.get("source") == "sweep"]
    return [*names, *document.get("sweep", {}).get("parameters", {})]


def _measured(
    records: Sequence[MetricRecord], result: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float], dict[str, str]]:
    """The newest values of the metrics of evaluations, those before training, and those that are not finite."""
    measured: dict[str, float] = {}
    before: dict[str, float] = {}
    not_finite: dict[str, str] = {}
    for record in records:
        words = record.get("not_finite", {})
        for name in (name for name in record if name in words or record["kind"] == "train"):
            if name in words:
                not_finite[name] = words[name]
            else:
                not_finite.pop(name, None)
        if record["kind"] == "eval":
            target = before if record.get("phase") == "before" else measured
            for name, value in _numbers(record).items():
                target[name] = value
                not_finite.pop(name, None)
            for name in words:
                target.pop(name, None)
    before |= _numbers(result.get("before") or {})
    for name, value in (result.get("after") or {}).items():
        if value is None:
            measured.pop(name, None)
            not_finite.setdefault(name, "not finite")
    return measured | _numbers(result.get("after") or {}), before, not_finite


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    no_metrics = ("step", "time")
    return {
        name: value
        for name, value in values.items()
        if type(value) in (int, float) and math.isfinite(value) and name not in no_metrics
    }


def _newest(records: Sequence[MetricRecord], name: str) -> float | None:
    values: list[Any] = [record[name] for record in records if name in record]  # type: ignore[literal-required]
    return values[-1] if values else None


def _step(trained: Sequence[MetricRecord]) -> int:
    return trained[-1]["step"]


def _place(record: MetricRecord, trained: Sequence[MetricRecord]) -> int:
    """The step that an evaluation is drawn at: what is measured after training, at its end."""
    after = record.get("phase") == "after" and trained
    return max(record["step"], trained[-1]["step"]) if after else record["step"]


def _hardware(store: Store, run_id: str, result: Mapping[str, Any]) -> list[HardwareRecord]:
    """What the run's attempts were computed with, each kind once, oldest first."""
    numbers = numbered_records(store, run_key(run_id, "attempts/"))
    keys = [
        attempt_key(run_id, number, kind)
        for number, kinds in numbers.items()
        for kind in sorted(kinds)
        if kind.startswith(_HARDWARE)
    ]
    found = [record for record in (find_hint(store, key, HardwareRecord) for key in keys) if record is not None]
    return found or ([result["hardware"]] if result.get("hardware") else [])


def _facts(
    document: RunDocument,
    status: RunStatus,
    result: Mapping[str, Any],
    hardware: Sequence[HardwareRecord],
    provenance: Provenance,
) -> dict[str, dict[str, Any]]:
    """What else may differ. What is not known of a run is left out."""

    def each(name: str) -> str | None:
        values = dict.fromkeys(_text(record.get(name)) for record in hardware)
        return ", ".join(values) or None

    dropped = [
        f"{one['entry']}: {one['rows']} of {one['of']} {one['reason']}" for one in result.get("dropped_rows") or []
    ]
    gpus = " or ".join(f"{name}:{count:g}" for name, count in (status.accelerators or {}).items())
    kernels = ("precision", "weights", "quantization", "attn_implementation", "optim", "use_liger_kernel")
    batches = ("packing", "padding_free", "per_device_train_batch_size", "gradient_accumulation_steps")
    named = (*kernels, *batches, "compute_capability")
    facts: dict[str, dict[str, Any]] = {
        "data": {"dropped rows": "; ".join(dropped) or None, **provenance.data()},
        "code": {
            "git revision": document.get("git_revision"),
            "uncommitted changes": code.get("diff_key") if (code := document.get("code")) else None,
            "runner": document.get("runner_version"),
            "replaced files": len(result.get("replaced") or []) or None,
        },
        "libraries": {"torch": each("torch"), **provenance.libraries(), "image": document.get("image")},
        "hardware": {
            "infra": status.infra,
            "accelerators": gpus or None,
            "device": each("device"),
            **provenance.hardware(),
            **({name: each(name) for name in named} if hardware else {}),
        },
    }
    return {
        group: {name: value for name, value in values.items() if value is not None} for group, values in facts.items()
    }


def _text(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _seconds(status: RunStatus) -> float | None:
    try:
        began, ended = datetime.fromisoformat(status.created_at), datetime.fromisoformat(status.ended_at or "")
        return (ended - began).total_seconds()
    except (ValueError, TypeError):
        return None


# -- their sweeps --------------------------------------------------------------------------------------------------


def _sweeps_of(store: Store, runs: Sequence[ComparedRun], known: Mapping[str, Overview]) -> dict[str, Overview]:
    """The sweeps of trials; one that cannot be read is left out: its trials are runs all the same."""
    sweeps = dict(known)
    for sweep_id in dict.fromkeys(run.sweep_id for run in runs if run.sweep_id):
        if sweep_id not in sweeps:
            try:
                sweeps[sweep_id] = sweep_overview(store, sweep_id)
            except (NotFound, Damaged):
                continue
    return sweeps


def _with_sweep(run: ComparedRun, overview: Overview | None) -> ComparedRun:
    """The run with what its sweep's journal knows: what it took and cost, and its metric."""
    row: TrialRow | None = None
    if overview is not None:
        row = next((row for row in overview.trials if row.run_id == run.run_id), None)
    if overview is None or row is None:
        return run
    trial, metric = row.trial, overview.definition.metric
    measured = dict(run.measured)
    if trial.value is not None and metric not in measured:
        measured[metric] = trial.value
    names = [*trial.settings, *trial.values, *run.drawn]
    return dataclasses.replace(
        run,
        drawn={name: run.settings[name] for name in dict.fromkeys(names) if name in run.settings},
        measured=measured,
        seconds=trial.seconds or run.seconds,
        dollars=trial.cost or run.dollars,
    )


def _tracked(runs: Sequence[ComparedRun]) -> tuple[str | None, bool]:
    """The metric by which each run's recipe says which model is best, if all say the same and have it; else None.

    Returns:
        The metric's name, and whether more of it is better.
    """
    last = ("training.metric_for_best_model", "training.greater_is_better")
    found = {tuple(next(_values(run.settings, name), None) for name in last) for run in runs}
    written, greater = next(iter(found))
    if len(found) > 1 or not isinstance(written, str):
        return None, False
    names = [name for name in (f"eval_{written.removeprefix('eval_')}", written) if _all_have(runs, name)]
    if not names:
        return None, False
    return names[0], greater if isinstance(greater, bool) else not written.endswith("loss")


def _values(settings: Mapping[str, Any], name: str) -> Iterator[Any]:
    """Yield a setting's values, of the last stage first."""
    yield from (value for key, value in reversed(list(settings.items())) if key == name or key.endswith(f".{name}"))


def _all_have(runs: Sequence[ComparedRun], metric: str) -> bool:
    return all(run.value(metric) is not None for run in runs)


def _common(runs: Sequence[ComparedRun], sweeps: Mapping[str, Overview]) -> Definition | None:
    """The definition of the sweep that all runs are of."""
    of = {run.sweep_id for run in runs}
    overview = sweeps.get(next(iter(of)) or "") if len(of) == 1 else None
    return overview.definition if overview else None

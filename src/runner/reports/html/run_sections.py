"""Sections of the report of a single run: what it learnt, from what, where, for how much, and how to repeat it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from runner.redaction import is_secret_name
from runner.reports.html.details import RunDetails
from runner.reports.html.markup import Content, Markup, table, tag
from runner.reports.summary import measured_rows
from runner.reports.tables import duration, number
from runner.runs.measured.spending import in_dollars

_DEFAULT = "default"


def section(title: str, *content: Content) -> Markup:
    """Return a part of the page with its title."""
    return tag("section", tag("h2", title), content)


def measurements(details: RunDetails) -> Content:
    """What was measured before training and after it, for each stage of several."""
    result, run = details.result, details.run
    parts: list[Content] = []
    for title, measured in _stages(result):
        before = measured.get("before") or (run.before if measured is result else {})
        after = measured.get("after") or (run.measured if measured is result else {})
        cells = measured_rows(before, after)
        if cells:
            caption = "What was measured before training and after it" + (f", in the stage {title}" if title else "")
            parts.append(table(caption, ["", "before", "after", "change"], cells, right=(1, 2, 3)))
    return section("Before and after", parts) if parts else None


def generations(details: RunDetails) -> Content:
    """Completions of the same prompts before training and after it, side by side."""
    parts: list[Content] = []
    for title, measured in _stages(details.result):
        cells = [(one["prompt"], one["before"], one["after"]) for one in measured.get("generations") or ()]
        if not cells and measured is details.result:
            cells = list(_recorded_generations(details))
        if cells:
            caption = "What the model makes of each prompt" + (f", in the stage {title}" if title else "")
            parts.append(table(caption, ["prompt", "before", "after"], cells, even=True))
    return section("Generations", parts) if parts else None


def settings(details: RunDetails) -> Content:
    """Each setting with where it came from: first what somebody wrote or chose, then the defaults, folded."""
    known = {
        name: setting
        for name, setting in (details.document.get("settings") or {}).items()
        if isinstance(setting, Mapping) and "value" in setting
    }
    if not known:  # an older run
        cells = [(name, _setting(name, value)) for name, value in details.run.settings.items()]
        return section("Settings", table("Each setting and its value", ["setting", "value"], cells)) if cells else None
    written: list[tuple[str, str, str]] = []
    defaults: list[tuple[str, str, str]] = []
    for name, setting in known.items():
        source = str(setting.get("source", "-"))
        value = _setting(name, details.run.settings.get(name, setting["value"]))
        (defaults if source == _DEFAULT else written).append((name, value, source))
    headers = ["setting", "value", "from"]
    parts: list[Content] = [table("Settings that are not defaults", headers, written)] if written else []
    if defaults:
        folded = table("Settings that are defaults", headers[:2], [row[:2] for row in defaults])
        parts.append(tag("details", tag("summary", f"{len(defaults)} defaults"), folded))
    return section("Settings", parts)


def data(details: RunDetails) -> Content:
    """How many rows were trained on, which were dropped and why, and what the data was."""
    result = details.result
    facts = [("rows trained on", result.get("rows_used")), ("tokens trained on", result.get("tokens"))]
    if "rows_dropped" in result or "dropped_rows" in result:
        dropped_rows = result.get("dropped_rows") or []
        facts.append(("rows dropped", result.get("rows_dropped", sum(one["rows"] for one in dropped_rows))))
    facts += [
        (name, value)
        for name, value in details.run.facts.get("data", {}).items()
        if name != "dropped rows"  # the table has them
    ]
    cells = [
        (name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in facts if value is not None
    ]
    parts: list[Content] = [table("Rows, and what they were", ["", "value"], cells)] if cells else []
    if result.get("dropped_rows"):
        dropped = [
            (one["entry"], one["reason"], str(one["rows"]), str(one["of"]), str(one["first"]))
            for one in result["dropped_rows"]
        ]
        headers = ["entry", "why", "rows", "of", "first"]
        parts.append(table("Rows that were dropped, and why", headers, dropped, right=(2, 3, 4)))
    return section("Data", parts) if parts else None


def time_and_cost(details: RunDetails) -> Content:
    """Time and dollars of each attempt, and how each ended."""
    spending = details.spending
    known = {attempt.number: attempt for attempt in details.attempts}
    cells = []
    for spent in spending.attempts:
        attempt = known.get(spent.number)
        began_from, reason = "-", "-"
        if attempt is not None:
            restored = attempt.restored
            began_from = "the beginning" if restored is None else f"{restored.stage}, step {restored.step}"
            reason = (attempt.ended or {}).get("reason") or "-"
        cells.append(
            (
                str(spent.number),
                "-" if spent.started_at is None else f"{spent.started_at:%Y-%m-%d %H:%M} UTC",
                began_from if attempt is None or attempt.began else "did not begin",
                spent.outcome,
                reason,
                duration(spent.seconds),
                str(spent.machines),
                "-" if spent.price is None else f"{spent.price:.2f}",
                "no price" if spent.dollars is None else in_dollars(spent.dollars),
            )
        )
    if not cells:
        return None
    headers = ["attempt", "began", "from", "ended", "why", "time", "machines", "$/h", "cost"]
    total = "no price" if spending.dollars is None else in_dollars(spending.dollars)
    total += " and the time that has no price" if spending.dollars is not None and spending.unpriced_seconds else ""
    sources = f"; prices: {', '.join(spending.sources)}" if spending.sources else ""
    said = f"In all {duration(spending.seconds)}, {duration(spending.machine_seconds)} of machines: {total}{sources}."
    shown = table("Each attempt", headers, cells, right=(5, 6, 7, 8))
    return section("Time and cost", tag("p", said), shown)


def machine(details: RunDetails) -> Content:
    """The machines of the attempts, and the versions of what was installed there."""
    by_machine: dict[str, list[int]] = {}
    for number_of_attempt, record in sorted(details.machines.items()):
        rest = {name: value for name, value in record.items() if name not in ("token", "versions", "price")}
        by_machine.setdefault(json.dumps(rest, sort_keys=True), []).append(number_of_attempt)
    parts: list[Content] = []
    for numbers in by_machine.values():
        record = details.machines[numbers[0]]
        title = f"The machine of attempt{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        parts.append(table(title, ["", "value"], list(_machine(record))))
    hardware = details.run.facts.get("hardware", {})
    if not parts and hardware:
        parts.append(table("Hardware", ["", "value"], [(name, str(value)) for name, value in hardware.items()]))
    result = details.result
    sizes = [
        ("trainable parameters", result.get("trainable_parameters")),
        ("parameters", result.get("total_parameters")),
        ("peak GPU memory, GiB", result.get("peak_memory_gib")),
    ]
    cells = [(name, f"{value:,}") for name, value in sizes if value is not None]
    if cells:
        parts.append(table("The model there", ["", "value"], cells))
    versions = dict(details.run.facts.get("libraries", {})) or dict(result.get("versions") or {})
    if versions:
        installed = table("What was installed", ["", "version"], [(name, str(it)) for name, it in versions.items()])
        parts.append(tag("details", tag("summary", f"{len(versions)} versions"), installed))
    return section("Machine and versions", parts) if parts else None


def lineage(details: RunDetails) -> Content:
    """Where the run comes from, and how to make it again."""
    document = details.document
    origin: Mapping[str, Any] = document.get("lineage") or {}
    words = {"extend": "goes on from", "warm_start": "starts from the model of", "reproduce": "is made again from"}
    cells: list[tuple[str, str]] = []
    if origin:
        cells.append((words.get(origin.get("kind", ""), str(origin.get("kind"))), str(origin.get("run_id"))))
        cells += [
            (name.replace("_", " "), number(value))
            for name, value in origin.items()
            if name not in ("kind", "run_id") and value is not None
        ]
    trial = document.get("sweep") or {}
    if trial:
        cells.append(("trial of a sweep", f"{trial.get('sweep_id')}, trial {trial.get('trial')}"))
    code = document.get("code") or {}
    revision = code.get("git_revision") or document.get("git_revision")
    if revision:
        dirty = " with changes that were not committed" if code.get("dirty") else ""
        kept = ", kept in the store" if dirty and code.get("diff_key") else ""
        cells.append(("git revision", f"{revision}{dirty}{kept}"))
    for name, title in (
        ("runner_version", "runner"),
        ("image", "image"),
        ("digest", "digest of recipe and inputs"),
        ("created_at", "launched"),
    ):
        if document.get(name):
            cells.append((title, str(document[name])))
    run_id = details.run.run_id
    commands = [("runs the same training again, and compares", f"runner reproduce {run_id}")]
    if details.result.get("artifacts"):
        commands.append(("downloads what it made", f"runner pull {run_id}"))
    typed = [tag("p", tag("code", command), f" {purpose}") for purpose, command in commands]
    parts = [table("What it was launched from", ["", "value"], cells)] if cells else []
    return section("Lineage", parts, tag("h3", "Commands"), typed)


# -- inside --------------------------------------------------------------------------------------------------------


def _stages(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The result's stages with their names; the result itself, without one, if there are not several."""
    stages = result.get("stages") or []
    if len(stages) > 1:
        yield from ((str(stage.get("stage")), stage) for stage in stages)
    else:
        yield "", result


def _recorded_generations(details: RunDetails) -> Iterator[tuple[str, str, str]]:
    """Completions that the metrics have, of a run without a result: those of the last stage."""
    texts: dict[str, dict[str, str]] = {}
    last = details.records[-1]["stage"] if details.records else None
    for record in details.records:
        if record["stage"] == last and record.get("phase") in ("before", "after"):
            for sample in record.get("generations") or ():
                texts.setdefault(sample["prompt"], {})[record["phase"]] = sample["text"]
    for prompt, by_phase in texts.items():
        yield prompt, by_phase.get("before", "-"), by_phase.get("after", "-")


def _machine(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    named = {
        "host": "host",
        "infra": "infra",
        "region": "region",
        "zone": "zone",
        "instance_type": "instance type",
        "use_spot": "spot",
        "cpus": "CPUs",
        "memory_gib": "memory, GiB",
        "driver": "driver",
        "cuda": "CUDA",
        "python": "Python",
        "image": "image",
    }
    for gpu in record.get("gpus") or ():
        yield "GPU", f"{gpu['name']}, {gpu['memory_gib']:.1f} GiB"
    for name, title in named.items():
        value = record.get(name)
        if isinstance(value, bool):
            yield title, "yes" if value else "no"
        elif value is not None:
            yield title, f"{value:.1f}" if isinstance(value, float) else str(value)


def _setting(name: str, value: Any) -> str:
    """A setting's value as text, without secrets."""
    hidden = _hidden(name.rpartition(".")[2], value)
    return json.dumps(hidden, ensure_ascii=False) if isinstance(hidden, dict | list | bool | None) else str(hidden)


def _hidden(name: str, value: Any) -> Any:
    if value is not None and is_secret_name(name):
        return "***"
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), inner) for key, inner in value.items()}
    return [_hidden("", inner) for inner in value] if isinstance(value, list) else value

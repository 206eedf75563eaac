"""The events of a sweep's journal as sentences, for who follows it."""

from collections.abc import Iterator, Mapping
from typing import Any

from runner.reports.tables import number
from runner.sweeps.definition import Definition
from runner.sweeps.events import Entry
from runner.terminal import printable


def sentences(entry: Entry, definition: Definition) -> Iterator[str]:
    """Yield a sentence for each event that a person wants to see; a promotion says what its taking does not."""
    for event in entry["events"]:
        text = _sentence(event, definition)
        if text is not None:
            yield printable(text)


def _sentence(event: Mapping[str, Any], definition: Definition) -> str | None:
    name, trial, metric = event["event"], event.get("trial"), definition.metric
    match name:
        case "drawn":
            values = ", ".join(f"{key} {_short(value)}" for key, value in event["values"].items())
            return f"trial {trial}: {values}"
        case "taken":
            return f"trial {trial} trains to {_step(event['until'])} on {event['worker']}"
        case "reached":
            return f"trial {trial} pauses at step {event['step']}: {metric} {number(event['value'])}"
        case "finished":
            return f"trial {trial} is trained to its end: {metric} {number(event['value'])}"
        case "promoted":
            return f"trial {trial} goes on to {_step(event['until'])}"
        case "released":
            return f"trial {trial} is free again: {event['reason']}"
        case "failed":
            return f"trial {trial} failed ({event['kind'].replace('_', ' ')}): {event['reason']}"
        case "retried":
            return f"trial {trial} is tried again"
        case "left":
            return f"worker {event['worker']} has gone: {event['reason']}"
        case "stop_requested":
            return f"no trial is taken from now on: {event['reason']}"
        case "resumed":
            return "the sweep goes on"
        case "changed":
            return "trials are drawn from another space from now on"
    return None


def _step(step: int | None) -> str:
    return "its end" if step is None else f"step {step}"


def _short(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)

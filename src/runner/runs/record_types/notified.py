"""The record that a message about a run or a sweep was begun to be sent: ``notified/…json``."""

from typing import NotRequired, TypedDict

from runner.runs.record_types.rules import Line


class Notified(TypedDict):
    """``notified/<reopened>-<event>-<attempt>.json``: created before webhooks are told, so that they are told once."""

    event: Line
    """``ended``, ``interrupted``, ``stalled`` or ``resumed``."""
    state: NotRequired[Line]
    """How it ended, if it did; else the event."""
    at: NotRequired[Line]
    """When."""
    nonce: NotRequired[Line]
    """Tells apart two writers of the key."""

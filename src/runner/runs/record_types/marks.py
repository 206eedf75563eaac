"""Records made of a run after it was launched: its tags and notes, who awaits its end, and that it is being deleted."""

import re
from typing import Annotated, Literal, NotRequired, TypeAlias, TypedDict

from runner.runs.record_types.rules import Count, Line, Rule, RunId, Size

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,63}")


def is_tag(text: str) -> bool:
    """Whether a tag can be written so: letters, digits and ``._:/=+-``, at most 64."""
    return _TAG.fullmatch(text) is not None


Tag: TypeAlias = Annotated[str, Rule(is_tag, "a tag")]


class MarkRecord(TypedDict):
    """``marks/<n>.json``: somebody has changed a run's tags or its note. Written once."""

    number: Size
    """Counted from 1, as in the key."""
    marked_at: Line
    """When."""
    nonce: NotRequired[Line]
    """Tells apart two writers that take the same number."""
    host: NotRequired[Line]
    """Where."""
    user: NotRequired[Line]
    """Who, as the machine calls them."""
    tags_added: NotRequired[list[Tag]]
    """Tags that the run has from now on."""
    tags_removed: NotRequired[list[Tag]]
    """Tags that it has no longer."""
    note: NotRequired[str | None]
    """The run's note from now on; None: it has none. Absent: it stays as it was."""


class MarkedRecord(TypedDict):
    """``marked/<run_id>.json``: the run may have marks. Written once, before the first of them."""

    run_id: RunId
    """The run."""
    marked_at: NotRequired[Line]
    """When."""


class AwaitedRecord(TypedDict):
    """``ci/<run_id>/<n>.json``: a CI job has left a run, for another to report its end. Written once."""

    run_id: RunId
    """The run."""
    left_at: Line
    """When."""
    nonce: Line
    """Tells apart two writers that take the same number."""
    repository: NotRequired[Line | None]
    """The repository, as the CI system names it."""
    commit: NotRequired[Line | None]
    """The commit that was launched."""
    pull_request: NotRequired[Count | None]
    """The number of the pull or merge request."""
    url: NotRequired[Line | None]
    """The page of the job that launched it."""
    requirements: list[str]
    """What is required of the run."""
    baseline: str | None
    """What it is compared with."""


class RemovalRecord(TypedDict):
    """``removing/runs/<run_id>.json`` and ``removing/sweeps/<sweep_id>.json``: it is being deleted."""

    kind: Literal["run", "sweep"]
    """What is."""
    id: RunId
    """Its id."""
    requested_at: Line
    """When it was asked for."""
    host: NotRequired[Line]
    """Where."""
    user: NotRequired[Line]
    """By whom."""
    pid: NotRequired[Count]
    """The process that deletes it."""
    recipe: NotRequired[Line]
    """The name of the recipe that it was of."""
    created_at: NotRequired[Line]
    """When it was launched."""

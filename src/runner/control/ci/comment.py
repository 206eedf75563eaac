"""A comment that launches: ``/runner launch RECIPE [OPTION]…``, from those whom the repository trusts."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from runner.control.ci.event import Event, is_from_fork
from runner.errors import UserError

PREFIX = ("/runner", "launch")
"""What a comment's first line begins with."""
WITH_VALUE = ("--set", "--gpu", "--infra", "--nodes", "--max-cost", "--max-hourly-cost")
"""The options that a comment may have, and that take a value."""
ALONE = ("--spot", "--on-demand")
"""Those that take none. Secrets, files of variables, images and stores are the workflow's to choose."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a comment asks for."""

    recipe: str
    """The recipe."""
    options: tuple[str, ...]
    """Options of `runner launch`."""
    pull_request: int | None
    """The pull request that it was written to."""
    commit: str | None
    """The pull request's commit."""


def read_comment(event: Event, pull: Mapping[str, Any] | None) -> Asked | None:
    """Return what a comment asks for; None if it asks for nothing.

    Args:
        event: GitHub's ``issue_comment``.
        pull: the pull request, as GitHub's API describes it; None for a comment to an issue.

    Raises:
        UserError: whoever has written it is not trusted, the pull request is from a fork, or it cannot be read.
    """
    payload = event.payload or {}
    body = payload.get("comment", {}).get("body") or ""
    first = next(iter(body.strip().splitlines()), "")
    if tuple(first.split()[:2]) != PREFIX or payload.get("action") != "created":
        return None
    if event.distrusted:
        raise _wrong(event.distrusted)
    try:
        words = shlex.split(first)[2:]
    except ValueError as error:
        raise _wrong(f"it cannot be read: {error}") from error
    commit = None
    if event.pull_request is not None:
        if pull is None or pull.get("number") != event.pull_request:
            raise _wrong("its pull request is not described", "name what `gh api repos/OWNER/NAME/pulls/N` prints")
        if is_from_fork(pull):
            raise _wrong("the pull request is from a fork")
        commit = pull["head"]["sha"]
    if not words or words[0].startswith("-"):
        raise _wrong("it names no recipe", "write `/runner launch RECIPE`")
    path = PurePosixPath(words[0])
    if path.is_absolute() or ".." in path.parts or "://" in words[0]:
        raise _wrong(f"the recipe {words[0]!r} is not in the repository")
    _check_options(words[1:])
    return Asked(recipe=words[0], options=tuple(words[1:]), pull_request=event.pull_request, commit=commit)


def _check_options(words: list[str]) -> None:
    left = iter(words)
    for word in left:
        name, equals, _ = word.partition("=")
        if name in ALONE and not equals:
            continue
        if name not in WITH_VALUE:
            raise _wrong(f"{word!r} is not taken from a comment", f"there are {', '.join((*WITH_VALUE, *ALONE))}")
        if not equals and next(left, None) is None:
            raise _wrong(f"{name} needs a value")


def _wrong(what: str, remedy: str | None = None) -> UserError:
    return UserError(f"nothing is launched: {what}", where="the comment", remedy=remedy)

"""Why a CI job runs, as GitHub Actions, GitLab CI and Jenkins say it in the environment."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.files import read_whole

TRUSTED = ("OWNER", "MEMBER", "COLLABORATOR")
"""Values of GitHub's `author_association` whose comments may launch."""

_MOST_BYTES = 32 << 20
_NO_COMMIT = re.compile("0*")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Why a job runs."""

    name: str | None = None
    """In the system's word: ``push``, ``pull_request``, ``schedule``, …; None: no CI system is known."""
    repository: str | None = None
    """Its name, as ``owner/name``."""
    before: str | None = None
    """The commit that a change is to be compared with."""
    pull_request: int | None = None
    """The number of the pull or merge request."""
    url: str | None = None
    """The job's page."""
    distrusted: str | None = None
    """Why nothing is launched for it, such as that it is from a fork; None: it may launch."""
    payload: Mapping[str, Any] | None = None
    """What GitHub says of it."""


def read_event(environment: Mapping[str, str]) -> Event:
    """Find out why this job runs.

    Raises:
        UserError: GitHub's event cannot be read, so that nothing says whether it is from a fork.
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        return _github(environment)
    if environment.get("GITLAB_CI"):
        return _gitlab(environment)
    if environment.get("JENKINS_URL"):
        return _jenkins(environment)
    return Event()


def read_payload(path: str, where: str) -> Mapping[str, Any]:
    """Read a JSON document of GitHub's.

    Args:
        path: the file.
        where: what has named it, for the error.

    Raises:
        UserError: it cannot be read, or is no mapping.
    """
    try:
        document = json.loads(read_whole(Path(path), _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the file {path!r} cannot be read: {error}", where=where) from error
    if not isinstance(document, dict):
        raise UserError(f"{path} is not a mapping", where=where)
    return document


def is_from_fork(pull: Mapping[str, Any]) -> bool:
    """Whether a pull request, as GitHub describes it, comes from another repository, or from one that is gone."""
    head, base = (_within(pull, side, "repo", "full_name") for side in ("head", "base"))
    return head is None or head != base


def _github(environment: Mapping[str, str]) -> Event:
    name = environment.get("GITHUB_EVENT_NAME", "")
    payload = read_payload(environment.get("GITHUB_EVENT_PATH", ""), "GITHUB_EVENT_PATH")
    repository = environment.get("GITHUB_REPOSITORY")
    server, job = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_RUN_ID")
    before, number = payload.get("before"), payload.get("number")
    distrusted = None
    pull = payload.get("pull_request")
    if isinstance(pull, dict):
        before, number = _within(pull, "base", "sha"), pull.get("number", number)
        if is_from_fork(pull):
            distrusted = "the pull request is from a fork"
    elif name.startswith("pull_request"):
        distrusted = "the event does not say where the pull request is from"
    elif name == "issue_comment":
        is_pull = _within(payload, "issue", "pull_request") is not None
        number = _within(payload, "issue", "number") if is_pull else None
        if _within(payload, "comment", "author_association") not in TRUSTED:
            distrusted = "whoever has written the comment is no member or collaborator of the repository"
    elif name == "workflow_run" and _within(payload, "workflow_run", "head_repository", "full_name") != repository:
        distrusted = "the workflow that has ended was started by a fork"
    return Event(
        name=name,
        repository=repository,
        before=_commit(before),
        pull_request=number if isinstance(number, int) else None,
        url=f"{server}/{repository}/actions/runs/{job}" if server and repository and job else None,
        distrusted=distrusted,
        payload=payload,
    )


def _gitlab(environment: Mapping[str, str]) -> Event:
    number = environment.get("CI_MERGE_REQUEST_IID", "")
    source = environment.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
    fork = bool(number) and source != environment.get("CI_MERGE_REQUEST_PROJECT_ID")
    before = environment.get("CI_MERGE_REQUEST_DIFF_BASE_SHA") or environment.get("CI_COMMIT_BEFORE_SHA")
    return Event(
        name=environment.get("CI_PIPELINE_SOURCE", ""),
        repository=environment.get("CI_PROJECT_PATH"),
        before=_commit(before),
        pull_request=int(number) if number.isdecimal() else None,
        url=environment.get("CI_JOB_URL"),
        distrusted="the merge request is from a fork" if fork else None,
    )


def _jenkins(environment: Mapping[str, str]) -> Event:
    number = environment.get("CHANGE_ID", "")
    return Event(
        name="change" if number else "build",
        before=_commit(environment.get("GIT_PREVIOUS_SUCCESSFUL_COMMIT")),
        pull_request=int(number) if number.isdecimal() else None,
        url=environment.get("BUILD_URL"),
        distrusted="the pull request is from a fork" if environment.get("CHANGE_FORK") else None,
    )


def _commit(text: object) -> str | None:
    """A commit; None for the zeros that stand for none, as at the first push of a branch."""
    return text if isinstance(text, str) and not _NO_COMMIT.fullmatch(text) else None


def _within(document: Mapping[str, Any], *names: str) -> Any:
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found

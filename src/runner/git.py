"""The git revision of a folder, a file as it was at a tag or branch, and what lies between commits."""

import os
import subprocess
from pathlib import Path


def revision_of(folder: Path) -> str | None:
    """Return the git commit of `folder`, with ``-dirty`` if it has uncommitted changes; None outside of git."""
    # A folder's own settings could name a program for git to run.
    command = ["git", "-c", "core.fsmonitor=false", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() or None if completed.returncode == 0 else None


def file_at(folder: Path, reference: str, path: str) -> bytes | None:
    """Return a file of the repository around `folder` at a tag, branch or commit; None if git has none. No network.

    Args:
        folder: somewhere in the repository.
        reference: the tag, branch or commit.
        path: from the top of the repository; from `folder` if it begins with ``./``.
    """
    if not reference or reference.startswith("-") or not path:
        return None
    command = ["git", "-c", "core.fsmonitor=false", "cat-file", "blob", f"{reference}:{path}"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=30)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return completed.stdout if completed.returncode == 0 else None


def commits_until(folder: Path, name: str) -> frozenset[str] | None:
    """Return a tag's or branch's commit and all before it; None if there is no such tag or branch. No network.

    Args:
        folder: somewhere in the repository.
        name: of a tag or branch; a branch that only the remote `origin` has is found too. Or a whole commit.
    """
    places = [f"refs/heads/{name}", f"refs/tags/{name}", f"refs/remotes/{name}", f"refs/remotes/origin/{name}"]
    if len(name) == 40:
        places.append(name)
    for place in places:
        if _git(folder, "rev-parse", "--verify", "--quiet", f"{place}^{{commit}}") is not None:
            listed = _git(folder, "rev-list", place, "--")
            return None if listed is None else frozenset(listed.split())
    return None


def changed_files(folder: Path, before: str) -> frozenset[Path] | None:
    """Return the files that differ between a commit and the one that is checked out; None if git does not know it.

    Args:
        folder: somewhere in the repository.
        before: the commit; what was changed is looked for since it and this one parted.
    """
    if before.startswith("-"):
        return None
    top = _git(folder, "rev-parse", "--show-toplevel")
    names = _git(folder, "diff", "--name-only", "--no-renames", "-z", "--merge-base", before, "HEAD", "--")
    if names is None:  # they have no common history here, as after a forced push to a shallow clone
        names = _git(folder, "diff", "--name-only", "--no-renames", "-z", before, "HEAD", "--")
    if top is None or names is None:
        return None
    return frozenset(Path(top.rstrip("\n")) / name for name in names.split("\0") if name)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers; None if it refuses."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=30)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.decode(errors="replace") if completed.returncode == 0 else None


def uncommitted_changes(folder: Path, *, most_bytes: int) -> str | None:
    """Return what of `folder` is not committed, as ``git diff`` shows it; None if git gives none, or more than that.

    Files that git does not track are not in it.

    Args:
        folder: somewhere in a repository.
        most_bytes: the most that is read.
    """
    command = ["git", "-c", "core.fsmonitor=false", "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        completed = subprocess.run([*command, "--", "."], cwd=folder, env=environment, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if completed.returncode != 0 or len(completed.stdout) > most_bytes:
        return None
    return completed.stdout.decode(errors="replace")

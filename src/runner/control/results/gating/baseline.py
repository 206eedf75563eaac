"""What a gate compares with: a JSON file, a file in git, a run, or the run of a tag or branch."""

from collections.abc import Callable
from pathlib import Path

from runner.control.results.gating.expressions import Value
from runner.control.results.gating.values import decoded_values, run_values
from runner.errors import UserError
from runner.files import read_whole
from runner.git import commits_until, file_at
from runner.runs.layout import RUN, is_run_id, run_key
from runner.runs.listing import LAST, find_run, list_runs
from runner.runs.marks.marks import marks_of
from runner.runs.records import exists, run_document
from runner.runs.status import RunStatus, run_status
from runner.storage.store import Store

MOST_BYTES = 16 * 2**20
"""The largest baseline file."""


def baseline_values(store: Store, text: str, *, beside: RunStatus) -> tuple[str, dict[str, Value]]:
    """Return what a baseline is called, and its values.

    Args:
        store: where runs live.
        text: a file that is there; ``REF:PATH``, a file at a tag, branch or commit of git; a run; a tag that
            `runner tag` gave to runs; or a tag or branch of git, which stands for the newest run of its commits.
            A tag or branch means runs of the same recipe that succeeded.
        beside: the run that is compared with it.

    Raises:
        UserError: it is none of them, does not hold values, or is a run that has not succeeded.
    """
    path = Path(text)
    if path.is_file():
        try:
            return text, decoded_values(read_whole(path, MOST_BYTES), text)
        except OSError as error:
            raise UserError(f"it cannot be read: {error.strerror or error}", where=text) from error
    reference, colon, inner = text.partition(":")
    if colon:
        data = file_at(Path.cwd(), reference, inner)
        if data is None:
            remedy = "write REF:PATH, with PATH from the top of the repository; `git fetch` may have to bring REF first"
            raise UserError(f"git has no file `{inner}` at `{reference}`", where="--baseline", remedy=remedy)
        return text, decoded_values(data, text)
    status = _run(store, text, beside)
    if status.state != "succeeded":
        raise UserError(
            f"the run {status.run_id} has not succeeded: it is {status.shown_state}",
            where=f"--baseline {text}",
            remedy="name a run that succeeded; `runner ps --all` lists the runs of the store",
        )
    return status.run_id, run_values(store, status)


def _run(store: Store, text: str, beside: RunStatus) -> RunStatus:
    """The run that a baseline means: by its id, by a tag of runs, by a tag or branch of git, by a part of its id."""
    if text != LAST and not (is_run_id(text) and exists(store, run_key(text, RUN))):
        tagged = {run_id for run_id, marks in marks_of(store).items() if text in marks.tags}
        if tagged:
            return _newest(store, beside, text, lambda run_id: run_id in tagged)
        commits = commits_until(Path.cwd(), text)
        if commits is not None:
            # A revision that ends in -dirty is no commit, and what was trained then is not what the branch has.
            return _newest(
                store, beside, text, lambda run_id: run_document(store, run_id).get("git_revision") in commits
            )
    try:
        return run_status(store, find_run(store, text))
    except UserError as error:
        remedy = (
            "name a run, a tag of runs, a tag or branch of git (`git fetch` may have to bring it first), a JSON file, "
            "or REF:PATH (a JSON file at a tag or branch)"
        )
        what = f"neither a file nor a run, nor a tag or branch: {error}"
        raise UserError(what, where=f"--baseline {text}", remedy=remedy) from error


def _newest(store: Store, beside: RunStatus, text: str, belongs: Callable[[str], bool]) -> RunStatus:
    """The newest run that succeeded with the recipe of `beside` and belongs to a tag or branch; not `beside` itself."""
    same = [status for status in list_runs(store) if status.recipe == beside.recipe and status.state == "succeeded"]
    for status in same:
        if status.run_id != beside.run_id and belongs(status.run_id):
            return status
    raise UserError(
        f"no other run of {beside.recipe} that succeeded has it; {len(same)} succeeded",
        where=f"--baseline {text}",
        remedy="launch one there, or name a JSON file; of a branch, git must have the commits (`fetch-depth: 0`)",
    )

"""Put tags and notes on runs."""

from collections.abc import Sequence

from runner.errors import UserError
from runner.runs.layout import RUN, is_run_id, run_key
from runner.runs.marks.marks import Marks, mark_run, read_marks
from runner.runs.record_types.marks import is_tag
from runner.runs.records import exists
from runner.storage.store import Store

_LONGEST_NOTE = 4000


def tag_runs(store: Store, run_ids: Sequence[str], tags: Sequence[str], *, remove: bool) -> dict[str, Marks]:
    """Give runs tags, or take tags from them; return what each has then.

    Args:
        store: where the runs live.
        run_ids: the runs.
        tags: the tags; each may be several, with commas between them.
        remove: take them from the runs.

    Raises:
        UserError: a tag cannot be written so, or is a run's id.
    """
    words = [word.strip() for tag in tags for word in tag.split(",") if word.strip()]
    for word in words:
        if not is_tag(word):
            remedy = "use letters, digits and `._:/=+-`, at most 64, and commas between several"
            raise UserError(f"{word!r} cannot be a tag", remedy=remedy)
        if is_run_id(word) and exists(store, run_key(word, RUN)):
            raise UserError(f"{word} is a run, and the last word is the tag", remedy=f"write `runner tag {word} TAG`")
    found = {}
    for run_id in run_ids:
        before = read_marks(store, run_id)
        changed = before.tags.intersection(words) if remove else set(words) - before.tags
        if changed:
            mark_run(store, run_id, add=() if remove else changed, remove=changed if remove else ())
        found[run_id] = read_marks(store, run_id) if changed else before
    return found


def note_runs(store: Store, run_ids: Sequence[str], note: str) -> None:
    """Give runs a note, in place of the one that each has. An empty one removes it.

    Args:
        store: where the runs live.
        run_ids: the runs.
        note: the text.

    Raises:
        UserError: it is too long.
    """
    if len(note) > _LONGEST_NOTE:
        raise UserError(f"the note has {len(note):,} characters", remedy=f"write {_LONGEST_NOTE:,} at most")
    for run_id in run_ids:
        mark_run(store, run_id, note=note.strip())

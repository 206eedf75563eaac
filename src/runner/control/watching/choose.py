"""Which runs the words of `logs` and `metrics` stand for, and short names for several of them."""

from collections.abc import Callable, Sequence

from runner.errors import UserError
from runner.runs.listing import find_run
from runner.storage.store import Store


def choose_watched(store: Store, words: Sequence[str], *, say: Callable[[str], None]) -> list[str]:
    """Return the ids of the runs that words stand for, each once, in the order of the words.

    Args:
        store: where the runs live.
        words: ids, beginnings or ends, ``last``, patterns, or sweeps.
        say: receives what was left out.

    Raises:
        UserError: a word stands for nothing.
        Damaged: a sweep cannot be read.
    """
    if len(words) == 1 and not any(letter in words[0] for letter in "*?["):
        try:
            return [find_run(store, words[0])]
        except UserError:
            pass  # a sweep, or nothing
    from runner.control.results.comparing.choose import choose_runs  # here: one run does not need it

    damaged: dict[str, Exception] = {}
    chosen = choose_runs(store, words, on_damaged=damaged.__setitem__)
    for run_id, error in damaged.items():
        say(f"{run_id} is damaged in the store: {error}")
    for word, count in chosen.left_out.items():
        say(f"{count} more of {word} are left out; name the runs themselves to see them")
    return list(chosen.run_ids)


def short_names(run_ids: Sequence[str]) -> dict[str, str]:
    """Return a short name for each run: its id without what all begin with, up to a ``-``; still an end of the id."""
    common = 0
    if len(run_ids) > 1:
        first, last = min(run_ids), max(run_ids)
        while common < min(len(first), len(last)) and first[common] == last[common]:
            common += 1
        common = first.rfind("-", 0, common) + 1
    shortened = {run_id: run_id[common:] for run_id in run_ids}
    return shortened if all(shortened.values()) else {run_id: run_id for run_id in run_ids}

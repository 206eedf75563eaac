"""The Python API for comparisons. Public as `runner.compare`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from runner.api.opening import opened_store, user_errors
from runner.api.runs import Run
from runner.api.tables import data_frame
from runner.control.results.compare import compare as compare_runs
from runner.control.results.comparing.choose import choose_runs
from runner.reports.comparison import comparison_document, rows
from runner.storage.manifest import Damaged


class Comparison(dict[str, Any]):
    """Runs side by side: what ``runner compare --json`` prints.

    Args:
        document: that.
        rows: each run in a flat row.
    """

    def __init__(self, document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(document)
        self._rows = rows

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`: a row for each run, with its results and the settings that differ.

        Raises:
            UserError: pandas is not installed.
        """
        return data_frame(self._rows)


def compare(
    *runs: str | Run,
    store: str | os.PathLike[str] | None = None,
    sort: str | None = None,
    everything: bool = False,
) -> Comparison:
    """Compare runs: results, learning curves, and what differs between them.

    Args:
        runs: each a `Run`, a run's id, the beginning or end of one, ``last``, a pattern, or a sweep.
        store: a folder or URL; None for that of the first `Run`, else ``RUNNER_STORE``, or else runner's own folder.
        sort: a column that orders the runs, such as ``eval_loss``; ``-eval_loss``: the largest first.
        everything: whether patterns and sweeps stand for all of their runs, not for twenty.

    Returns:
        What ``runner compare --json`` prints: ``best``, ``metric``, ``goal``, ``runs``, ``settings``, ``data``,
        ``code``, ``libraries``, ``hardware``, ``same_training``, ``same_evaluation_data`` and ``damaged``.
        It has `to_pandas`.

    Raises:
        UserError: there is no such run or column, or the store does not answer.

    Example:
        >>> runner.compare("quickstart-*", sort="eval_loss")["best"]
        'quickstart-20260101-120000-ab12'
    """
    known = next((run.store for run in runs if isinstance(run, Run)), None)
    opened = opened_store(store if store is not None else known)
    words = [run.run_id if isinstance(run, Run) else run for run in runs]
    damaged: dict[str, Damaged] = {}
    with user_errors(opened):
        chosen = choose_runs(opened, words, everything=everything, on_damaged=damaged.__setitem__)
        comparison = compare_runs(opened, chosen, sort=sort, on_damaged=damaged.__setitem__)
    document = comparison_document(comparison, {run_id: str(error) for run_id, error in damaged.items()})
    return Comparison(document, rows(comparison))

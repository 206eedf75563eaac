"""The Python API for runs: follow them and fetch their results. Public as `runner.Run`, `runner.list_runs`.

Everything here raises `runner.errors.UserError`, whose message says what is wrong, where, and what to write instead.
Nothing but the progress of `Run.follow` is printed: what a command would say on the way goes to the logger ``runner``,
at level INFO.
"""

import dataclasses
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.api.chatting import Chat
from runner.api.opening import opened_store, user_errors
from runner.api.results import RunFailed, RunResult, result_from
from runner.api.tables import Table
from runner.control.cancel import cancel_run, finish_run
from runner.control.chat import ChatProcess
from runner.control.results.pull import pull as pull_run
from runner.control.wait import wait_for_end
from runner.reports.notebook import NotebookDisplay, in_notebook
from runner.reports.progress import open_display, progress_line
from runner.runs.listing import find_run
from runner.runs.listing import list_runs as all_runs
from runner.runs.logs import read_log
from runner.runs.metrics import read_metrics
from runner.runs.record_types.result import MetricRecord
from runner.runs.records import run_result
from runner.runs.status import RunStatus, run_status
from runner.storage.manifest import Damaged
from runner.storage.store import Store

_log = logging.getLogger("runner")


class Run:
    """A run in a store.

    Args:
        run_id: its id, the part of it that no other run has, or ``last``.
        store: a folder or URL; None for ``RUNNER_STORE``, or else runner's own folder.

    Raises:
        UserError: there is no such run, or the store does not answer.

    Example:
        >>> run = runner.Run("last")
        >>> run.status().state
        'succeeded'
    """

    def __init__(self, run_id: str, store: str | os.PathLike[str] | None = None) -> None:
        self._store = opened_store(store)
        with user_errors(self._store):
            self._run_id = find_run(self._store, run_id)

    @classmethod
    def _known(cls, store: Store, run_id: str) -> "Run":
        """A run that is known to exist."""
        run = cls.__new__(cls)
        run._store, run._run_id = store, run_id
        return run

    def __repr__(self) -> str:
        return f"Run({self._run_id!r}, {self._store.url!r})"

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run_id

    @property
    def store(self) -> str:
        """The store's URL."""
        return self._store.url

    def status(self) -> RunStatus:
        """Look at the run.

        Returns:
            Its state (``pending``, ``running``, ``interrupted``, ``succeeded``, ``failed`` or ``cancelled``), its step,
            loss and estimates, and why it ended.

        Raises:
            UserError: the store does not answer, or the run was removed from it.

        Example:
            >>> status = run.status()
            >>> print(status.state, status.step, status.max_steps)
            running 120 1000
        """
        with user_errors(self._store):
            return run_status(self._store, self._run_id)

    def metrics(self) -> Table[MetricRecord]:
        """Read the run's metrics.

        Returns:
            One record for each optimizer step (``stage``, ``step``, ``loss``, ``learning_rate``, …) and one for each
            evaluation, in their order. After a resume each step is there once. The list has `to_pandas`.

        Raises:
            UserError: the store does not answer, or its data is damaged.

        Example:
            >>> losses = [record["loss"] for record in run.metrics() if "loss" in record]
        """
        with user_errors(self._store):
            return Table(read_metrics(self._store, self._run_id), _metric_row)

    def to_pandas(self) -> Any:
        """Return the run's metrics as a `pandas.DataFrame`: a row for each optimizer step and each evaluation.

        Raises:
            UserError: pandas is not installed, or the store does not answer.

        Example:
            >>> run.to_pandas().plot(x="step", y="loss")
        """
        return self.metrics().to_pandas()

    def logs(self) -> str:
        """Read everything that the run's attempts have printed so far.

        Raises:
            UserError: the store does not answer.

        Example:
            >>> print(run.logs()[-1000:])
        """
        with user_errors(self._store):
            return read_log(self._store, self._run_id)[0]

    def result(self) -> RunResult | None:
        """Read the run's result.

        Returns:
            How it ended: its state, what was measured before and after, samples and artifacts. It is a mapping too,
            with the fields of ``result.json``. None if the run has not ended.

        Raises:
            UserError: the store does not answer.

        Example:
            >>> run.result().after["eval_loss"]
            2.31
        """
        with user_errors(self._store):
            record = run_result(self._store, self._run_id)
        return None if record is None else result_from(self._run_id, record)

    def wait(self, timeout_seconds: float | None = None, *, check: bool = False) -> RunStatus:
        """Wait until the run has ended, or is interrupted and will not be continued.

        Args:
            timeout_seconds: the longest time to wait; None to wait as long as it takes.
            check: whether a run that has failed, was cancelled or is interrupted is an error.

        Returns:
            The run's status then; its state is ``running`` or ``pending`` if the time is up.

        Raises:
            UserError: the store does not answer, and time is up.
            RunFailed: with `check`, the run has not succeeded.

        Example:
            >>> run.wait(timeout_seconds=3600).state
            'succeeded'
        """
        with user_errors(self._store):
            status = wait_for_end(self._store, self._run_id, timeout_seconds=timeout_seconds)
        return _checked(status) if check else status

    def follow(self, timeout_seconds: float | None = None, *, check: bool = False) -> RunStatus:
        """Wait as `wait` does, and show the progress: in a notebook below the cell, elsewhere on standard error.

        Interrupting it (Ctrl-C, the notebook's stop button) leaves the run running.

        Args:
            timeout_seconds: the longest time to wait; None to wait as long as it takes.
            check: whether a run that has failed, was cancelled or is interrupted is an error.

        Returns:
            The run's status then.

        Raises:
            UserError: the store does not answer, and time is up.
            RunFailed: with `check`, the run has not succeeded.

        Example:
            >>> run.follow().state
            quickstart-20260101-120000-ab12: training · step 60/300 · loss 2.31 · 40s left
            'succeeded'
        """
        display = NotebookDisplay() if in_notebook() else open_display(sys.stderr)
        try:
            with user_errors(self._store):
                status = wait_for_end(
                    self._store, self._run_id, timeout_seconds=timeout_seconds, say=display.say, show=display.show
                )
            if not isinstance(display, NotebookDisplay):  # whose line stays, and says the same
                display.say(f"{self._run_id} {status.state}: {progress_line(status, None)}")
        finally:
            display.close()
        return _checked(status) if check else status

    def chat(
        self,
        *,
        temperature: float = 0.7,
        max_new_tokens: int = 256,
        with_base: bool = True,
        checkpoint: str | int | None = None,
    ) -> Chat:
        """Load the run's model on this machine, in a process of its own, to talk to it.

        Args:
            temperature: 0 for the most likely answer.
            max_new_tokens: the longest answer, in tokens.
            with_base: whether the model that it was made from answers too.
            checkpoint: the step of a checkpoint (STAGE-STEP in a run with stages), or ``best``, ``last``; None for the
                model that the run ended with.

        Returns:
            The conversation. Close it, or use it in a ``with`` statement, to free the memory.

        Raises:
            UserError: there is no such model yet, it cannot be loaded here, or what training needs is not installed.

        Example:
            >>> with run.chat(temperature=0) as chat:
            ...     print(chat.ask("Write a haiku about rain."))
        """
        with user_errors(self._store):
            process = ChatProcess(
                self._store,
                self._run_id,
                temperature=temperature,
                max_new_tokens=max_new_tokens,
                with_base=with_base,
                checkpoint=None if checkpoint is None else str(checkpoint),
            )
        return Chat(process, with_base=with_base)

    def cancel(self, *, keep_model: bool = False) -> RunStatus:
        """End the run for good, wherever it runs, and wait until it has ended.

        Args:
            keep_model: stop training after the present step, then measure, export and keep the model as at the end.

        Returns:
            The run's status, ``cancelled`` as a rule.

        Raises:
            UserError: the run has succeeded or failed before, or the store does not answer.

        Example:
            >>> run.cancel().state
            'cancelled'
        """
        with user_errors(self._store):
            return (finish_run if keep_model else cancel_run)(self._store, self._run_id, say=_log.info)

    def pull(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Fetch the run's records, metrics and artifacts, checked byte for byte.

        Files that are complete already are not fetched again.

        Args:
            folder: a new folder, or that of an earlier pull of this run; None for one named like the run.

        Returns:
            The folder; the model is in ``artifacts/model`` below it.

        Raises:
            UserError: the folder holds something else or cannot be written, or an artifact is damaged in the store.

        Example:
            >>> folder = run.pull("my-model")
            >>> sorted(path.name for path in (folder / "artifacts").iterdir())
            ['model']
        """
        with user_errors(self._store):
            return pull_run(self._store, self._run_id, Path(folder or self._run_id), say=_log.info).folder


def list_runs(store: str | os.PathLike[str] | None = None) -> Table[Run]:
    """List the runs of a store, the newest first. The list has `to_pandas`: the columns are those of `Run.status`.

    Args:
        store: a folder or URL; None for ``RUNNER_STORE``, or else runner's own folder.

    Raises:
        UserError: the store does not answer.

    Example:
        >>> [run.run_id for run in runner.list_runs() if run.status().state == "running"]
        []
    """
    opened = opened_store(store)
    with user_errors(opened):
        statuses = {status.run_id: status for status in all_runs(opened, on_damaged=warn_of_damage)}
    return runs_table([Run._known(opened, run_id) for run_id in statuses], statuses)


def runs_table(runs: list[Run], statuses: Mapping[str, RunStatus]) -> Table[Run]:
    """Return runs as a table; those without a status in `statuses` are looked at when it is made a data frame."""
    return Table(runs, lambda run: dataclasses.asdict(statuses.get(run.run_id) or run.status()))


def warn_of_damage(name: str, error: Damaged) -> None:
    """Log that a run or a sweep is left out because it cannot be read."""
    _log.warning("%s is damaged in the store: %s", name, error)


def _checked(status: RunStatus) -> RunStatus:
    if status.state in ("failed", "cancelled", "interrupted"):
        raise RunFailed(status)
    return status


def _metric_row(record: MetricRecord) -> Mapping[str, Any]:
    return {key: value for key, value in record.items() if key not in ("generations", "not_finite")}

"""The Python API for runs: launch them, follow them and fetch their results. Public as `runner.launch`, `runner.Run`, …

Everything here raises `runner.errors.UserError`, whose message says what is wrong, where, and what to write instead.
Nothing is printed: what a command would say on the way goes to the logger ``runner``, at level INFO.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.api.opening import confirm_or_refuse, opened_store, several, user_errors
from runner.backends.base import ResourceOptions
from runner.control.cancel import cancel_run, finish_run
from runner.control.launch import LaunchOptions
from runner.control.launch import launch as launch_run
from runner.control.launching.cost import CostQuestion
from runner.control.results.pull import pull as pull_run
from runner.control.resume import ResumeOptions
from runner.control.resume import resume as resume_run
from runner.control.wait import wait_for_end
from runner.runs.listing import find_run
from runner.runs.listing import list_runs as all_runs
from runner.runs.logs import read_log
from runner.runs.metrics import read_metrics
from runner.runs.record_types.result import MetricRecord, Result
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

    def metrics(self) -> list[MetricRecord]:
        """Read the run's metrics.

        Returns:
            One record for each optimizer step (``stage``, ``step``, ``loss``, ``learning_rate``, …) and one for each
            evaluation, in their order. After a resume each step is there once.

        Raises:
            UserError: the store does not answer, or its data is damaged.

        Example:
            >>> losses = [record["loss"] for record in run.metrics() if "loss" in record]
        """
        with user_errors(self._store):
            return read_metrics(self._store, self._run_id)

    def logs(self) -> str:
        """Read everything that the run's attempts have printed so far.

        Raises:
            UserError: the store does not answer.

        Example:
            >>> print(run.logs()[-1000:])
        """
        with user_errors(self._store):
            return read_log(self._store, self._run_id)[0]

    def result(self) -> Result | None:
        """Read the run's result.

        Returns:
            What ``result.json`` holds: its state, evaluations, samples and artifacts. None if the run has not ended.

        Raises:
            UserError: the store does not answer.

        Example:
            >>> run.result()["state"]
            'succeeded'
        """
        with user_errors(self._store):
            return run_result(self._store, self._run_id)

    def wait(self, timeout_seconds: float | None = None) -> RunStatus:
        """Wait until the run has ended, or is interrupted and will not be continued.

        Args:
            timeout_seconds: the longest time to wait; None to wait as long as it takes.

        Returns:
            The run's status then; its state is ``running`` or ``pending`` if the time is up.

        Raises:
            UserError: the store does not answer, and time is up.

        Example:
            >>> run.wait(timeout_seconds=3600).state
            'succeeded'
        """
        with user_errors(self._store):
            return wait_for_end(self._store, self._run_id, timeout_seconds=timeout_seconds)

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


def launch(
    recipe: str | os.PathLike[str],
    *,
    gpu: str | Sequence[str] | None = None,
    infra: str | Sequence[str] | None = None,
    nodes: int | None = None,
    spot: bool | None = None,
    store: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    name: str | None = None,
    image: str | None = None,
    cluster: str | None = None,
    env_files: Sequence[str | os.PathLike[str]] = (),
    secrets: Sequence[str] = (),
    max_hourly_cost: float | None = None,
    max_cost: float | None = None,
    hourly_cost: float | None = None,
    confirm: Callable[[CostQuestion], bool] | None = None,
) -> Run:
    """Start a run of a recipe in the background, as ``runner launch --detach`` does.

    Args:
        recipe: the name of a recipe (``runner jobs`` lists them), or the path of a YAML file.
        gpu: the GPU and how many a machine has, such as ``"A100:8"``; several: any of them.
        infra: where: ``"local"`` or ``"docker"`` on this machine, or through SkyPilot ``"aws"``, ``"gcp/us-central1"``,
            ``"slurm/CLUSTER"``, …; several: any of them. None for this machine or, with `gpu`, for SkyPilot's choice.
        nodes: how many machines.
        spot: True for spot machines, False for others; None for what the recipe says.
        store: where the run lives, a folder or URL; None for ``RUNNER_STORE``, or else runner's own folder.
        overrides: settings of the recipe to change: values by dotted name, or ``"KEY=VALUE"`` strings.
        name: the run's id. An unfinished run of that name with the same settings continues instead.
        image: the image, by name or digest.
        cluster: the SkyPilot cluster to run on, instead of machines of the run's own.
        env_files: files of ``NAME=value`` lines that the run is given.
        secrets: names of environment variables that the run is given.
        max_hourly_cost: the most that one hour of a machine may cost, in US dollars.
        max_cost: the most that all attempts together may cost, in US dollars: then the run saves and is interrupted.
        hourly_cost: what an hour of a machine costs, where no catalog knows it; None for ``RUNNER_HOURLY_COST``.
        confirm: called with a question (`text`, `cost`, `limit`) if the run may cost more than ``RUNNER_ASK_ABOVE``;
            the run is launched if it returns True.

    Returns:
        The run; its first attempt has begun, or SkyPilot has it.

    Raises:
        UserError: the recipe, the machine, the hub or the store is not as it has to be; or the run may cost more than
            the limit, and `confirm` is None or returned False.

    Example:
        >>> run = runner.launch("quickstart", overrides={"training.max_steps": 20})
        >>> run.wait().state
        'succeeded'
    """
    strings, values = _split_overrides(overrides)
    opened = opened_store(store)
    options = LaunchOptions(
        recipe=os.fspath(recipe),
        overrides=strings,
        values=values,
        name=name,
        resources=ResourceOptions(
            gpus=several(gpu), infra=several(infra), nodes=nodes, use_spot=spot, max_hourly_cost=max_hourly_cost
        ),
        cluster=cluster,
        image=image,
        env_files=[Path(file) for file in env_files],
        secrets=several(secrets),
        max_cost=max_cost,
        hourly_cost=hourly_cost,
        detach=True,
    )
    with user_errors(opened):
        launched = launch_run(opened, options, confirm=confirm_or_refuse(confirm), say=_log.info)
    return Run._known(opened, launched.run_id)


def resume(
    run: Run | str,
    *,
    gpu: str | Sequence[str] | None = None,
    infra: str | Sequence[str] | None = None,
    nodes: int | None = None,
    spot: bool | None = None,
    store: str | os.PathLike[str] | None = None,
    image: str | None = None,
    cluster: str | None = None,
    env_files: Sequence[str | os.PathLike[str]] = (),
    secrets: Sequence[str] = (),
    replace: Sequence[str | os.PathLike[str]] = (),
    max_hourly_cost: float | None = None,
    max_cost: float | None = None,
    hourly_cost: float | None = None,
    confirm: Callable[[CostQuestion], bool] | None = None,
) -> Run:
    """Continue a run from its last checkpoint in the background, as ``runner resume --detach`` does.

    The run was interrupted, or it has failed and its cause is mended.
    Without options it continues where it was; with them, elsewhere. They are those of `launch`.

    Args:
        run: the run, or its id.
        gpu, infra, nodes, spot, image, cluster, max_hourly_cost: the machines, as in `launch`.
        store: where the run lives, if `run` is an id.
        env_files: files of variables that the run is given.
        secrets: names of variables that the run is given besides those of its launch.
        replace: mended reward files, each in place of the one of that name in the recipe.
        max_cost, hourly_cost: as in `launch`; None for what counted before.
        confirm: as in `launch`.

    Returns:
        The run.

    Raises:
        UserError: the run has succeeded or was cancelled, or may be running; a variable that it was launched with is
            not set, or it cannot run there.

    Example:
        >>> runner.resume("last", gpu="L4", spot=True).wait().state
        'succeeded'
    """
    if isinstance(run, str):
        run = Run(run, store)
    options = ResumeOptions(
        run_id=run.run_id,
        resources=ResourceOptions(
            gpus=several(gpu), infra=several(infra), nodes=nodes, use_spot=spot, max_hourly_cost=max_hourly_cost
        ),
        cluster=cluster,
        image=image,
        env_files=[Path(file) for file in env_files],
        secrets=several(secrets),
        max_cost=max_cost,
        hourly_cost=hourly_cost,
        replace=[Path(file) for file in replace],
        detach=True,
    )
    with user_errors(run._store):
        resume_run(run._store, options, confirm=confirm_or_refuse(confirm), say=_log.info)
    return run


def list_runs(store: str | os.PathLike[str] | None = None) -> list[Run]:
    """List the runs of a store, the newest first.

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
        return [Run._known(opened, status.run_id) for status in all_runs(opened, on_damaged=_warn)]


def _warn(run_id: str, error: Damaged) -> None:
    _log.warning("%s is damaged in the store: %s", run_id, error)


def _split_overrides(overrides: Mapping[str, Any] | Sequence[str] | None) -> tuple[Sequence[str], Mapping[str, Any]]:
    if isinstance(overrides, Mapping):
        return (), overrides
    return several(overrides), {}

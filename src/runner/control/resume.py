"""Continue a run that was interrupted or that failed, where it was or elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runner.backends.base import Backend, Placement
from runner.backends.environment import chosen_environment
from runner.backends.registry import backend_for, infra_for
from runner.control.launching.budget import set_budget_again
from runner.control.launching.checks import StartOptions
from runner.control.launching.preconditions import require_hub_access
from runner.control.launching.start import (
    Launched,
    acquire_run,
    closed_on_error,
    interrupted_run,
    make_reporter,
    relocate,
    start,
)
from runner.errors import UserError
from runner.recipe.inputs.reward_refs import resolve_reward
from runner.recipe.recipe import Recipe
from runner.recipe.webhooks import webhook_variables
from runner.runs.attempts import newest_number
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.launches import (
    launch_record,
    needed_environment,
    newest_launch,
    note_launch,
    run_placement,
    with_current_placement,
)
from runner.runs.records import result_and_reopenings, run_document
from runner.runs.reopened import reopen_run, replace_reward_file, reward_files
from runner.runs.status import run_status
from runner.storage.store import Store
from runner.sweeps.workers.launches import needed_worker_environment

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm


@dataclass(frozen=True, kw_only=True)
class ResumeOptions(StartOptions):
    """What is asked for when a run is resumed; what is left open stays as it was."""

    run_id: str
    """The run."""
    replace: Sequence[Path] = ()
    """Mended reward files that take the place of those that were uploaded with the recipe."""


def resume(
    store: Store,
    options: ResumeOptions,
    *,
    confirm: "Confirm",
    say: Callable[[str], None],
    confirm_failed: Callable[[str], bool] = lambda question: True,
    typed: Callable[[str], str] | None = None,
    output: IO[str] | None = None,
) -> Launched:
    """Continue a run from its last checkpoint: where it was, or where the options say.

    A run that has failed is reopened (`runner.runs.reopened`), after its cause was said.

    Args:
        store: where the run lives.
        options: what is asked for.
        confirm: answers the question about the cost; it is called only if the run may cost more than the limit.
        confirm_failed: answers the question whether to go on with a run that has failed.
        say: receives what is worth knowing on the way.
        typed: makes a command of ours one that the person can type; None for ``runner COMMAND``.
        output: where the output of other programs goes, such as SkyPilot's; None to drop it.

    Raises:
        UserError: the run has succeeded or was cancelled, or may be running; a variable that it was launched with is
            not set; it cannot continue where it is asked to; a file cannot take the place of a reward file; or
            `confirm` or `confirm_failed` said no.
    """
    run_id, cluster = options.run_id, options.cluster
    replaced = _replaced_files(store, run_id, options.replace)
    _show_cause(store, run_id, confirm_failed, say)
    launch = newest_launch(store, run_id)
    known = {*needed_environment(store, run_id), *(launch.record.get("environment", ()) if launch else ())}
    document = run_document(store, run_id)
    known |= {*webhook_variables(document["recipe"])}
    if (trial := document.get("sweep")) is not None:
        known |= {*needed_worker_environment(store, trial["sweep_id"])}
        say(
            f"{run_id} is trial {trial['trial']} of the sweep {trial['sweep_id']}: it goes on to its end here, "
            "whatever the sweep decides; a worker of the sweep that takes it meanwhile takes it over"
        )
    environment = chosen_environment(options.env_files, options.secrets, needed=sorted(known))
    before = with_current_placement(document, launch)
    backend = _backend(before, options)
    placement = None
    if options.moves:
        placement = _checked_placement(store, before, backend, options, environment, confirm, say)
    else:
        cluster = launch.record["cluster"] if launch else None

    def set_budget() -> None:
        machines = placement.machines if placement is not None else None
        set_budget_again(
            store,
            run_id,
            max_cost=options.max_cost,
            hourly_cost=options.hourly_cost,
            moves=options.moves,
            resources=before.get("resources") if placement is None else machines.resources if machines else None,
            say=say,
        )

    lock = None
    if not backend.supervised_here:
        if placement is None:
            document = interrupted_run(store, run_id, or_failed=True)
        else:
            document = relocate(store, run_id, placement, or_failed=True)
        set_budget()
        _go_on(store, run_id, replaced, say)
    else:
        if placement is not None:
            relocate_here(store, run_id, placement, environment=list(environment))
        lock = acquire_run(store, run_id, or_failed=True)
        with closed_on_error(lock):
            document = run_placement(store, run_id)
            set_budget()
            _go_on(store, run_id, replaced, say)
    return start(
        store,
        document,
        lock,
        environment=environment,
        cluster=cluster,
        detach=options.detach,
        reporter=make_reporter(say, typed, output),
    )


def relocate_here(store: Store, run_id: str, placement: Placement, *, environment: Sequence[str]) -> None:
    """Record that an interrupted run continues on this machine, unless it was here before.

    Args:
        store: where the run lives.
        run_id: the run.
        placement: where on this machine, and in which image.
        environment: names of the variables that the run is given.

    Raises:
        UserError: the run has ended or is running, or its backend may still work on it.
    """
    before = interrupted_run(store, run_id, or_failed=True)
    if (before["infra"], before["image"]) == (placement.infra, placement.image):
        return
    record = launch_record(placement.fields(), engine=placement.infra, cluster=None, environment=environment)
    note_launch(store, run_id, record)


def _show_cause(store: Store, run_id: str, confirm: Callable[[str], bool], say: Callable[[str], None]) -> None:
    """Say why a run has failed, and ask whether to go on with it.

    Raises:
        UserError: the answer is no.
    """
    status = run_status(store, run_id)
    if status.state != "failed":
        return
    step = "" if status.step is None else f" at step {status.step} of {status.max_steps or '?'}"
    say(f"{run_id} failed{step}: {status.reason or 'no reason was recorded'}")
    newest = next(iter(checkpoints(store, run_id)), None)
    place = "from the beginning, since it has no checkpoint"
    if newest is not None:
        place = f"from its last checkpoint, step {newest.step}{f' of {newest.stage}' if status.stage_count else ''}"
    if not confirm(f"Go on {place}?"):
        raise UserError("left as it is", where=run_id)


def _replaced_files(store: Store, run_id: str, files: Sequence[Path]) -> dict[str, Path]:
    """Find which of the run's reward files each of these replaces, by its name; check that it can.

    Raises:
        UserError: it cannot be read, the run has no such file, or it lacks a function that the recipe names.
    """
    known = reward_files(run_document(store, run_id)) if files else {}
    replaced: dict[str, Path] = {}
    for path in files:
        if not known:
            raise UserError("the run's recipe names no reward file", where="--replace", remedy="leave it out")
        same = [key for key in known if key.rpartition("/")[2] == path.name]
        if not same and len(known) == 1:
            same = list(known)
        if len(same) != 1:
            names = ", ".join(sorted(key.rpartition("/")[2] for key in known))
            raise UserError(
                f"the run has {'no' if not same else 'more than one'} reward file {path.name}",
                where="--replace",
                remedy=f"it has {names}: give the file that name",
            )
        for function in sorted(known[same[0]]):
            try:
                resolve_reward(f"{path}:{function}", Path.cwd())
            except UserError as error:
                raise UserError(error.what, where=f"--replace {path}", remedy=error.remedy) from error
        replaced[same[0]] = path
    return replaced


def _go_on(store: Store, run_id: str, replaced: Mapping[str, Path], say: Callable[[str], None]) -> None:
    """Record which files are replaced from now on, and reopen a run that has failed.

    Raises:
        UserError: a file cannot be read, or somebody else goes on with the run.
    """
    for key, path in replaced.items():
        first = newest_number(store, run_id) + 1
        try:
            new = replace_reward_file(store, run_id, key, path, first_attempt=first)
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
        say(f"{path.name} takes the place of {key} from attempt {first} on, as {new}")
    result, times = result_and_reopenings(store, run_id)
    if result is not None and not reopen_run(store, run_id, result, times=times):
        raise UserError(
            "somebody else goes on with the run", where=run_id, remedy=f"`runner wait {run_id}` waits for it"
        )


def _backend(before: Mapping[str, Any], options: ResumeOptions) -> Backend:
    """Find what is to run the run: other machines of the same backend, unless the options name an infra of another."""
    present = backend_for(before["infra"])
    if not options.moves or (not options.resources.infra and not present.supervised_here):
        return present
    return backend_for(infra_for(options.resources, options.cluster))


def _checked_placement(
    store: Store,
    before: Mapping[str, Any],
    backend: Backend,
    options: ResumeOptions,
    environment: Mapping[str, str],
    confirm: "Confirm",
    say: Callable[[str], None],
) -> Placement:
    """Find out where the run is to continue, and check all that `launch` checks for that place."""
    run_id, recipe = before["run_id"], Recipe.from_mapping(before["recipe"])
    backend.check(options.resources, cluster=options.cluster, image=options.image)
    placement = backend.resolve(recipe, options.resources, image=options.image, before=before)
    for note in placement.notes:
        say(note)
    backend.require(store, placement)
    export = before["recipe"].get("export", {})
    require_hub_access(recipe, export, backend, environment, where=run_id, locate=lambda path: run_id, say=say)
    if placement.machines is not None:
        from runner.control.launching.cost import confirm_cost  # here: a run on this machine does without the estimates

        confirm_cost(recipe, placement.machines, confirm=confirm, say=say)
    return placement

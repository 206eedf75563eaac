"""Continue an interrupted run, where it was or elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runner.backends.base import Backend, Placement, ResourceOptions
from runner.backends.environment import chosen_environment
from runner.backends.registry import backend_for, infra_for
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
from runner.recipe.recipe import Recipe
from runner.runs.launches import (
    launch_record,
    needed_environment,
    newest_launch,
    note_launch,
    run_placement,
    with_current_placement,
)
from runner.runs.records import run_document
from runner.storage.store import Store

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """What is asked for when a run is resumed; what is left open stays as it was."""

    run_id: str
    """The run."""
    resources: ResourceOptions = field(default_factory=ResourceOptions)
    """The machines that are asked for."""
    cluster: str | None = None
    """The SkyPilot cluster to run on."""
    image: str | None = None
    """The image, by name or digest."""
    env_files: Sequence[Path] = ()
    """Files of variables that the run is given."""
    secrets: Sequence[str] = ()
    """Names of variables that the run is given besides those of its launch; values come from the environment."""
    detach: bool = False
    """Whether the run goes on in the background."""

    @property
    def moves(self) -> bool:
        """Whether the run may have to continue elsewhere than where it was."""
        return self.resources.any or self.cluster is not None or self.image is not None


def resume(
    store: Store,
    options: ResumeOptions,
    *,
    confirm: "Confirm",
    say: Callable[[str], None],
    typed: Callable[[str], str] | None = None,
    output: IO[str] | None = None,
) -> Launched:
    """Continue an interrupted run from its last checkpoint: where it was, or where the options say.

    Args:
        store: where the run lives.
        options: what is asked for.
        confirm: answers the question about the cost; it is called only if the run may cost more than the limit.
        say: receives what is worth knowing on the way.
        typed: makes a command of ours one that the person can type; None for ``runner COMMAND``.
        output: where the output of other programs goes, such as SkyPilot's; None to drop it.

    Raises:
        UserError: the run has ended, or may be running; a variable that it was launched with is not set; it cannot
            continue where it is asked to; or `confirm` said no.
    """
    run_id, cluster = options.run_id, options.cluster
    launch = newest_launch(store, run_id)
    known = {*needed_environment(store, run_id), *(launch.record.get("environment", ()) if launch else ())}
    environment = chosen_environment(options.env_files, options.secrets, needed=sorted(known))
    before = with_current_placement(run_document(store, run_id), launch)
    backend = _backend(before, options)
    placement = None
    if options.moves:
        placement = _checked_placement(store, before, backend, options, environment, confirm, say)
    else:
        cluster = launch.record["cluster"] if launch else None
    lock = None
    if not backend.supervised_here:
        document = interrupted_run(store, run_id) if placement is None else relocate(store, run_id, placement)
    else:
        if placement is not None:
            relocate_here(store, run_id, placement, environment=list(environment))
        lock = acquire_run(store, run_id)
        with closed_on_error(lock):
            document = run_placement(store, run_id)
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
    before = interrupted_run(store, run_id)
    if (before["infra"], before["image"]) == (placement.infra, placement.image):
        return
    record = launch_record(placement.fields(), engine=placement.infra, cluster=None, environment=environment)
    note_launch(store, run_id, record)


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

"""Check a launch as far as this machine can tell, before anything is written or started: for runs and sweeps alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from runner.backends.base import Backend, Placement, ResourceOptions
from runner.backends.environment import chosen_environment
from runner.control.launching.code import record_code
from runner.control.launching.left_behind import warnings_about_paths
from runner.control.launching.packages import require_extras, require_packages
from runner.control.launching.preconditions import require_hub_access
from runner.control.launching.rows import read_all_rows
from runner.control.launching.taken_along import describe_code_and_files, webhook_places
from runner.git import revision_of
from runner.recipe.loading.load import LoadedRecipe
from runner.runs.record_types.run import CodeRecord
from runner.runs.submission.prepare import PreparedRecipe, prepare
from runner.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where a launch is asked to run, and with what."""

    resources: ResourceOptions = field(default_factory=ResourceOptions)
    """The machines that are asked for."""
    cluster: str | None = None
    """The SkyPilot cluster to run on; None for machines of the run's own."""
    image: str | None = None
    """The image, by name or digest; None for the backend's default."""
    env_files: Sequence[Path] = ()
    """Files of variables that the run is given."""
    secrets: Sequence[str] = ()
    """Names of variables that the run is given; their values come from this process's environment."""

    @property
    def moves(self) -> bool:
        """Whether something that ran before may have to go on elsewhere than where it was."""
        return self.resources.any or self.cluster is not None or self.image is not None


@dataclass(frozen=True, kw_only=True)
class StartOptions(PlaceOptions):
    """The same for a run, with what it may cost."""

    max_cost: float | None = None
    """The most that all attempts together may cost, in US dollars; None: any, or as before."""
    hourly_cost: float | None = None
    """What an hour of one machine costs, in US dollars; None: as before if it stays where it was, else what
    `RUNNER_HOURLY_COST` or SkyPilot's catalog says."""
    detach: bool = False
    """Whether the run goes on in the background."""

    def fields(self) -> dict[str, Any]:
        """Each of them by its name, to make the options of one operation."""
        return {field.name: getattr(self, field.name) for field in fields(StartOptions)}


@dataclass(frozen=True, kw_only=True)
class CheckedLaunch:
    """A launch that has been checked as far as this machine can tell."""

    backend: Backend
    """What will run it."""
    loaded: LoadedRecipe
    """The recipe."""
    prepared: PreparedRecipe
    """What ``run.json`` will hold of it."""
    placement: Placement
    """Where it will run."""
    environment: Mapping[str, str]
    """The variables that it is given."""
    git_revision: str | None
    """Of the recipe's folder."""
    code: CodeRecord | None = None
    """The code around the recipe, with what was not committed."""
    code_texts: Mapping[str, bytes] = field(default_factory=dict)
    """What of it is copied to the store, by key in the run."""


def check_launch(
    backend: Backend,
    loaded: LoadedRecipe,
    place: PlaceOptions,
    *,
    say: Callable[[str], None],
    with_environment: bool = True,
) -> CheckedLaunch:
    """Check a recipe against the machines that are asked for, and say what is worth knowing.

    Args:
        backend: what will run it; its `check` has let the options through.
        loaded: the recipe.
        place: where it is to run.
        say: receives what is worth knowing.
        with_environment: whether the values of secrets are read; without, none needs to be set.

    Raises:
        UserError: something is wrong with the recipe, or with the machines that are asked for.
    """
    webhooks = webhook_places(loaded)
    environment = (
        chosen_environment(place.env_files, place.secrets, webhooks=webhooks)
        if with_environment
        else dict.fromkeys(webhooks, "")
    )
    prepared = prepare(loaded)
    git_revision = revision_of(loaded.path.parent)
    code, code_texts = record_code(loaded.path.parent, git_revision, say=say)
    placement = backend.resolve(loaded.recipe, place.resources, image=place.image)
    for note in placement.notes:
        say(note)
    for warning in loaded.warning_sentences:
        say(warning)
    # On this machine, there is always an image; elsewhere, only one that the user has named.
    named = place.image if backend.supervised_here else placement.image or loaded.recipe.resources.get("image_id")
    for warning in require_packages(
        loaded.recipe,
        here=backend.shares_environment,
        own_image=named is not None,
        where=str(loaded.path),
        locate=loaded.locate,
    ):
        say(warning)
    if backend.shares_environment:
        require_extras(loaded.recipe, where=str(loaded.path), locate=loaded.locate)
    if not backend.supervised_here:
        for warning in warnings_about_paths(loaded.recipe, locate=loaded.locate):
            say(warning)
    for sentence in describe_code_and_files(loaded.recipe, prepared.inputs.values(), list(environment)):
        say(f"{loaded.path.name} {sentence}")
    return CheckedLaunch(
        backend=backend,
        loaded=loaded,
        prepared=prepared,
        placement=placement,
        environment=environment,
        git_revision=git_revision,
        code=code,
        code_texts=code_texts,
    )


def check_what_it_needs(store: Store, checked: CheckedLaunch, *, say: Callable[[str], None]) -> None:
    """Read all local rows, and ask the backend and the hub whether the launch can work.

    Raises:
        UserError: it cannot.
    """
    loaded = checked.loaded
    read_all_rows(loaded, say=say)
    checked.backend.require(store, checked.placement)
    require_hub_access(
        loaded.recipe,
        checked.prepared.recipe["export"],
        checked.backend,
        checked.environment,
        where=str(loaded.path),
        locate=loaded.locate,
        say=say,
    )
    if checked.placement.machines is not None:
        # Here: a run on this machine does without the estimates, and reads the model's config itself.
        from runner.control.launching.hub_model import require_usable_model

        require_usable_model(loaded.recipe, where=str(loaded.path), locate=loaded.locate)

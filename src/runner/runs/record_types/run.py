"""The records of a run as it was launched: ``run.json``, ``submission.json``, ``cancel.json``, ``launches/``."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from runner.runs.record_types.money import BudgetRecord
from runner.runs.record_types.rules import (
    ArtifactKey,
    Checkpoint,
    Count,
    InputKey,
    JobName,
    Line,
    RunId,
    Size,
    StageName,
    Time,
)


class RecipeSections(TypedDict):
    """What readers without `runner.recipe.recipe` look at in a recipe, or in a stage of it."""

    method: NotRequired[Line | None]
    """How it is trained; of a recipe with stages, the first one's."""
    model: NotRequired[Mapping[str, Any]]
    """The model's settings."""
    training: NotRequired[Mapping[str, Any]]
    """The trainer's settings."""
    data: NotRequired[Mapping[str, Any]]
    """The datasets."""
    export: NotRequired[Mapping[str, Any]]
    """What is made of the trained model."""


class RecipeStage(RecipeSections):
    """A stage of the recipe in ``run.json``."""

    stage: StageName
    """The stage's name."""


class ResolvedRecipe(RecipeSections):
    """The recipe in ``run.json``; `runner.recipe.recipe.Recipe` has all of it."""

    name: NotRequired[Line | None]
    """The recipe's name."""
    stages: NotRequired[list[RecipeStage] | None]
    """The stages in order; empty or absent for a recipe without stages."""


class PlacementRecord(TypedDict):
    """The fields of ``run.json`` and of a launch that say where a run runs."""

    infra: NotRequired[Line]
    """``local``, ``docker``, or SkyPilot's name of a cloud, region or cluster."""
    accelerators: NotRequired[Mapping[Line, float] | None]
    """How many of which GPU a machine has; None: what there is, or a CPU."""
    resources: NotRequired[Mapping[str, Any] | None]
    """What SkyPilot is asked for; absent or None on this machine."""
    num_nodes: NotRequired[Size]
    """How many machines."""
    image: NotRequired[Line | None]
    """The image by digest or id, for an infra that runs images."""


class TrialOfSweep(TypedDict):
    """Which trial of which sweep a run is."""

    sweep_id: RunId
    """The sweep's id; its records are below ``sweeps/<sweep_id>/``."""
    trial: Count
    """Its number in the sweep, from 0."""
    parameters: NotRequired[Mapping[str, Any]]
    """What was drawn for it, by the names in the sweep's file."""


class RunLineage(TypedDict):
    """Which run a run comes from."""

    kind: Literal["extend", "warm_start", "reproduce"]
    """``extend``: it goes on from a checkpoint; ``warm_start``: it starts from a model; ``reproduce``: it is the same
    training again."""
    run_id: RunId
    """The other run."""
    checkpoint: NotRequired[Checkpoint | None]
    """Which of its checkpoints; None: the model that it ended with, or none."""
    digest: NotRequired[Line | None]
    """Of what was taken from it: BLAKE3 of the manifest."""
    step: NotRequired[Count]
    """Of an extension: the step at which it begins."""
    schedule: NotRequired[Literal["constant", "rewarm"]]
    """Of an extension: the learning rate from there on."""
    learning_rate: NotRequired[float | None]
    """Of a constant schedule: the learning rate."""
    reproduces: NotRequired[RunId]
    """Of an extension or warm start that is made again: the run that it is to equal."""


class CodeRecord(TypedDict):
    """The code around a run's recipe when it was launched."""

    git_revision: Line | None
    """The commit of the recipe's folder; None outside a repository."""
    dirty: bool
    """Whether the folder had changes that were not committed."""
    diff_key: NotRequired[InputKey | None]
    """The input that holds them (``git diff``), without secrets; None: there are none, or they are too large."""


class StartRecord(TypedDict):
    """``start.json``: what the first stage of a warm start starts from, by keys of the run's own artifacts."""

    base: ArtifactKey | None
    """A model; None: the recipe's."""
    adapter: ArtifactKey | None
    """An adapter that the first stage goes on training; None: a new one, if any."""


class StartClaim(TypedDict):
    """``claims/<n>.json``: `launch --once` is about to start a run again that it has found so. Written once."""

    number: Size
    """Counted from 1, as in the key."""
    nonce: Line
    """Tells apart two writers that take the same number."""
    claimed_at: Time
    """When."""
    attempts: Count
    """The number of the run's newest attempt then."""
    launches: Count
    """How often it had been handed to SkyPilot then."""
    host: NotRequired[Line]
    """Where."""
    user: NotRequired[Line]
    """Who, as the machine calls them."""
    pid: NotRequired[Count]
    """The process."""


class RunDocument(TypedDict):
    """``run.json``: what was launched. Written once."""

    version: NotRequired[Count]
    """Of this format: 1."""
    run_id: RunId
    """The run's id, which is also its folder."""
    name: Line
    """The recipe's name."""
    recipe: ResolvedRecipe
    """The resolved recipe."""
    settings: NotRequired[Mapping[str, Any]]
    """Each setting with its source."""
    digest: NotRequired[Line]
    """Of the recipe and its inputs: equal for equal trainings."""
    infra: Line
    """See `PlacementRecord`; where the run was launched to first."""
    accelerators: Mapping[Line, float] | None
    """See `PlacementRecord`."""
    resources: NotRequired[Mapping[str, Any] | None]
    """See `PlacementRecord`."""
    num_nodes: NotRequired[Size]
    """See `PlacementRecord`."""
    image: NotRequired[Line | None]
    """See `PlacementRecord`."""
    runner_version: NotRequired[Line]
    """The version that launched it."""
    git_revision: NotRequired[Line | None]
    """Of the recipe's folder; None outside a repository."""
    created_at: Time
    """When it was launched."""
    sweep: NotRequired[TrialOfSweep]
    """Of a sweep's trial: which one; absent for other runs."""
    budget: NotRequired[BudgetRecord]
    """What the owner said of money at the launch; ``budget/<n>.json`` says what counts since."""
    lineage: NotRequired[RunLineage]
    """The run that it comes from, if it does from one."""
    code: NotRequired[CodeRecord]
    """The code around the recipe; older records have none."""


class Submission(TypedDict):
    """``submission.json``: who supervises a run of this machine, as it was launched first. Written once."""

    version: NotRequired[Count]
    """Of this format: 1."""
    engine: NotRequired[Line]
    """``local``."""
    host: NotRequired[Line]
    """The supervisor's host name."""
    boot_id: NotRequired[Line | None]
    """The kernel's id of that machine's present boot; None if it has none."""
    pid: NotRequired[Count]
    """The supervisor's process."""
    environment: NotRequired[list[Line]]
    """Names of the variables that the run was given."""
    submitted_at: NotRequired[Line]
    """When."""


class CancelRequest(TypedDict):
    """``cancel.json``: somebody wants the run to end. That it exists is all that readers look at. Written once."""

    requested_at: Line
    """When."""
    host: Line
    """Where `runner cancel` ran."""
    pid: int
    """Its process."""


class Reopening(TypedDict):
    """``reopened/<n>.json``: the owner goes on with a run that failed. Written once."""

    number: Count
    """Counted from 1, as in the key."""
    reopened_at: Line
    """When."""
    host: NotRequired[Line]
    """Where `runner resume` ran."""
    user: NotRequired[Line]
    """Who ran it, as the machine calls them."""
    pid: NotRequired[Count]
    """Its process."""
    attempts: Count
    """The number of the last attempt before: those after it belong to the run's new life."""
    state: Line
    """How it had ended: ``failed``."""
    reason: NotRequired[str | None]
    """Why."""


class Replacement(TypedDict):
    """``replaced/<n>.json``: a reward file takes the place of one that was uploaded with the recipe. Written once."""

    number: Count
    """Counted from 1, as in the key."""
    replaced_at: Line
    """When."""
    host: NotRequired[Line]
    """Where `runner resume` ran."""
    user: NotRequired[Line]
    """Who ran it, as the machine calls them."""
    pid: NotRequired[Count]
    """Its process."""
    inputs: Mapping[InputKey, InputKey]
    """The new input's key (with its digest) by that of the one in ``run.json``."""
    first_attempt: Count
    """The first attempt that it counts for."""


class LaunchRecord(PlacementRecord):
    """``launches/<n>.json``: the run is about to be handed to SkyPilot, or has come back from there."""

    name: JobName
    """SkyPilot's name of the job."""
    number: NotRequired[Count]
    """Counted from 1, as in the key."""
    engine: NotRequired[Line]
    """``skypilot`` (also if it is absent), or the infra of this machine that the run came back to."""
    cluster: NotRequired[Line | None]
    """SkyPilot's, for a run on one; None: a managed job."""
    environment: NotRequired[list[Line]]
    """Names of the variables that the run is given."""
    requested_at: NotRequired[Line]
    """When."""
    host: NotRequired[Line]
    """Where it was launched."""
    pid: NotRequired[Count]
    """The process that launched it."""


class LaunchJob(TypedDict):
    """``launches/<n>.job.json``: SkyPilot has taken the launch."""

    job_id: int | None
    """SkyPilot's number of the job."""


class LaunchEnded(TypedDict):
    """``launches/<n>.ended.json``: SkyPilot is done with the launch."""

    status: str | None
    """SkyPilot's status in its own words, or ``REFUSED``, ``UNKNOWN``."""
    reason: NotRequired[str | None]
    """Why, if SkyPilot said so."""

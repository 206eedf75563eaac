"""The records of one attempt, and of its stages: ``attempts/<n>.….json``."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from runner.runs.record_types.rules import Checkpoint, Count, Line, Size, Split, StageName, Token


class ClaimRecord(TypedDict):
    """``attempts/<n>.json``: an attempt has taken this number."""

    token: Token
    """Unique among the run's attempts; in the keys of all that the attempt writes."""
    number: NotRequired[Count]
    """Counted from 1, as in the key."""
    host: NotRequired[Line]
    """The host name, which in a container is the container's."""
    boot_id: NotRequired[Line | None]
    """The kernel's id of the machine's present boot; None if it has none."""
    pid_namespace: NotRequired[Line | None]
    """Of the process, by which containers of one machine are told apart."""
    pid: NotRequired[Count]
    """The attempt's process."""
    started_at: NotRequired[Line]
    """When."""
    nodes: NotRequired[Size]
    """Machines, for an attempt of several training processes."""
    processes: NotRequired[Size]
    """Training processes on all machines."""


class RestoredRecord(TypedDict):
    """``attempts/<n>.restored.json``: the attempt has begun."""

    token: Token
    """The attempt's."""
    checkpoint: Checkpoint | None
    """What it continues from; None: from the beginning."""
    stages: NotRequired[list[StageName]]
    """The run's stages in the recipe's order."""


class Heartbeat(TypedDict):
    """``attempts/<n>.heartbeat.json``: what the attempt is doing. Overwritten every few seconds; only a hint."""

    token: NotRequired[Token]
    """The attempt's."""
    at: NotRequired[Line]
    """When, by the attempt's clock."""
    phase: NotRequired[str | None]
    """``starting``, ``restoring``, ``loading``, ``training``, ``evaluating``, ``exporting``, ``uploading`` …"""
    message: NotRequired[str | None]
    """What people should know."""
    stage: NotRequired[StageName | None]
    """The stage that it is in, of a run with stages."""
    stage_number: NotRequired[Count | None]
    """That stage's place, from 1."""
    stage_count: NotRequired[Count | None]
    """How many stages there are."""
    step: NotRequired[Count | None]
    """Optimizer steps taken (in the stage)."""
    max_steps: NotRequired[Count | None]
    """Optimizer steps in all (in the stage)."""
    checkpoint_step: NotRequired[Count | None]
    """The step of the newest durable checkpoint."""
    loss: NotRequired[float | None]
    """The last training loss."""
    tokens_per_second: NotRequired[float | None]
    """Training speed."""
    eta_seconds: NotRequired[float | None]
    """Time left."""
    tokens: NotRequired[Count | None]
    """Tokens trained on so far (in the stage)."""
    idle_seconds: NotRequired[float | None]
    """For how long there had been no progress (no step, no batch, no bytes) when this was written."""
    hang_seconds: NotRequired[float | None]
    """After how long without progress the attempt is ended; None: never."""
    cost: NotRequired[float | None]
    """What all attempts at the run have cost so far, in US dollars; None: no machine had a price."""
    cost_per_hour: NotRequired[float | None]
    """What an hour of this attempt's machines costs, in US dollars; None: they have no price."""
    hang: NotRequired[str | None]
    """That the attempt hangs and is being ended, for the other machines and for people."""


class AttemptEnded(TypedDict):
    """``attempts/<n>.ended.json``: how the attempt ended; absent if it was killed with its machine."""

    token: NotRequired[Token]
    """The attempt's."""
    ended_at: NotRequired[Line]
    """When."""
    exit_code: NotRequired[int]
    """The attempt's; negative: the signal that killed it."""
    outcome: NotRequired[Line]
    """``succeeded``, ``failed``, ``cancelled``, ``interrupted`` or ``superseded``."""
    reason: NotRequired[str | None]
    """Why, for people."""
    retry: NotRequired[bool]
    """Whether another attempt may get further without anything being fixed."""
    outside: NotRequired[bool]
    """Whether something outside of the run failed (a service, a mount, a GPU) that may be back later."""
    again: NotRequired[bool]
    """Whether this very process makes another attempt, after memory ran out or training hung."""
    paused: NotRequired[bool]
    """Whether it ended at the step that its sweep had it train to: nothing is wrong, and its sweep goes on with it."""
    cause: NotRequired[Line]
    """Of a failure that says something of the recipe's values: ``diverged`` or ``out_of_memory``."""
    hung: NotRequired[bool]
    """Whether it was ended because training hung."""
    capped: NotRequired[bool]
    """Whether it ended because the run was about to cost more than its owner's ``--max-cost``."""
    split: NotRequired[Split]
    """Micro-batch and accumulation of attempts from now on, after memory ran out."""


class FitRecord(TypedDict):
    """``attempts/<n>.fit-<stage>.json``: how a stage was fitted to the GPUs."""

    token: NotRequired[Token]
    """The attempt's."""
    accelerators: Line
    """Which GPUs, as ``A100:8``."""
    nodes: NotRequired[Size]
    """How many machines."""
    fits: NotRequired[bool]
    """Whether it is estimated to fit."""
    reason: NotRequired[str]
    """What was chosen, for people."""
    memory_gib: NotRequired[float]
    """What it is estimated to take on each GPU."""
    capacity_gib: NotRequired[float]
    """What each GPU has."""
    settings: Mapping[str, Any]
    """What was chosen: values by path in the recipe."""


class HardwareRecord(TypedDict):
    """``attempts/<n>.hardware-<stage>.json``, and a result's ``hardware``: what a stage is computed with."""

    token: NotRequired[Token]
    """The attempt's; absent from a result."""
    device: Line
    """The GPU's name, or ``cpu``."""
    compute_capability: Line | None
    """CUDA's, as ``8.0``."""
    torch: Line
    """Its version."""
    precision: Line
    """``bf16``, ``fp16`` or ``float32``."""
    weights: Line
    """The type of the weights."""
    quantization: Line | None
    """``nf4``, ``fp4``, ``int8`` or another method; None: not quantized."""
    attn_implementation: Line | None
    """transformers' name."""
    optim: Line
    """transformers' name."""
    use_liger_kernel: bool
    """Whether Liger's kernels replace layers."""
    packing: Line | None
    """The packing strategy; None: not packed."""
    padding_free: bool
    """Whether batches are flattened."""
    layout: NotRequired[Line]
    """The layout of the rows that it trains on, such as ``conversations``; older records have none."""
    loss_on: Line | None
    """What part of each example the loss is on; None for methods that have no such choice."""
    activation_checkpointing: bool
    """Whether activations are computed again in the backward pass."""
    per_device_train_batch_size: int
    """The micro-batch."""
    gradient_accumulation_steps: int
    """Micro-batches in a step."""

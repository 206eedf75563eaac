"""The fit: how a recipe runs on a given GPU without changing what it trains.

Precision, micro-batch x accumulation x devices, checkpointing, the attention kernel and ZeRO follow the GPU. The
effective batch and every other hyperparameter are the recipe's. Pure: the control side plans with it, and the training
side applies it to the GPU that it runs on.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from runner.errors import UserError
from runner.fit.accelerators import Accelerator
from runner.fit.memory import Memory, estimate
from runner.fit.model_shape import shape_of
from runner.fit.row_lengths import RowLengths
from runner.fit.setup import Attention
from runner.fit.workload import Workload, checkpoints_activations, choose_dtype, precision, setting, setup, workload
from runner.recipe.batch import split_batch
from runner.recipe.recipe import Json, Recipe
from runner.recipe.strategy import Strategy, offloads, zero_stage

MARGIN = 0.02
"""The share of a GPU's memory that no plan takes: what the estimate knows is in its terms."""
COMFORT = 0.10
"""The share that stays free where there is a choice: estimates are off by about this much."""
LARGEST_MICRO_BATCH = 16
"""With larger ones a GPU is not faster, and padding to the longest row wastes more."""
RECOMPUTING = 0.75
"""Relative speed of a step with checkpointing: it computes four passes instead of three."""
SATURATING_TOKENS = 1024
"""Tokens per pass at which a GPU reaches half of its peak: T tokens reach T / (T + 1024) of it."""
_STRATEGY_SPEED: Mapping[str, float] = {
    "ddp": 1.0,
    "zero2": 0.9,
    "zero3": 0.7,
    "zero2_offload": 0.4,
    "zero3_offload": 0.3,
}
"""Speed of a step relative to DDP: an order of preference, not measurements."""


_ALIKE = 1.05
"""Ways that do not fit differ by less than the estimate can tell up to here."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a recipe runs on some GPUs, or why it does not."""

    accelerators: str
    """SkyPilot's form, ``A100:8``."""
    devices: int
    """GPUs per machine."""
    nodes: int
    """Machines."""
    fits: bool
    reason: str
    """What was chosen; or why it does not fit, and what to do."""
    memory_gib: float
    """The estimated peak on one GPU."""
    capacity_gib: float
    """The GPU's memory."""
    micro_batch: int
    """`per_device_train_batch_size`."""
    accumulation: int
    """`gradient_accumulation_steps`."""
    strategy: Strategy
    """How the GPUs share the work; ``ddp`` also for one."""
    precision: Literal["bf16", "fp16", "fp32"]
    attn_implementation: str
    gradient_checkpointing: bool
    settings: Mapping[str, Json] = field(default_factory=dict)
    """The settings to add to the recipe, by dotted path: only those that it does not set itself."""
    notes: tuple[str, ...] = ()
    """What the user should know: no bfloat16, assumptions."""
    memory: Memory | None = None
    """The peak by its terms."""

    @property
    def is_too_large(self) -> bool:
        """Whether it does not fit because of memory."""
        return self.memory_gib > self.capacity_gib * (1 - MARGIN)

    @property
    def effective_batch(self) -> int:
        """Rows in one optimizer step."""
        return self.micro_batch * self.accumulation * self.devices * self.nodes


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    micro_batch: int
    accumulation: int
    checkpointing: bool
    strategy: Strategy
    evaluation_batch: int


def fit(
    recipe: Recipe, config: Mapping[str, Json], accelerator: Accelerator, *, devices: int = 1, nodes: int = 1
) -> Fit:
    """Fit a recipe to GPUs.

    What the recipe sets itself (`per_device_train_batch_size`, `gradient_accumulation_steps`, `gradient_checkpointing`,
    `attn_implementation`, `bf16`, `fp16`, `dtype`, `strategy`) stays, and the fit says whether that fits. For the rest
    the fastest way is chosen that leaves `COMFORT` of the GPU free, else the fastest that fits. For a recipe with
    stages, return the fit of the worst stage; each stage is fitted separately when it is trained.

    Args:
        config: the model's `config.json`.
        devices: number of GPUs per machine.
        nodes: number of machines.

    Raises:
        UserError: the config is not a language model's, or the model does not have the adapter's targets.
    """
    works = workloads(recipe, config)
    return worst_fit([fit_workload(work, accelerator, devices=devices, nodes=nodes) for work in works])


def workloads(recipe: Recipe, config: Mapping[str, Json], lengths: Sequence[RowLengths | None] = ()) -> list[Workload]:
    """Return the workload of each stage, in order. All stages train a model of the config's shape.

    Args:
        lengths: how long each stage's training rows are, as far as that is known.
    """
    shape = shape_of(config, name=str(recipe.model["model_name_or_path"]))
    known = itertools.chain(lengths, itertools.repeat(None))
    return [workload(stage, shape, each) for stage, each in zip(recipe.in_order, known, strict=False)]


def worst_fit(fits: Sequence[Fit]) -> Fit:
    """Return the fit that decides for a run's stages: the first that does not fit, else the largest."""
    return next(
        (candidate for candidate in fits if not candidate.fits), max(fits, key=lambda candidate: candidate.memory_gib)
    )


def fit_workload(work: Workload, accelerator: Accelerator, *, devices: int, nodes: int) -> Fit:
    """Fit a recipe whose workload is known already, to try many GPUs in turn."""
    recipe = work.recipe
    attention = cast(Attention, recipe.model.get("attn_implementation") or "sdpa")
    computing = precision(recipe, accelerator)
    refusal = _impossible(recipe, accelerator, attention)
    try:
        share = split_batch(recipe.training, devices * nodes)
    except UserError as error:
        refusal = f"effective_batch_size: {error.what}; {error.remedy}"
        share = (1, 1)
    best: tuple[tuple[bool, float], _Candidate, Memory] | None = None
    tried: list[tuple[_Candidate, Memory]] = []
    for candidate in _candidates(work, share, devices * nodes):
        memory = _memory(work, accelerator, candidate, devices * nodes, attention)
        tried.append((candidate, memory))
        if memory.gib <= accelerator.memory_gib * (1 - MARGIN):
            comfortable = memory.allocated_gib <= accelerator.memory_gib * (1 - COMFORT)
            speed = comfortable, _speed(work, candidate)
            if best is None or speed > best[0]:
                best = speed, candidate, memory
    chosen, memory = best[1:] if best is not None else _smallest(tried)
    fits = best is not None and refusal is None
    settings = _settings(recipe, work, chosen, computing, devices * nodes)
    notes = [*_notes(recipe, accelerator, computing, settings), *work.assumptions]
    if devices * nodes > 1 and recipe.training.get("effective_batch_size") is None:
        step = chosen.micro_batch * chosen.accumulation
        notes.append(
            f"{devices * nodes} GPUs make a step of {step * devices * nodes} rows: the recipe says how many each takes "
            f"({step}); effective_batch_size would say how many a step has"
        )
    return Fit(
        accelerators=f"{accelerator.name}:{devices}",
        devices=devices,
        nodes=nodes,
        fits=fits,
        reason=refusal
        or (_choice(chosen, computing, devices * nodes) if fits else _too_large(work, chosen, memory, accelerator)),
        memory_gib=round(memory.gib, 2),
        capacity_gib=accelerator.memory_gib,
        micro_batch=chosen.micro_batch,
        accumulation=chosen.accumulation,
        strategy=chosen.strategy,
        precision=computing,
        attn_implementation=attention,
        gradient_checkpointing=chosen.checkpointing,
        settings=settings,
        notes=tuple(notes),
        memory=memory,
    )


def _candidates(work: Workload, share: tuple[int, int], world: int) -> Iterator[_Candidate]:
    """Yield every way to run that the recipe leaves open."""
    recipe = work.recipe
    training = recipe.training
    micro_set, steps_set = training.get("per_device_train_batch_size"), training.get("gradient_accumulation_steps")
    rows = share[0] * share[1]
    if micro_set is not None or steps_set is not None:
        splits = [share]
    else:
        splits = [(size, rows // size) for size in range(min(rows, LARGEST_MICRO_BATCH), 0, -1) if rows % size == 0]
    own_choice = checkpoints_activations(recipe)
    checkpointing = (False, True) if own_choice is None else (own_choice,)
    evaluation = _evaluation_batches(work)
    for strategy in _strategies(work, world):
        for micro, accumulation in splits:
            for recompute in checkpointing:
                for evaluated in evaluation:
                    yield _Candidate(
                        micro_batch=micro,
                        accumulation=accumulation,
                        checkpointing=recompute,
                        strategy=strategy,
                        evaluation_batch=evaluated,
                    )


def _strategies(work: Workload, world: int) -> tuple[Strategy, ...]:
    """Return the strategies for this many GPUs that the recipe leaves open and its method supports."""
    recipe, training = work.recipe, work.recipe.training
    if training.get("deepspeed"):
        return (_nearest_strategy(training),)
    if training.get("strategy") is not None:
        return (cast(Strategy, training["strategy"]),)
    without_zero = (
        recipe.method == "grpo"
        or recipe.stage is not None
        or (recipe.method == "dpo" and setting(recipe, "precompute_ref_log_probs"))
    )
    if world == 1 or without_zero:
        return ("ddp",)
    return ("ddp", "zero2") if work.quantized_bits else ("ddp", "zero2", "zero3")


def _nearest_strategy(training: Mapping[str, Json]) -> Strategy:
    """Return the strategy that is nearest to the user's own DeepSpeed configuration."""
    stage, offloaded = zero_stage(training, None), offloads(training)
    if stage == 3:
        return "zero3_offload" if offloaded else "zero3"
    if stage == 0:
        return "ddp"
    return "zero2_offload" if offloaded else "zero2"


def _evaluation_batches(work: Workload) -> tuple[int, ...]:
    if not work.evaluates:
        return (0,)
    whole = int(setting(work.recipe, "per_device_eval_batch_size"))
    if work.recipe.training.get("per_device_eval_batch_size") is not None or work.recipe.method == "grpo":
        return (whole,)  # GRPO's evaluation batch holds whole groups
    return tuple(size for size in (whole, 4, 2, 1) if size <= whole)


def _memory(
    work: Workload, accelerator: Accelerator, candidate: _Candidate, world: int, attention: Attention
) -> Memory:
    return estimate(
        setup(
            work,
            accelerator,
            micro_batch=candidate.micro_batch,
            accumulation=candidate.accumulation,
            generated=_generated(work, candidate, world),
            evaluation_batch=candidate.evaluation_batch,
            checkpointing=candidate.checkpointing,
            devices=world,
            strategy=candidate.strategy,
            attention=attention,
        ),
        accelerator.memory_gib * (1 - MARGIN),
    )


def _generated(work: Workload, candidate: _Candidate, world: int) -> int:
    """Return the number of completions that GRPO generates at a time on one GPU."""
    if work.recipe.method != "grpo":
        return 0
    size, steps = setting(work.recipe, "generation_batch_size"), setting(work.recipe, "steps_per_generation")
    if size is not None:
        return max(1, int(size) // world)
    training = candidate.micro_batch * int(steps or candidate.accumulation)
    return max(training, candidate.evaluation_batch)


def _speed(work: Workload, candidate: _Candidate) -> float:
    """Return a candidate's relative speed, to choose among those that fit."""
    tokens = candidate.micro_batch * work.length
    speed = tokens / (tokens + SATURATING_TOKENS) * _STRATEGY_SPEED[candidate.strategy]
    speed *= RECOMPUTING if candidate.checkpointing else 1.0
    return speed * (1 + candidate.evaluation_batch / 1000)  # prefers the recipe's own evaluation batch if it fits


def _impossible(recipe: Recipe, accelerator: Accelerator, attention: str) -> str | None:
    """Return what the recipe asks for that the GPU or the strategy does not support."""
    if recipe.training.get("bf16") and not accelerator.bf16:
        return f"{accelerator.name} has no bfloat16; write `fp16: true`, or leave both out: the GPU decides"
    for key in ("dtype", "bnb_4bit_compute_dtype"):
        if recipe.model.get(key) == "bfloat16" and not accelerator.bf16:
            return f"{accelerator.name} has no bfloat16, which `model.{key}` asks for; leave it out"
    if attention.startswith("flash_attention") and not accelerator.flash_attention:
        return f"{accelerator.name} is too old for `attn_implementation: {attention}`; write `sdpa`, or leave it out"
    quantized = recipe.model.get("load_in_4bit") or recipe.model.get("load_in_8bit")
    if quantized and str(recipe.training.get("strategy")).startswith("zero3"):
        return "ZeRO-3 cannot share a quantized model's weights; write `strategy: zero2`, or leave it out"
    return None


def _settings(recipe: Recipe, work: Workload, chosen: _Candidate, computing: str, world: int) -> dict[str, Json]:
    training = recipe.training
    added: dict[str, Json] = {}
    if training.get("per_device_train_batch_size") is None:
        added["training.per_device_train_batch_size"] = chosen.micro_batch
    if training.get("gradient_accumulation_steps") is None:
        added["training.gradient_accumulation_steps"] = chosen.accumulation
    if checkpoints_activations(recipe) is None:
        added["training.gradient_checkpointing"] = chosen.checkpointing
    if training.get("bf16") is None and training.get("fp16") is None:
        added[f"training.{computing}"] = True
    if work.evaluates and chosen.evaluation_batch != setting(recipe, "per_device_eval_batch_size"):
        added["training.per_device_eval_batch_size"] = chosen.evaluation_batch
    if world > 1 and training.get("strategy") is None and not training.get("deepspeed"):
        added["training.strategy"] = chosen.strategy
    if (dtype := choose_dtype(work, computing)) is not None:
        added["model.dtype"] = dtype
    return added


def _notes(recipe: Recipe, accelerator: Accelerator, computing: str, settings: Mapping[str, Json]) -> Iterator[str]:
    if computing == "fp16" and not accelerator.bf16:
        yield f"{accelerator.name} has no bfloat16: float16 with loss scaling"
    if (batch := settings.get("training.per_device_eval_batch_size")) is not None:
        yield f"evaluates {batch} at a time instead of {setting(recipe, 'per_device_eval_batch_size')}"


def _smallest(tried: Sequence[tuple[_Candidate, Memory]]) -> tuple[_Candidate, Memory]:
    """The way to try if none fits: the smallest micro-batch of those that hardly differ.

    Where the optimizer's step is the peak, they are alike by the estimate; where the estimate is wrong, they are not.
    """
    least = min(memory.total for _, memory in tried)
    alike = [(candidate, memory) for candidate, memory in tried if memory.total <= _ALIKE * least]
    return min(alike, key=lambda one: (one[0].micro_batch, one[0].evaluation_batch, one[1].total))


def _choice(chosen: _Candidate, computing: str, world: int) -> str:
    words = [
        computing,
        f"micro-batch {chosen.micro_batch} x accumulation {chosen.accumulation}"
        + (f" x {world} GPUs" if world > 1 else ""),
        "checkpointing" if chosen.checkpointing else "no checkpointing",
    ]
    if world > 1 or chosen.strategy != "ddp":
        words.append(chosen.strategy)
    return ", ".join(words)


def _too_large(work: Workload, chosen: _Candidate, memory: Memory, accelerator: Accelerator) -> str:
    what = f"micro-batch {chosen.micro_batch}"
    if chosen.checkpointing:
        what += " with checkpointing"
    room = accelerator.memory_gib * (1 - MARGIN)
    text = f"needs {memory.gib:.1f} GiB ({what}); {room:.1f} of {accelerator.memory_gib:.1f} GiB can be planned with"
    if work.recipe.adapter is None:
        return f"{text}; an adapter, or more GPUs, would need less"
    if not work.quantized_bits:
        return f"{text}; `load_in_4bit: true` would need less"
    return f"{text}; a shorter max_length would need less" if work.recipe.method != "grpo" else text


def apply_fit_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with a fit's settings added."""
    model, training = dict(recipe.model), dict(recipe.training)
    for path, value in settings.items():
        section, _, key = path.partition(".")
        (model if section == "model" else training)[key] = value
    return replace(recipe, model=model, training=training)

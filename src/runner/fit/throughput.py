"""Estimate how long a training takes, as a range in which four of five times should lie. Pure.

A model with a few constants that were fitted to published times, each given here with its reason.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from runner.fit.accelerators import Accelerator
from runner.fit.fit import Fit
from runner.fit.workload import Workload, setting

ASSUMED_ROWS = 10_000
"""Assumed rows of data whose size is unknown."""
SHORTEST_SHARE = 0.25
"""The lowest assumed share of `max_length` that unpacked rows fill."""

DATASET_ROWS = {
    "yahma/alpaca-cleaned": 51_760,
    "mlabonne/FineTome-100k": 100_000,
    "Intel/orca_dpo_pairs": 12_859,
    "Nan-Do/code-search-net-python": 455_243,
    "MathLLMs/MathCodeInstruct": 78_398,
    "xw27/scibench": 692,
    "Naholav/CodeGen-Diverse-5K": 5_000,
    "builtin:arithmetic": 2_000,
    "builtin:python-docstrings": 7_000,
}
"""Rows of the shipped recipes' data, from the datasets' pages or names; approximate for the docstrings."""
DATASET_TOKENS = {
    "yahma/alpaca-cleaned": (120, 300),
    "mlabonne/FineTome-100k": (300, 800),
    "Intel/orca_dpo_pairs": (250, 600),
    "Nan-Do/code-search-net-python": (100, 300),
    "builtin:arithmetic": (30, 60),
    "builtin:python-docstrings": (20, 60),
}
"""Mean tokens per row, from the most to the least compact tokenizer; estimates."""

ARITHMETIC = {
    # Share of peak arithmetic that large passes reach, by compute capability. That of 8.0 is fitted to published times
    # (benchmarks/results/2026-11-28-plan.md), the others are taken from few points or in proportion.
    (7, 0): 0.40,
    (7, 5): 0.35,
    (8, 0): 0.56,
    (8, 6): 0.45,
    (8, 9): 0.30,
    (9, 0): 0.40,
    (10, 0): 0.35,
    (10, 3): 0.35,
    (12, 0): 0.35,
}
_ANY_ARITHMETIC = 0.35
LAUNCH_SECONDS = {"full": 1.5e-3, "lora": 1.2e-3, "quantized": 1.7e-3}
"""Seconds in which Python launches the kernels of one block in one direction: a pass is no faster, however short."""
NORM = 2
"""The exponent with which launching, arithmetic and communication add up: they overlap in part."""
DEQUANTIZING = (0.56 + 2) / 0.11
"""Bytes that reading a 4-bit weight and writing its 16 bits move, over the share of bandwidth that this reaches."""
STEP_BYTES = 30
"""Bytes that a step of AdamW moves for each trained weight."""
LINK_BYTES = {True: 150e9, False: 20e9}
"""Bytes a second between the GPUs of a machine, by whether they have NVLink."""
NETWORK = 2.0
"""How much longer a step takes over the network of two machines than over the links of one."""
NETWORK_BYTES = 10e9
"""Bytes a second between machines: a network of 100 Gbit/s, not quite used."""
SPREAD = 1.85
"""Four of five times lie between the estimate over this and times this; of published times that the constants had not
seen, about so many do."""
_NVLINK = ("V100", "A100", "H100", "H200", "B200", "B300")
BANDWIDTH_SHARE = (0.15, 0.5)
"""(low, high) of peak memory bandwidth that generation through transformers reaches; it launches kernels one by one."""
DECODE_STEP_SECONDS = (0.010, 0.040)
"""(low, high) overhead of one step of transformers' generation loop for any model: Python and kernel launches."""
STARTUP_HOURS = (0.05, 0.15)
"""(low, high) for machine, image, model and data before the first step, and export and upload after the last."""
SPOT_OVERHEAD = ((5.0, 1.11), (10.0, 1.12), (30.0, 1.20), (60.0, 1.35))
"""(minutes between saves, paid hours per useful hour), from public preemption traces of V100s in four zones (mean
uptime 1.4 to 3.1 h), replayed on a job of 8 hours with restarts of 6 minutes."""
SPOT_WITHOUT_SAVES = 3.0
"""Paid hours per useful hour without checkpoints; a fifth of such jobs never ended."""


@dataclass(frozen=True, kw_only=True)
class Time:
    """An estimate of a training's duration."""

    steps: int
    """Optimizer steps."""
    hours: tuple[float, float]
    """(low, high): an interval that should hold four of five times."""
    assumptions: tuple[str, ...]
    """The assumptions, in sentences."""


def rows_of(work: Workload) -> tuple[int, bool]:
    """Return the rows of an epoch, and whether the number is known rather than assumed."""
    if work.lengths is not None:
        return _without_held_out(work, work.lengths.rows), work.lengths.complete
    total, known = 0, True
    for source in work.recipe.data.train:
        rows = DATASET_ROWS.get(source.path)
        if isinstance(source.sample, int) and not isinstance(source.sample, bool):
            rows = min(rows, source.sample) if rows else source.sample
        elif rows is None:
            rows, known = ASSUMED_ROWS, False
        if isinstance(source.sample, float):
            rows = int(rows * source.sample)
        total += rows
    return _without_held_out(work, total), known


def _without_held_out(work: Workload, rows: int) -> int:
    held_out = work.recipe.data.eval_from_train
    if held_out is not None:
        rows -= int(rows * held_out) if isinstance(held_out, float) else int(held_out)
    return max(1, rows)


def tokens_of_a_row(work: Workload) -> tuple[float, float]:
    """Return the (low, high) mean tokens per row. Packed rows are full."""
    if work.recipe.method == "grpo":
        return work.length * SHORTEST_SHARE, float(work.length)
    if setting(work.recipe, "packing"):
        return float(work.length), float(work.length)
    if work.lengths is not None:
        least, most = work.lengths.mean
        return min(work.length, least), min(work.length, most)
    known = [DATASET_TOKENS.get(source.path) for source in work.recipe.data.train]
    if all(each is not None for each in known):
        return (
            min(work.length, min(each[0] for each in known if each)),
            min(work.length, max(each[1] for each in known if each)),
        )
    return work.length * SHORTEST_SHARE, float(work.length)


def estimate_time(work: Workload, fit: Fit, accelerator: Accelerator) -> Time:
    """Estimate the duration of a fitted training.

    Args:
        accelerator: must be one whose peaks are known.
    """
    assumptions: list[str] = []
    steps = _steps(work, fit, assumptions)
    least, most = tokens_of_a_row(work)
    seconds = math.sqrt(step_seconds(work, fit, accelerator, least) * step_seconds(work, fit, accelerator, most))
    # Independent errors: their logarithms' squares add up.
    lengths = math.log(step_seconds(work, fit, accelerator, most) / seconds)
    spread = math.exp(math.hypot(math.log(SPREAD), lengths))
    fast, slow = seconds / spread, seconds * spread
    if work.recipe.method == "grpo":
        generating = _generation_seconds(work, fit, accelerator)
        fast, slow = fast + generating[0], slow + generating[1]
    hours = (steps * fast / 3600 + STARTUP_HOURS[0], steps * slow / 3600 + STARTUP_HOURS[1])
    return Time(steps=steps, hours=hours, assumptions=tuple(assumptions))


def total_time(times: Sequence[Time]) -> Time:
    """Add up the stages of one run, which start up only once."""
    again = len(times) - 1
    return Time(
        steps=sum(time.steps for time in times),
        hours=(
            sum(time.hours[0] for time in times) - again * STARTUP_HOURS[0],
            sum(time.hours[1] for time in times) - again * STARTUP_HOURS[1],
        ),
        assumptions=tuple(dict.fromkeys(each for time in times for each in time.assumptions)),
    )


def flops_per_token(work: Workload, fit: Fit) -> float:
    """Return the floating point operations per token.

    Per weight 2 in the forward pass, 2 for the gradient of a layer's input, and 2 for that of its weights (Kaplan et
    al. 2020, section 2.1): 6 N in total; with a frozen base 4 N, plus 6 per weight of the adapter. Checkpointing adds a
    forward pass, a reference model another one, and attention 12 x layers x width x length, halved because it
    is causal.
    """
    n = work.shape.active_parameters
    forward = 2.0 * n + 2.0 * work.shape.layers * work.shape.query_width * work.length
    if work.recipe.adapter is None:
        total = 3 * forward
    else:
        total = 2 * forward + 6 * (work.adapter_weights + work.fully_trained)
    if fit.gradient_checkpointing:
        total += forward
    if work.recipe.method == "dpo" or (work.recipe.method == "grpo" and setting(work.recipe, "beta")):
        total += forward
    return total


def _steps(work: Workload, fit: Fit, assumptions: list[str]) -> int:
    limit = int(setting(work.recipe, "max_steps") or -1)
    if limit > 0:
        return limit
    rows, known = rows_of(work)
    if not known:
        assumptions.append(f"{rows} rows of training data, since their number is not known here")
    if setting(work.recipe, "packing"):
        _, most = _unpacked_tokens(work)
        rows = max(1, int(rows * most / work.length))
    if work.recipe.method == "grpo":
        rows *= int(setting(work.recipe, "num_generations") or 1)
    epochs = float(setting(work.recipe, "num_train_epochs") or 1)
    return max(1, round(rows * epochs / fit.effective_batch))


def _unpacked_tokens(work: Workload) -> tuple[float, float]:
    if work.lengths is not None:
        return work.lengths.mean
    known = [DATASET_TOKENS[source.path] for source in work.recipe.data.train if source.path in DATASET_TOKENS]
    if known:
        return min(each[0] for each in known), max(each[1] for each in known)
    return work.length * SHORTEST_SHARE, float(work.length)


def step_seconds(work: Workload, fit: Fit, accelerator: Accelerator, tokens_of_row: float) -> float:
    """Return the seconds of one optimizer step.

    A pass is bound by launching its kernels or by its arithmetic (with converting quantized weights back), whichever is
    longer, or in part by both; ZeRO-3 gathers the weights in it three times.

    Args:
        tokens_of_row: mean tokens of a row, with padding.
    """
    shape, world = work.shape, fit.devices * fit.nodes
    tokens = fit.micro_batch * tokens_of_row * (2 if work.recipe.method == "dpo" else 1)
    share = ARITHMETIC.get(accelerator.capability, _ANY_ARITHMETIC)
    directions = 4 if fit.gradient_checkpointing else 3
    arithmetic = tokens * flops_per_token(work, fit) / (accelerator.tflops * 1e12 * share)
    kind = "full" if work.recipe.adapter is None else "lora"
    if work.quantized_bits:
        kind = "quantized"
        arithmetic += (directions - 1) * shape.linear_weights * DEQUANTIZING / (accelerator.bandwidth_gb_s * 1e9)
    launching = shape.layers * directions * LAUNCH_SECONDS[kind]
    trained = work.adapter_weights + work.fully_trained
    link = LINK_BYTES[accelerator.name.startswith(_NVLINK)] if fit.nodes == 1 else NETWORK_BYTES
    moved = 0.0
    if fit.strategy.startswith("zero3"):
        moved = 3 * 2 * shape.parameters
    elif world > 1:
        moved = 2 * 2 * trained / fit.accumulation
    a_pass = (launching**NORM + arithmetic**NORM + (moved / link) ** NORM) ** (1 / NORM)
    shard = trained if fit.strategy == "ddp" else trained / world
    stepping = shard * STEP_BYTES / (accelerator.bandwidth_gb_s * 1e9)
    if "offload" in fit.strategy:  # over PCIe, and in main memory
        stepping = shard * STEP_BYTES / 20e9
    return float((fit.accumulation * a_pass + stepping) * (NETWORK if fit.nodes > 1 else 1.0))


def _generation_seconds(work: Workload, fit: Fit, accelerator: Accelerator) -> tuple[float, float]:
    """Return the (low, high) seconds to generate the completions of one optimizer step.

    Each token reads all weights and the cache, or waits for the Python loop. A GPU generates all of its completions
    together, so it reads the weights once for one token of each.
    """
    weights = work.shape.active_parameters * (0.6 if work.quantized_bits == 4 else 2)
    together = fit.micro_batch * fit.accumulation
    cache = together * work.length * work.shape.layers * 2 * work.shape.key_width * 2 / 2  # half full on average
    at_best = (weights + cache) / (accelerator.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE[1])
    at_worst = (weights + cache) / (accelerator.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE[0])
    shortest = work.completion * SHORTEST_SHARE
    return (
        shortest * max(at_best, DECODE_STEP_SECONDS[0]),
        work.completion * max(at_worst, DECODE_STEP_SECONDS[1]),
    )


def spot_overhead(save_minutes: float | None) -> float:
    """Return how many hours are paid on spot for one useful hour.

    Args:
        save_minutes: minutes between checkpoints; None: no checkpoints by time.
    """
    if save_minutes is None:
        return SPOT_WITHOUT_SAVES
    if save_minutes <= SPOT_OVERHEAD[0][0]:
        return SPOT_OVERHEAD[0][1]
    for (before, low), (after, high) in pairwise(SPOT_OVERHEAD):
        if save_minutes <= after:
            return low + (high - low) * (save_minutes - before) / (after - before)
    return min(SPOT_WITHOUT_SAVES, SPOT_OVERHEAD[-1][1] + (save_minutes - 60) / 240)

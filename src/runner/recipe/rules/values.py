"""Choices and bounds that the libraries' annotations leave open, and that their trainers refuse or misuse late.

The choices are those that TRL's and transformers' code compares with; a test holds them to the installed sources.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at
from runner.recipe.suggestions import closest

CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "": {
        "torch_compile_mode": ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
        "torch_compile_backend": (
            *("eager", "aot_eager", "inductor", "cudagraphs", "onnxrt", "tensorrt", "tvm", "ofi", "fx2trt", "neuron"),
            *("aot_ts_nvfuser", "nvprims_nvfuser", "torchxla_trace_once", "aot_torchxla_trace_once", "hpu_backend"),
        ),
        "include_num_input_tokens_seen": ("all", "non_padding", "no"),
    },
    "dpo": {"f_divergence_type": ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")},
    "grpo": {
        "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"),
        "importance_sampling_level": ("token", "sequence"),
        "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    },
}
"""For every method, and for one: the texts that a setting under `training:` may be."""

_ONE, _ABOVE_ZERO, _SHARE = (1.0, math.inf, ""), (0.0, math.inf, "above"), (0.0, 1.0, "")
BOUNDS: Mapping[str, Mapping[str, tuple[float, float, str]]] = {
    "dpo": {
        "precompute_ref_batch_size": _ONE,
        "beta": (0.0, math.inf, ""),
        "label_smoothing": (0.0, 0.5, ""),
        "ld_alpha": _SHARE,
    },
    "grpo": {
        "num_generations_eval": _ONE,
        "max_completion_length": _ONE,
        "generation_batch_size": _ONE,
        "steps_per_generation": _ONE,
        "num_iterations": _ONE,
        "temperature": _ABOVE_ZERO,
        "top_p": (0.0, 1.0, "above"),
        "top_k": (0.0, math.inf, ""),
        "min_p": _SHARE,
        "repetition_penalty": _ABOVE_ZERO,
        "beta": (0.0, math.inf, ""),
        "epsilon": (0.0, math.inf, ""),
        "epsilon_high": (0.0, math.inf, ""),
        "top_entropy_quantile": _SHARE,
    },
}
"""For a method: the lowest and the highest value of a setting, and ``above`` if it must be above the lowest."""

NOT_NULL: Mapping[str, tuple[str, ...]] = {"grpo": ("num_generations", "max_completion_length")}
"""Settings of a method that its trainer computes with, though its annotations allow null."""

_DEBUG = ("underflow_overflow", "tpu_metrics_debug")
_CHECKPOINTING: Mapping[str, str | None] = {
    "use_reentrant": None,
    "preserve_rng_state": None,
    "determinism_check": None,
    "debug": None,
    "early_stop": None,
    "selective": None,
    "context_fn": "leave it out: a recipe cannot hold a function",
}
_KEYS_OF: Mapping[str, Mapping[str, str | None]] = {
    "accelerator_config": {
        "split_batches": None,
        "dispatch_batches": None,
        "even_batches": None,
        "use_seedable_sampler": None,
        "non_blocking": None,
        "gradient_accumulation_kwargs": "write `gradient_accumulation_steps` under `training:`",
        "use_configured_state": "leave it out: the runner starts the processes itself",
    },
    "gradient_checkpointing_kwargs": _CHECKPOINTING,
    "activation_checkpointing_kwargs": _CHECKPOINTING,
    "dataset_kwargs": {
        "add_special_tokens": None,
        "append_concat_token": None,
        "skip_prepare_dataset": "leave it out: the runner reads rows as text, which has to be tokenized",
    },
}
"""The keys that a mapping under `training:` may have; with a remedy, those that a run cannot use."""


def values(context: RuleContext) -> Iterator[Problem]:
    """Refuse values that the method's trainer does not know, or cannot compute with."""
    method = context.recipe.method
    for key, choices in {**CHOICES[""], **CHOICES.get(method, {})}.items():
        value = context.value(f"training.{key}")
        if isinstance(value, str) and value not in choices:
            meant = closest(value.lower(), choices)
            listed = f"choices: {', '.join(choices)}"
            remedy = f"did you mean `{meant}`? {listed}" if meant else listed
            yield problem_at(f"training.{key}", f"{show(value)} is not one of the choices", remedy)
    for key, (lowest, highest, above) in BOUNDS.get(method, {}).items():
        value = context.value(f"training.{key}")
        if not isinstance(value, int | float) or not context.is_set(f"training.{key}"):
            continue
        if not lowest <= value <= highest or (above and value == lowest):
            words = f"{'above' if above else 'at least'} {lowest:g}"
            words += f" and at most {highest:g}" if highest < math.inf else ""
            yield problem_at(f"training.{key}", f"{show(value)} is out of bounds", f"write a number {words}")
    for key in NOT_NULL.get(method, ()):
        if context.value(f"training.{key}") is None:
            yield problem_at(f"training.{key}", "null, and the trainer computes with it", "leave it out, or write one")
    debug = context.value("training.debug")
    for option in debug.split() if isinstance(debug, str) else ():
        if option not in _DEBUG:
            what = f"{show(option)} is not one of the choices"
            yield problem_at("training.debug", what, "write `[underflow_overflow]`, or leave it out")
    padding = context.value("training.pad_to_multiple_of")
    if isinstance(padding, str) and padding not in ("auto", "none", "null") and not padding.isdecimal():
        what = f"{show(padding)} is neither a number nor `auto`"
        yield problem_at("training.pad_to_multiple_of", what, "write a number such as 8, or leave it out")


def intervals(context: RuleContext) -> Iterator[Problem]:
    """Refuse intervals of no steps, and those that are not whole: transformers takes a fraction only below 1."""
    # For `eval_steps: 0`, which looks like "never", transformers evaluates every `logging_steps` steps.
    if context.value("training.eval_steps") == 0:
        remedy = "write `eval_strategy: no` for no evaluation while training; left out, it is `logging_steps`"
        yield problem_at("training.eval_steps", "0 is not a number of steps", remedy)
    for key in ("logging_steps", "eval_steps"):
        value = context.value(f"training.{key}")
        if isinstance(value, float) and value > 1 and not value.is_integer():
            remedy = f"write {round(value)}, or a fraction below 1 for a share of all steps"
            yield problem_at(f"training.{key}", f"{value:g} is not a whole number of steps", remedy)


def mappings(context: RuleContext) -> Iterator[Problem]:
    """Refuse keys of a mapping that the library would fail on."""
    for name, known in _KEYS_OF.items():
        at = f"training.{name}"
        for key in _mapping(context.value(at)) if context.is_set(at) else ():
            if key not in known:
                meant = closest(key, [other for other, remedy in known.items() if remedy is None])
                usable = ", ".join(other for other, remedy in known.items() if remedy is None)
                what = f"there is no `{key}` in it"
                yield problem_at(f"{at}.{key}", what, f"did you mean `{meant}`?" if meant else f"it takes {usable}")
            elif (remedy := known[key]) is not None:
                yield problem_at(f"{at}.{key}", "a run cannot use it", remedy)


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}

"""Rules for `optim` and `optim_args`: optimizers whose state a checkpoint cannot hold, and arguments nobody reads."""

from collections.abc import Iterator, Mapping

from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at
from runner.recipe.suggestions import closest

_IN_BACKWARD = (
    "it updates the weights within the backward pass, so that no checkpoint holds its state, and a copy of the weights "
    "would be torn"
)
_PROJECTED = "it keeps its projections in objects that a checkpoint does not hold, so that a resumed run would differ"
_TWO_MODES = "the weights that it ends with exist in its evaluation mode only, and those that are saved are others"
_INSTEAD_OF_MEMORY = "write `optim: adamw_8bit`, `paged_adamw_8bit` or `adafactor`, which need little memory too"

_LAYERWISE = (
    "lomo",
    "adalomo",
    "galore_adamw_layerwise",
    "galore_adamw_8bit_layerwise",
    "galore_adafactor_layerwise",
    "apollo_adamw_layerwise",
)
_LOW_RANK = ("galore_adamw", "galore_adamw_8bit", "galore_adafactor", "apollo_adamw")
_SCHEDULE_FREE = ("schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd")

REFUSED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(_LAYERWISE, (_IN_BACKWARD, _INSTEAD_OF_MEMORY)),
    **dict.fromkeys(_LOW_RANK, (_PROJECTED, _INSTEAD_OF_MEMORY)),
    **dict.fromkeys(_SCHEDULE_FREE, (_TWO_MODES, "write `adamw_torch` with `lr_scheduler_type: constant_with_warmup`")),
    "adamw_torch_xla": ("it runs on TPUs only, which the runner does not train on", "write `optim: adamw_torch`"),
    "adamw_torch_npu_fused": (
        "it runs on Ascend NPUs only, which the runner does not train on",
        "write `optim: adamw_torch_fused`",
    ),
}
"""Why an optimizer is refused, and what to write instead."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "sgd": ("momentum", "dampening", "weight_decay", "nesterov"),
    "adagrad": ("lr_decay", "weight_decay", "eps"),
    "rmsprop": ("momentum", "alpha", "eps", "weight_decay", "centered"),
    **dict.fromkeys(
        ("ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"),
        ("beta1", "beta2", "beta3", "alpha", "eps", "t_alpha", "t_beta3"),
    ),
    "adamw_anyprecision": (
        "use_kahan_summation",
        "momentum_dtype",
        "variance_dtype",
        "compensation_buffer_dtype",
    ),
    "grokadamw": ("alpha_init", "lamb", "gamma", "grokking_signal_decay_rate", "gradient_clipping"),
    "adamw_torch_4bit": ("block_size", "bf16_stochastic_round"),
    "adamw_torch_8bit": ("block_size", "bf16_stochastic_round"),
    "stable_adamw": ("max_lr", "kahan_sum", "decouple_lr"),
}
"""What `transformers.trainer_optimizer` reads from `optim_args`, for each optimizer that reads anything; the numbers of
AdamW have settings of their own."""

_SETTINGS = {
    "lr": "learning_rate",
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "beta1": "adam_beta1",
    "beta2": "adam_beta2",
    "eps": "adam_epsilon",
    "epsilon": "adam_epsilon",
}


def optimizers(context: RuleContext) -> Iterator[Problem]:
    """Refuse optimizers that a run cannot be resumed with."""
    name = str(context.value("training.optim"))
    if name in REFUSED:
        reason, remedy = REFUSED[name]
        yield problem_at("training.optim", f"`{name}` is not accepted: {reason}", remedy)
        return
    if context.value("training.optim_target_modules"):
        what = f"it has no effect with `optim: {name}`"
        yield problem_at("training.optim_target_modules", what, "leave it out")
    yield from _arguments(context, name)


def _arguments(context: RuleContext, optimizer: str) -> Iterator[Problem]:
    written = context.value("training.optim_args")
    if not written:
        return
    known = ARGUMENTS.get(optimizer, ())
    for part in written.replace(" ", "").split(","):
        key, equals, value = part.partition("=")
        if not equals or not key or not value or "=" in value:
            what = f"{show(part)} is not `name=value`"
            yield problem_at("training.optim_args", what, 'write `optim_args: "momentum=0.9,nesterov=true"`')
        elif key not in known:
            what = f"`{optimizer}` reads no `{key}` from it"
            yield problem_at("training.optim_args", what, _remedy(key, known))


def _remedy(key: str, known: tuple[str, ...]) -> str:
    if key in _SETTINGS:
        return f"write `{_SETTINGS[key]}` under `training:`"
    meant = closest(key, known)
    if meant:
        return f"did you mean `{meant}`?"
    return f"it reads {', '.join(known)}" if known else "leave `optim_args` out"

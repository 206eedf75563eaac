"""Rules for the learning rate's schedule: `lr_scheduler_type`, `lr_scheduler_kwargs` and `warmup_steps`.

The tables follow the signatures in `transformers.optimization` and `torch.optim.lr_scheduler.ReduceLROnPlateau`; a test
holds them to the installed versions.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at
from runner.recipe.suggestions import closest

_TYPE, _KWARGS = "training.lr_scheduler_type", "training.lr_scheduler_kwargs"


@dataclass(frozen=True)
class _Number:
    """A number that a schedule takes."""

    above: float | None = None
    below: float | None = None
    whole: bool = False
    per_group: bool = False
    """Whether a list, with one number for each group of weights, is taken too."""

    def accepts(self, value: Any) -> bool:
        if self.per_group and isinstance(value, list):
            return bool(value) and all(self.accepts(item) for item in value)
        if isinstance(value, bool) or not isinstance(value, int | float) or (self.whole and value != int(value)):
            return False
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)

    def __str__(self) -> str:
        bounds = [f"above {self.above:g}"] if self.above is not None else []
        bounds += [f"below {self.below:g}"] if self.below is not None else []
        return " ".join(["a whole number" if self.whole else "a number", " and ".join(bounds)]).strip()


@dataclass(frozen=True)
class _OneOf:
    """A choice that a schedule takes."""

    choices: tuple[Any, ...]

    def accepts(self, value: Any) -> bool:
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices)

    def __str__(self) -> str:
        return " or ".join(show(choice) for choice in self.choices)


_ANY, _POSITIVE, _NOT_NEGATIVE = _Number(), _Number(above=0), _Number(above=-1e-300)
_COUNT, _SHAPE = _Number(above=-1, whole=True), _OneOf(("linear", "cosine", "1-sqrt"))
_FLAG, _MODE, _THRESHOLD_MODE = _OneOf((True, False)), _OneOf(("min", "max")), _OneOf(("rel", "abs"))
_RATES = _Number(above=-1e-300, per_group=True)
_MIN_LR: Mapping[str, _Number | _OneOf] = {"num_cycles": _ANY, "min_lr": _NOT_NEGATIVE, "min_lr_rate": _NOT_NEGATIVE}
_PLATEAU: Mapping[str, _Number | _OneOf] = {
    "mode": _MODE,
    "factor": _Number(above=0, below=1),
    "patience": _COUNT,
    "threshold": _ANY,
    "threshold_mode": _THRESHOLD_MODE,
    "cooldown": _COUNT,
    "min_lr": _RATES,
    "eps": _NOT_NEGATIVE,
}

KWARGS: Mapping[str, Mapping[str, _Number | _OneOf]] = {
    "linear": {},
    "cosine": {"num_cycles": _ANY},
    "cosine_with_restarts": {"num_cycles": _Number(above=0, whole=True)},
    "polynomial": {"lr_end": _NOT_NEGATIVE, "power": _ANY},
    "constant": {},
    "constant_with_warmup": {},
    "inverse_sqrt": {"timescale": _POSITIVE},
    "reduce_lr_on_plateau": _PLATEAU,
    "cosine_with_min_lr": _MIN_LR,
    "cosine_warmup_with_min_lr": {**_MIN_LR, "warmup_lr_rate": _NOT_NEGATIVE},
    "warmup_stable_decay": {
        "num_decay_steps": _COUNT,
        "num_stable_steps": _COUNT,
        "warmup_type": _SHAPE,
        "decay_type": _SHAPE,
        "min_lr_ratio": _NOT_NEGATIVE,
        "num_cycles": _ANY,
    },
    "greedy": {
        **_PLATEAU,
        "warmup": _COUNT,
        "max_lr": _RATES,
        "verbose": _FLAG,
        "smooth": _FLAG,
        "window_size": _Number(above=0, whole=True),
        "reset_start": _COUNT,
    },
}
"""For each `lr_scheduler_type`, what `lr_scheduler_kwargs` may contain; what the trainer itself passes is left out."""

WITHOUT_WARMUP = ("constant", "reduce_lr_on_plateau", "greedy")
"""The schedules to which transformers does not give `warmup_steps`."""

_ELSEWHERE = {
    "num_warmup_steps": "write `warmup_steps` under `training:`",
    "warmup_steps": "write it under `training:`",
    "num_training_steps": "leave it out: it is the length of the run",
    "last_epoch": "leave it out: a resumed run goes on where it was",
    "optimizer": "write `optim` under `training:`",
}
_GREEDY_MIN_LR, _GREEDY_MAX_LR, _POLYNOMIAL_LR_END = 1e-3, 1.0, 1e-7
"""Defaults of `GreedyLR` and of `get_polynomial_decay_schedule_with_warmup`."""


def schedule_kwargs(context: RuleContext) -> Iterator[Problem]:
    """Require the schedule's own arguments, and refuse those that it would fail on or ignore."""
    kind = str(context.value(_TYPE))
    written = _as_mapping(context.value(_KWARGS))
    known = KWARGS.get(kind)
    if written is None or known is None:
        return  # `json_texts` reports text that is not a mapping
    wrong = False
    for key, value in written.items():
        name = f"{_KWARGS}.{key}"
        if key not in known:
            wrong = True
            yield problem_at(name, f"`{kind}` takes no such argument", _remedy(key, known))
        elif value is not None and not known[key].accepts(value):
            wrong = True
            yield problem_at(name, f"{show(value)} is not {known[key]}", f"write {known[key]}")
    if not wrong:
        yield from _missing(kind, written)
        yield from _rates(kind, written, float(context.value("training.learning_rate")))
        yield from _steps(kind, written, context)


def warmup(context: RuleContext) -> Iterator[Problem]:
    """Refuse a warm-up for a schedule that has none."""
    kind = str(context.value(_TYPE))
    if kind in WITHOUT_WARMUP and context.asks("training.warmup_steps"):
        remedy = "write `lr_scheduler_type: constant_with_warmup`, or leave it out"
        yield problem_at(
            "training.warmup_steps",
            f"it has no effect with `lr_scheduler_type: {kind}`",
            remedy if kind == "constant" else "leave it out",
        )


def long_warmup(context: RuleContext) -> Iterator[Problem]:
    """Warn of a warm-up that does not end before the run does."""
    steps, warm = int(context.value("training.max_steps")), context.value("training.warmup_steps")
    if steps > 0 and warm >= 1 and warm >= steps and str(context.value(_TYPE)) not in WITHOUT_WARMUP:
        yield problem_at(
            "training.warmup_steps",
            f"the warmup of {warm:g} steps is not over at the end of the run (`max_steps: {steps}`), "
            "so that the learning rate is never reached",
            "write fewer steps, or a fraction of them such as 0.1",
        )


def _as_mapping(written: Any) -> Mapping[str, Any] | None:
    if isinstance(written, str):
        try:
            written = json.loads(written)
        except (ValueError, RecursionError):
            return None
    return {} if written is None else written if isinstance(written, Mapping) else None


def _remedy(key: str, known: Mapping[str, Any]) -> str:
    if key in _ELSEWHERE:
        return _ELSEWHERE[key]
    meant = closest(key, known)
    if meant:
        return f"did you mean `{meant}`?"
    return f"it takes {', '.join(known)}" if known else "leave `lr_scheduler_kwargs` out"


def _missing(kind: str, written: Mapping[str, Any]) -> Iterator[Problem]:
    given = {key for key, value in written.items() if value is not None}
    if kind in ("cosine_with_min_lr", "cosine_warmup_with_min_lr"):
        if given >= {"min_lr", "min_lr_rate"}:
            yield problem_at(f"{_KWARGS}.min_lr_rate", "`min_lr` is set as well", "keep one of the two")
        elif not given & {"min_lr", "min_lr_rate"}:
            what = f"`{kind}` needs `min_lr` or `min_lr_rate`"
            yield problem_at(_KWARGS, what, "write `lr_scheduler_kwargs: {min_lr_rate: 0.1}`, a share of the peak")
    if kind == "warmup_stable_decay" and "num_decay_steps" not in given:
        what = f"`{kind}` needs `num_decay_steps`"
        yield problem_at(_KWARGS, what, "write `lr_scheduler_kwargs: {num_decay_steps: 100}`, of the run's steps")


def _rates(kind: str, written: Mapping[str, Any], peak: float) -> Iterator[Problem]:
    """Refuse a lower end above the learning rate, where the rate would rise, or transformers raise."""

    def lowest(key: str, default: float | None) -> float | None:
        value = written.get(key, default)
        value = max(value) if isinstance(value, list) else value
        return None if value is None else float(value)

    key, default = {
        "polynomial": ("lr_end", _POLYNOMIAL_LR_END),
        "greedy": ("min_lr", _GREEDY_MIN_LR),
    }.get(kind, ("min_lr", None))
    end = lowest(key, default)
    if key in KWARGS[kind] and end is not None and (end > peak or (kind == "polynomial" and end == peak)):
        given = "" if key in written else ", the default,"
        yield problem_at(
            f"{_KWARGS}.{key}",
            f"{end:g}{given} is not below `learning_rate` ({peak:g})",
            f"write `lr_scheduler_kwargs: {{{key}: {peak / 10:g}}}`, or a higher `learning_rate`",
        )
    highest = lowest("max_lr", _GREEDY_MAX_LR)
    if kind == "greedy" and highest is not None and highest < peak:
        what = f"{highest:g} is below `learning_rate` ({peak:g})"
        yield problem_at(f"{_KWARGS}.max_lr", what, "write a higher one")
    for share in ("min_lr_rate", "min_lr_ratio"):
        if share in KWARGS[kind] and (written.get(share) or 0) > 1:
            what = f"{show(written[share])} is more than the whole `learning_rate`"
            yield problem_at(f"{_KWARGS}.{share}", what, "write a fraction such as 0.1")


def _steps(kind: str, written: Mapping[str, Any], context: RuleContext) -> Iterator[Problem]:
    """Refuse a decay that is longer than what a run of known length has left after the warm-up."""
    steps, decay = int(context.value("training.max_steps")), written.get("num_decay_steps")
    if kind != "warmup_stable_decay" or steps <= 0 or decay is None:
        return
    warm = context.value("training.warmup_steps")
    warm = warm * steps if warm < 1 else warm
    if decay + warm > steps:
        yield problem_at(
            f"{_KWARGS}.num_decay_steps",
            f"{decay} and the warmup ({warm:g}) are more than the run's {steps} steps",
            f"write at most {max(0, int(steps - warm))}",
        )

"""The learning rate's schedule: its arguments are those of the installed transformers, and wrong ones are named."""

import inspect

import pytest

from runner.recipe.rules.schedule import KWARGS, WITHOUT_WARMUP
from support.recipes import Check, Refuse, settings_of

_GIVEN = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
EVAL = ["data.eval.from_train=0.1", "training.eval_strategy=epoch"]


def _schedule(kind: str, kwargs: str, **training: object) -> list[str]:
    more = "".join(f", {key}: {value}" for key, value in training.items())
    return [f"training={{lr_scheduler_type: {kind}, lr_scheduler_kwargs: {kwargs}, max_steps: 10{more}}}"]


def test_the_table_is_that_of_the_installed_version() -> None:
    """Each schedule, and each argument of its function that the trainer does not pass itself."""
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR

    behind = {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": GreedyLR}
    for kind, function in TYPE_TO_SCHEDULER_FUNCTION.items():
        signature = inspect.signature(behind.get(kind.value, function))
        assert set(KWARGS[kind.value]) == set(signature.parameters) - _GIVEN, kind
        takes_warmup = "num_warmup_steps" in inspect.signature(function).parameters
        assert takes_warmup == (kind.value not in WITHOUT_WARMUP)
    assert set(KWARGS) == {kind.value for kind in TYPE_TO_SCHEDULER_FUNCTION}


@pytest.mark.parametrize(
    ("kind", "kwargs", "setting", "what"),
    [
        ("cosine_with_min_lr", "null", "", "needs `min_lr` or `min_lr_rate`"),
        ("cosine_with_min_lr", "{num_cycles: 0.5}", "", "needs `min_lr` or `min_lr_rate`"),
        ("cosine_with_min_lr", "{min_lr: 1.0e-6, min_lr_rate: 0.1}", ".min_lr_rate", "`min_lr` is set as well"),
        ("cosine_with_min_lr", "{min_lr: 1}", ".min_lr", "1 is not below `learning_rate` (2e-05)"),
        ("cosine_with_min_lr", "{min_lr: small}", ".min_lr", "is not a number"),
        ("cosine_with_min_lr", "{min_lr_rate: 10}", ".min_lr_rate", "more than the whole"),
        ("cosine_warmup_with_min_lr", "{warmup_lr_rate: 0.1}", "", "needs `min_lr` or `min_lr_rate`"),
        ("warmup_stable_decay", "null", "", "needs `num_decay_steps`"),
        ("warmup_stable_decay", "{num_decay_steps: 20}", ".num_decay_steps", "more than the run's 10 steps"),
        ("warmup_stable_decay", "{num_decay_steps: 2.5}", ".num_decay_steps", "is not a whole number"),
        ("warmup_stable_decay", "{num_decay_steps: 2, decay_type: sqrt}", ".decay_type", "`1-sqrt`"),
        ("polynomial", "{lr_end: 1.0e-3}", ".lr_end", "is not below `learning_rate`"),
        ("polynomial", "{lr_ent: 1.0e-9}", ".lr_ent", "takes no such argument"),
        ("linear", "{num_cycles: 1}", ".num_cycles", "takes no such argument"),
        ("constant", "{value: 1}", ".value", "takes no such argument"),
        ("constant_with_warmup", "{num_warmup_steps: 3}", ".num_warmup_steps", "takes no such argument"),
        ("cosine", "{last_epoch: 3}", ".last_epoch", "takes no such argument"),
        ("cosine", "{num_cycles: true}", ".num_cycles", "is not a number"),
        ("cosine_with_restarts", "{num_cycles: 0}", ".num_cycles", "a whole number above 0"),
        ("inverse_sqrt", "{timescale: 0}", ".timescale", "a number above 0"),
    ],
)
def test_a_wrong_argument_is_named(refuse: Refuse, kind: str, kwargs: str, setting: str, what: str) -> None:
    error = refuse(*_schedule(kind, kwargs))
    assert settings_of(error) == [f"training.lr_scheduler_kwargs{setting}"]
    assert what in str(error)


@pytest.mark.parametrize(
    ("kind", "kwargs", "what"),
    [
        ("greedy", "null", "0.001, the default, is not below `learning_rate`"),
        ("greedy", "{min_lr: 0, factor: 1.5}", "above 0 and below 1"),
        ("reduce_lr_on_plateau", "{mode: lowest}", "`min` or `max`"),
        ("reduce_lr_on_plateau", "{verbose: true}", "takes no such argument"),
    ],
)
def test_schedules_that_follow_evaluations_have_arguments_too(
    refuse: Refuse, kind: str, kwargs: str, what: str
) -> None:
    assert what in str(refuse(*_schedule(kind, kwargs, eval_strategy="epoch"), EVAL[0]))


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("cosine_with_min_lr", "{min_lr: 1.0e-6}"),
        ("cosine_with_min_lr", "{min_lr_rate: 0.1, min_lr: null}"),
        ("cosine_warmup_with_min_lr", "{min_lr_rate: 0.1, warmup_lr_rate: 0.1}"),
        ("warmup_stable_decay", "{num_decay_steps: 4, decay_type: 1-sqrt}"),
        ("polynomial", "null"),
        ("polynomial", "{lr_end: 0, power: 2}"),
        ("cosine", "'{\"num_cycles\": 1.5}'"),
        ("inverse_sqrt", "{timescale: 100}"),
    ],
)
def test_right_arguments_are_taken(check: Check, kind: str, kwargs: str) -> None:
    assert check(*_schedule(kind, kwargs)).recipe.training["lr_scheduler_type"] == kind


def test_a_warmup_that_nobody_reads_is_refused(refuse: Refuse) -> None:
    error = refuse("training={lr_scheduler_type: constant, warmup_steps: 5}")
    assert "no effect with `lr_scheduler_type: constant`" in str(error)
    assert "constant_with_warmup" in str(error)


@pytest.mark.parametrize(("warmup", "said"), [(500, True), (10, True), (9, False), (0.9, False), (1, False)])
def test_a_warmup_that_is_longer_than_the_run_is_said(check: Check, warmup: float, said: bool) -> None:
    loaded = check(f"training={{max_steps: 10, warmup_steps: {warmup}}}")
    sentences = loaded.warning_sentences
    assert bool(sentences) == said
    assert all("the learning rate is never reached" in sentence for sentence in sentences)


def test_a_warning_of_a_stage_says_where(check: Check) -> None:
    text = """\
method: null
model: {model_name_or_path: builtin:tiny-llama}
data: {train: [{path: builtin:python-docstrings}]}
stages:
  - {method: sft, training: {max_steps: 5}}
  - {method: sft, name: b, training: {max_steps: 5, warmup_steps: 50}}
""".replace("method: null\n", "")
    [sentence] = check(text=text).warning_sentences
    assert sentence.startswith("warning: recipe.yaml:5: stages.1.training.warmup_steps: the warmup of 50 steps")

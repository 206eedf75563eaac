"""Rules for evaluation: `evaluate:`, `data.eval`, and what depends on evaluations."""

import fnmatch
from collections.abc import Iterator, Mapping

from runner.recipe.inputs.reward_refs import split_reward
from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at
from runner.recipe.suggestions import closest

_ALWAYS = ("loss", "runtime", "samples_per_second", "steps_per_second")
METRICS: Mapping[str, tuple[str, ...]] = {
    "sft": ("mean_token_accuracy", "entropy", "num_tokens", "aux_loss"),
    "cpt": ("mean_token_accuracy", "entropy", "num_tokens", "aux_loss"),
    "dpo": (
        "rewards/accuracies",
        "rewards/margins",
        "rewards/chosen",
        "rewards/rejected",
        "logps/chosen",
        "logps/rejected",
        "logits/chosen",
        "logits/rejected",
        "mean_token_accuracy",
        "entropy",
        "num_tokens",
        "aux_loss",
    ),
    "grpo": (
        "reward",
        "reward_std",
        "frac_reward_zero_std",
        "completions/*",
        "clip_ratio/*",
        "kl",
        "entropy",
        "num_tokens",
        "policy_loss",
        "aux_loss",
        "cispo_clip_ratio",
        "vespo/phi_seq_mean",
    ),
}
"""The metrics of each evaluation by method, without ``eval_``, as TRL's trainers log them; patterns stand for many."""


def evaluation(context: RuleContext) -> Iterator[Problem]:
    """Require data for evaluations, evaluations for evaluation data, and evaluations for what depends on them."""
    needs = {
        "training.eval_strategy": context.evaluates,
        "evaluate.before_and_after": context.recipe.evaluate.before_and_after,
        "training.do_eval": context.is_set("training.do_eval") and context.value("training.do_eval"),
    }
    for name, needed in needs.items():
        if needed and not context.has_eval_data:
            what = f"{show(context.value(name))}, and there is no evaluation data"
            yield problem_at(name, what, "write `data: {eval: {from_train: 0.1}}`")
    if context.has_eval_data and not context.evaluates and not context.recipe.evaluate.before_and_after:
        yield problem_at(
            "data.eval",
            "nothing evaluates on it",
            "write `training: {eval_strategy: epoch}` or `evaluate: {before_and_after: true}`, or leave it out",
        )
    if not context.recipe.evaluate.before_and_after:
        yield from _only_before_and_after(context)
    if context.recipe.evaluate.exact_match is not None and context.recipe.method == "cpt":
        what = "plain text has no questions to answer"
        yield problem_at("evaluate.exact_match", what, "leave it out")
    dependent = {
        "early_stopping_patience": context.value("training.early_stopping_patience") is not None,
        "load_best_model_at_end": context.value("training.load_best_model_at_end"),
        "metric_for_best_model": context.value("training.metric_for_best_model") is not None,
        "lr_scheduler_type": context.value("training.lr_scheduler_type") in ("reduce_lr_on_plateau", "greedy"),
        "save_strategy": context.value("training.save_strategy") == "best",
    }
    for key, needed in dependent.items():
        if needed and not context.evaluates:
            value = show(context.value(f"training.{key}"))
            yield problem_at(
                f"training.{key}", f"{value} needs evaluations during training", "write `eval_strategy: epoch` too"
            )
    if dependent["metric_for_best_model"] and context.evaluates:
        yield from _metric(context, str(context.value("training.metric_for_best_model")))
    if context.value("training.greater_is_better") is not None and not (
        dependent["metric_for_best_model"]
        or dependent["load_best_model_at_end"]
        or dependent["early_stopping_patience"]
    ):
        what = "it has no effect without `metric_for_best_model`"
        yield problem_at("training.greater_is_better", what, "write that too, or leave it out")
    if context.value("training.save_strategy") == "best" and not (
        dependent["metric_for_best_model"] or dependent["load_best_model_at_end"]
    ):
        yield problem_at("training.save_strategy", "`best` needs a metric", "write `metric_for_best_model: loss` too")
    if context.value("training.early_stopping_threshold") and not dependent["early_stopping_patience"]:
        yield problem_at(
            "training.early_stopping_threshold",
            "it has no effect without `early_stopping_patience`",
            "write that too, or leave it out",
        )
    if context.value("training.eval_steps") is not None and context.value("training.eval_strategy") != "steps":
        what = f"{show(context.value('training.eval_steps'))} has no effect without `eval_strategy: steps`"
        yield problem_at("training.eval_steps", what, "write that too, or leave it out")


def never_evaluates(context: RuleContext) -> Iterator[Problem]:
    """Warn of an interval of evaluations that is longer than the run."""
    steps, every = int(context.value("training.max_steps")), context.value("training.eval_steps")
    if context.value("training.eval_strategy") == "steps" and every is not None and 0 < steps < every:
        what = f"{every:g}, and the run ends after {steps} steps: nothing is evaluated during training"
        yield problem_at("training.eval_steps", what, f"write at most {steps}")


def holds_out_all(context: RuleContext) -> Iterator[Problem]:
    """Refuse to hold out all rows for evaluation, if all rows can be counted here."""
    part = context.recipe.data.eval_from_train
    sources = [source for source in context.sources if source.path[1] == "train"]
    if part is None or not sources or not all(source.whole for source in sources):
        return
    rows = sum(len(source.rows) for source in sources)  # before `filter` and `sample`: at least as many as are used
    count = part if isinstance(part, int) else max(1, round(part * rows))
    if rows and count >= rows:
        what = f"holding out {count} of {rows} rows leaves none to train on"
        yield problem_at("data.eval.from_train", what, "write a smaller number, such as 0.1 for a tenth")


def _only_before_and_after(context: RuleContext) -> Iterator[Problem]:
    """Refuse what is measured before and after training only, where nothing is."""
    evaluate, remedy = context.recipe.evaluate, "write `before_and_after: true` too, or leave it out"
    if evaluate.exact_match is not None:
        what = "nothing measures it: it is checked before and after training"
        yield problem_at("evaluate.exact_match", what, remedy)
    if evaluate.prompts:
        what = "nothing completes them: they are completed before and after training"
        yield problem_at("evaluate.prompts", what, remedy)


def _metric(context: RuleContext, written: str) -> Iterator[Problem]:
    """Refuse a metric that no evaluation of the method has."""
    known = [*_ALWAYS, *METRICS[context.recipe.method]]
    for name in context.value("training.reward_funcs") or ():
        # TRL makes those of ``get_…`` when it is called, under names of their own.
        function = "*" if name.startswith("get_") else split_reward(name)[1].replace("-", "_")
        known += [f"rewards/{function}/mean", f"rewards/{function}/std"]
    metric = written.removeprefix("eval_")
    if any(fnmatch.fnmatchcase(metric, pattern) for pattern in known):
        return
    shown = [f"eval_{name}" for name in known if "*" not in name and name not in ("aux_loss", *_ALWAYS[1:])]
    meant = closest(metric, [name for name in known if "*" not in name], likeness=0.75)
    remedy = f"there are {', '.join(shown)}"
    if metric == "exact_match":
        remedy = f"`evaluate.exact_match` is measured before and after training only; {remedy}"
    yield problem_at(
        "training.metric_for_best_model",
        f"no evaluation of {context.recipe.method} has {show(written)}",
        f"did you mean `eval_{meant}`? {remedy}" if meant else remedy,
    )

"""Rules for evaluation: `evaluate:`, `data.eval`, and what depends on evaluations."""

from collections.abc import Iterator

from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at


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
    if context.recipe.evaluate.exact_match is not None:
        if not context.recipe.evaluate.before_and_after:
            what = "nothing measures it: it is checked before and after training"
            yield problem_at("evaluate.exact_match", what, "write `before_and_after: true` too, or leave it out")
        if context.recipe.method == "cpt":
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

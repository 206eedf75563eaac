"""Rules for one method: what its TRL trainer refuses or ignores."""

from collections.abc import Iterator

from runner.errors import UserError
from runner.recipe.batch import split_batch
from runner.recipe.inputs.reward_refs import required_columns, split_reward
from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at


def preferences(context: RuleContext) -> Iterator[Problem]:
    """Refuse what TRL's `DPOConfig` and `DPOTrainer` would refuse after the model is loaded."""
    if context.recipe.method != "dpo":
        return
    kinds = context.value("training.loss_type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    weights = context.value("training.loss_weights")
    if weights is not None and len(weights) != len(kinds):
        what = f"{len(weights)} weights for {len(kinds)} kinds of loss"
        yield problem_at("training.loss_weights", what, "write one for each name under `loss_type`")
    if "exo_pair" in kinds and not context.value("training.label_smoothing"):
        yield problem_at(
            "training.loss_type", "`exo_pair` needs a `label_smoothing` above 0", "write 1e-3, as its paper"
        )
    if "robust" in kinds and context.value("training.label_smoothing") == 0.5:
        what = "0.5, and `robust` divides by 1 - 2 x label_smoothing"
        yield problem_at("training.label_smoothing", what, "write less, such as 0.1")
    if context.value("training.use_weighting") and {"aot", "aot_unpaired"} & set(kinds):
        yield problem_at("training.use_weighting", "TRL has no weighting for `aot`", "leave it out")


def rewards(context: RuleContext) -> Iterator[Problem]:
    """Require rewards for GRPO, and generation batches of whole groups of completions to one prompt."""
    if context.recipe.method != "grpo":
        return
    functions, weights = context.value("training.reward_funcs"), context.value("training.reward_weights")
    if not functions:
        yield problem_at(
            "training.reward_funcs", "missing: nothing rates the completions", "write `[builtin:exact-answer]`"
        )
    elif weights is not None and len(weights) != len(functions):
        what = f"{len(weights)} weights for {len(functions)} reward functions"
        yield problem_at("training.reward_weights", what, "write one for each, in their order")
    best_by = context.value("training.metric_for_best_model")
    if best_by is None:
        for key in ("load_best_model_at_end", "early_stopping_patience"):
            if context.value(f"training.{key}"):
                what = f"{show(context.value(f'training.{key}'))}: which is best? GRPO's loss does not say"
                yield problem_at(f"training.{key}", what, "write `metric_for_best_model: reward` too")
    for key in context.recipe.training:
        if key.startswith("vllm_") and context.asks(f"training.{key}"):
            yield problem_at(f"training.{key}", "generation by vLLM is not supported yet", "leave it out")
    yield from _groups(context)


def reward_columns(context: RuleContext) -> Iterator[Problem]:
    """Refuse reward functions that need a column which the data on this machine lack."""
    if context.recipe.method != "grpo":
        return
    for index, name in enumerate(context.value("training.reward_funcs") or ()):
        needed = required_columns(name)
        for source in context.sources:
            if source.columns is None:
                continue
            lacking = [column for column in needed if column not in source.columns or column == "prompt"]
            if lacking:
                entry = ".".join(map(str, source.path))
                yield problem_at(
                    f"training.reward_funcs.{index}",
                    f"`{split_reward(name)[1]}` needs {' and '.join(map(show, lacking))}, which {entry} does not have",
                    f"its columns: {', '.join(source.columns)}; write a `template:` there that makes it, or give "
                    f"the parameter a default",
                )
                break


def _groups(context: RuleContext) -> Iterator[Problem]:
    generations = context.value("training.num_generations")
    if generations is None:
        return  # the rule `values` reports it
    if generations < 2:
        yield problem_at(
            "training.num_generations", f"{generations} completion is not a group to compare", "write 2 or more"
        )
        return
    try:
        micro_batch, accumulation = split_batch(context.recipe.training)
    except UserError:
        return  # the rule `batch` reports it
    size, steps = context.value("training.generation_batch_size"), context.value("training.steps_per_generation")
    if size is not None and steps is not None:
        what = f"`steps_per_generation` is {steps}, and each determines the other"
        yield problem_at("training.generation_batch_size", what, "keep one of the two")
        return
    if size is not None and size % micro_batch:
        what = f"{size} is not divisible by the micro-batch of {micro_batch}"
        yield problem_at("training.generation_batch_size", what, f"write a multiple of {micro_batch}")
    generated = size or micro_batch * (steps or accumulation)
    if generated % generations:
        what = f"a generation batch of {generated} completions does not consist of whole groups of {generations}"
        yield problem_at(
            "training.num_generations", what, f"write a divisor of {generated}, or an `effective_batch_size` it divides"
        )
    evaluated = context.value("training.num_generations_eval") or generations
    batch = context.value("training.per_device_eval_batch_size")
    if (context.evaluates or context.recipe.evaluate.before_and_after) and batch % evaluated:
        yield problem_at(
            "training.per_device_eval_batch_size",
            f"{batch} completions are not whole groups of {evaluated}",
            f"write a multiple of {evaluated}",
        )

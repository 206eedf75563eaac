"""Settings of one method that contradict each other, by what its trainer refuses or passes over."""

from collections.abc import Iterator

from runner.errors import UserError
from runner.recipe.batch import split_batch
from runner.recipe.problems import Problem, shown
from runner.recipe.rules.context import Facts, problem_at


def preferences(facts: Facts) -> Iterator[Problem]:
    """What TRL's `DPOConfig` and `DPOTrainer` refuse, said before anything is loaded."""
    if facts.recipe.method != "dpo":
        return
    kinds = facts.value("training.loss_type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    weights = facts.value("training.loss_weights")
    if weights is not None and len(weights) != len(kinds):
        what = f"{len(weights)} weights for {len(kinds)} kinds of loss"
        yield problem_at("training.loss_weights", what, "write one for each name under `loss_type`")
    if "exo_pair" in kinds and not facts.value("training.label_smoothing"):
        yield problem_at(
            "training.loss_type", "`exo_pair` needs a `label_smoothing` above 0", "write 1e-3, as its paper"
        )
    if facts.value("training.use_weighting") and {"aot", "aot_unpaired"} & set(kinds):
        yield problem_at("training.use_weighting", "TRL has no weighting for `aot`", "leave it out")


def rewards(facts: Facts) -> Iterator[Problem]:
    """GRPO needs rewards, and generation batches that hold whole groups of completions to one prompt."""
    if facts.recipe.method != "grpo":
        return
    functions, weights = facts.value("training.reward_funcs"), facts.value("training.reward_weights")
    if not functions:
        yield problem_at(
            "training.reward_funcs", "missing: nothing says what is good", "write `[builtin:exact-answer]`"
        )
    elif weights is not None and len(weights) != len(functions):
        what = f"{len(weights)} weights for {len(functions)} reward functions"
        yield problem_at("training.reward_weights", what, "write one for each, in their order")
    best_by = facts.value("training.metric_for_best_model")
    if best_by is None:
        for key in ("load_best_model_at_end", "early_stopping_patience"):
            if facts.value(f"training.{key}"):
                what = f"{shown(facts.value(f'training.{key}'))}: which is best? GRPO's loss does not say"
                yield problem_at(f"training.{key}", what, "write `metric_for_best_model: reward` too")
    for key in facts.recipe.training:
        if key.startswith("vllm_") and facts.asks(f"training.{key}"):
            yield problem_at(f"training.{key}", "generation by vLLM is not there yet", "leave it out")
    yield from _groups(facts)


def _groups(facts: Facts) -> Iterator[Problem]:
    generations = facts.value("training.num_generations")
    if generations < 2:
        yield problem_at(
            "training.num_generations", f"{generations} completion is no group to compare", "write 2 or more"
        )
        return
    try:
        micro_batch, accumulation = split_batch(facts.recipe.training)
    except UserError:
        return  # `batch` says so
    size, steps = facts.value("training.generation_batch_size"), facts.value("training.steps_per_generation")
    if size is not None and steps is not None:
        what = f"`steps_per_generation` is {steps}: each says the other"
        yield problem_at("training.generation_batch_size", what, "keep one of the two")
        return
    if size is not None and size % micro_batch:
        what = f"{size} is not divided by the micro-batch of {micro_batch}"
        yield problem_at("training.generation_batch_size", what, f"write a multiple of {micro_batch}")
    generated = size or micro_batch * (steps or accumulation)
    if generated % generations:
        what = f"a generation batch of {generated} completions holds no whole groups of {generations}"
        yield problem_at(
            "training.num_generations", what, f"write a divisor of {generated}, or an `effective_batch_size` it divides"
        )
    evaluated = facts.value("training.num_generations_eval") or generations
    batch = facts.value("training.per_device_eval_batch_size")
    if (facts.evaluates or facts.recipe.evaluate.before_and_after) and batch % evaluated:
        yield problem_at(
            "training.per_device_eval_batch_size",
            f"{batch} completions hold no whole groups of {evaluated}",
            f"write a multiple of {evaluated}",
        )

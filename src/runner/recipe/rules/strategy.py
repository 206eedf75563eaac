"""Rules for `training.strategy` and `training.deepspeed`."""

from collections.abc import Iterator

from runner.recipe.problems import Problem, show
from runner.recipe.recipe import Recipe
from runner.recipe.rules.context import RuleContext, problem_at
from runner.recipe.strategy import offloads, zero_stage

_DEEPSPEED_SECTIONS = {
    "train_batch_size": ("the recipe says how many samples a step has", "write `effective_batch_size`"),
    "optimizer": ("the recipe says which optimizer there is", "write `optim` and `learning_rate` under `training:`"),
    "scheduler": ("the recipe says which schedule there is", "write `lr_scheduler_type` under `training:`"),
    "checkpoint": ("checkpoints go to the store", "take it out"),
    "nebula": ("checkpoints go to the store", "take it out"),
    "checkpoint_engine": ("checkpoints go to the store", "take it out"),
    "tensor_parallel": ("checkpoints of a tensor-parallel model are not supported yet", "take it out"),
    "elasticity": ("the batch would change with the machine", "take it out"),
    "autotuning": ("the batch would change with the machine", "take it out"),
    "data_efficiency": ("a checkpoint does not hold its sampler's state", "take it out"),
}
_CPU_OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd")
_QUANTIZED = ("4bit", "8bit")


def strategy(context: RuleContext) -> Iterator[Problem]:
    """Refuse combinations that would fail late in DeepSpeed, bitsandbytes or TRL, or not resume exactly."""
    training = context.recipe.training
    own = training.get("deepspeed")
    if own:
        yield from _own_configuration(context, own)
    written = context.value("training.strategy")
    stage = zero_stage(training, written)
    where = "training.deepspeed" if own else "training.strategy"
    if not stage:
        return
    value = show(written) if not own else f"ZeRO-{stage}"
    quantized = next((kind for kind in _QUANTIZED if context.value(f"model.load_in_{kind}")), None)
    if quantized and (stage == 3 or offloads(training)):
        yield problem_at(
            where,
            f"{value} shards or moves the weights, and bitsandbytes' {quantized} weights cannot be sharded",
            "write `strategy: ddp` or `zero2`; a quantized model with an adapter is small",
        )
    if context.recipe.method == "grpo":
        yield problem_at(
            where,
            f"{value} is not supported yet for grpo, whose completions are generated between the steps",
            "write `strategy: ddp`, with an adapter if memory is short",
        )
    optimizer = str(context.value("training.optim"))
    if offloads(training) and optimizer not in _CPU_OPTIMIZERS:
        yield problem_at(
            "training.optim",
            f"`{optimizer}` runs on a GPU only, and {value} computes the update on the CPU",
            f"write one of {', '.join(_CPU_OPTIMIZERS)}",
        )
    if context.recipe.method == "dpo" and context.value("training.precompute_ref_log_probs"):
        yield problem_at(
            where,
            f"{value} with `precompute_ref_log_probs` is not supported yet",
            "leave one of the two out",
        )


def strategy_of_a_stage(recipe: Recipe) -> Iterator[Problem]:
    """Refuse ZeRO in a stage: DeepSpeed and accelerate keep one model and configuration for the life of a process."""
    training = recipe.training
    if zero_stage(training, training.get("strategy")):
        where = "training.deepspeed" if training.get("deepspeed") else "training.strategy"
        what = "ZeRO is not supported yet for `stages:`, since DeepSpeed holds one model for the life of a process"
        yield problem_at(where, what, "write `strategy: ddp`, or make each stage a run of its own")


def _own_configuration(context: RuleContext, own: object) -> Iterator[Problem]:
    if context.is_set("training.strategy") and context.value("training.strategy") is not None:
        yield problem_at("training.strategy", "`deepspeed` is set as well", "keep one of the two")
    if not isinstance(own, dict):
        return  # the file could not be read, which is reported elsewhere
    for key, (reason, remedy) in _DEEPSPEED_SECTIONS.items():
        if key in own:
            yield problem_at("training.deepspeed", f"`{key}` is not accepted: {reason}", remedy)
    zero = own.get("zero_optimization")
    if not isinstance(zero, dict) or zero.get("stage") not in (1, 2, 3):
        yield problem_at(
            "training.deepspeed",
            "`zero_optimization` has no `stage` of 1, 2 or 3",
            "write one, or `strategy: ddp` instead of it all",
        )
        return
    for key in ("offload_optimizer", "offload_param"):
        if isinstance(zero.get(key), dict) and zero[key].get("device") == "nvme":
            yield problem_at(
                "training.deepspeed", f"`{key}` to nvme: a checkpoint would not hold what lies there", "write `cpu`"
            )

"""Settings of the libraries that runner controls itself: which values are harmless, and why others are refused.

A recipe may contain every key of the libraries' classes. A value that would break a run's guarantees, or that runner
does not use, is refused with the reason. Nothing is silently ignored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from runner.recipe.problems import Problem, show
from runner.recipe.recipe import Json
from runner.recipe.rules.context import RuleContext, problem_at


@dataclass(frozen=True)
class ReservedSetting:
    """One setting that runner controls."""

    harmless: tuple[Json, ...]
    """The values that change nothing."""
    reason: str
    """Why any other is refused."""
    remedy: str = "leave it out"
    """What to write instead."""


Table: TypeAlias = Mapping[str, ReservedSetting]

_UNREAD = "runner does not use it"
_AT_THE_END = "checkpoints go to the store, and results go to the hub once, at the end"
_EXPORT = "write it under `export:`"
_NO_HUB = "pushing it to the hub is not supported yet"
_NO_FSDP = "runner spreads models over GPUs with DeepSpeed"
_ZERO = "write `strategy: zero3`"
_IN_ADAPTER = "the adapter has its own section"
_BY_PEFT = "peft writes it into the adapter that it saves"

TRAINING: Table = {
    # Where results go.
    "output_dir": ReservedSetting(
        (None,), "a run keeps its results in the store", "leave it out; `runner pull RUN DIR` downloads them"
    ),
    "push_to_hub": ReservedSetting((False,), _AT_THE_END, "write `export: {push_to_hub: true}`"),
    "hub_model_id": ReservedSetting((None,), _AT_THE_END, _EXPORT),
    "hub_strategy": ReservedSetting(
        ("every_save", "end"), _AT_THE_END, "leave it out; `export: {push_to_hub: true}` pushes"
    ),
    "hub_private_repo": ReservedSetting((None,), _AT_THE_END, _EXPORT),
    "hub_always_push": ReservedSetting((False,), _AT_THE_END),
    "hub_revision": ReservedSetting((None,), "runner pushes to the hub's main branch"),
    "hub_token": ReservedSetting(
        (None,), "a recipe must not contain a secret", "leave it out; set HF_TOKEN in the environment"
    ),
    # What would keep a resumed run from continuing exactly.
    "resume_from_checkpoint": ReservedSetting(
        (None, False),
        "the runner finds a run's newest checkpoint itself",
        "leave it out; `runner resume RUN` continues a run",
    ),
    "save_strategy": ReservedSetting(
        ("steps", "epoch", "best"),
        "a run without checkpoints would start over each time its machine is preempted",
        "leave it out; `checkpoint:` says when state is saved",
    ),
    "save_only_model": ReservedSetting((False,), "a run cannot be resumed exactly without the optimizer's state"),
    "save_on_each_node": ReservedSetting((False,), "checkpoints go to the store, once"),
    "ignore_data_skip": ReservedSetting((False,), "a resumed run would see the first samples again, and others never"),
    "enable_jit_checkpoint": ReservedSetting((False,), "the runner checkpoints at SIGTERM itself"),
    "auto_find_batch_size": ReservedSetting(
        (False,),
        "a batch size that depends on the machine would change the training when the machine changes",
        "write `effective_batch_size`",
    ),
    "eval_on_start": ReservedSetting(
        (False,),
        "a resumed run would evaluate once more, and differ from one that was not interrupted",
        "write `evaluate: {before_and_after: true}`",
    ),
    "dataloader_in_order": ReservedSetting(
        (True,), "samples in the order in which workers finish differ from run to run"
    ),
    "train_sampling_strategy": ReservedSetting(
        ("random", "group_by_length", "batch_rebalance"),
        "the rows of all entries are mixed and shuffled by `training.seed` before, so that they would not come in the "
        "order of the files",
        "leave it out; for an order of data, write `stages:`, one for each part",
    ),
    # What runner does in its own way.
    "logging_strategy": ReservedSetting(
        ("steps",),
        "every step is recorded",
        "leave it out; `logging_steps` sets how often trackers and the log get a line",
    ),
    "disable_tqdm": ReservedSetting((None, True), "`runner launch` and `runner logs -f` show progress"),
    "model_init_kwargs": ReservedSetting(
        (None,), "the model is loaded with the settings under `model:`", "write it under `model:`"
    ),
    "include_for_metrics": ReservedSetting(([],), f"it belongs to compute_metrics, and {_UNREAD}"),
    "batch_eval_metrics": ReservedSetting((False,), f"it belongs to compute_metrics, and {_UNREAD}"),
    "do_predict": ReservedSetting((False,), _UNREAD, "leave it out; `evaluate: {prompts: […]}` generates texts"),
    "local_rank": ReservedSetting((-1,), "the runner places processes itself"),
    "ddp_backend": ReservedSetting(
        (None, "nccl", "gloo"), "the installed torch has nccl for GPUs and gloo for CPUs, and no other"
    ),
    # Not supported yet.
    "fsdp": ReservedSetting((None, False, "", []), _NO_FSDP, _ZERO),
    "fsdp_config": ReservedSetting((None, {}), _NO_FSDP, _ZERO),
}
"""Under `training:`."""

DPO: Table = {
    "sync_ref_model": ReservedSetting((False,), "the reference would change, and a checkpoint does not hold it"),
    "padding_free": ReservedSetting((False,), "TRL's DPO trainer ignores it for now"),
    "train_sampling_strategy": ReservedSetting(("random",), "TRL's DPO rows have no single length to sort by"),
}
"""Under `training:`, in addition, when the method is `dpo`."""

MODEL: Table = {
    "use_peft": ReservedSetting((False,), _IN_ADAPTER, "leave it out and write `adapter: {r: 16, …}`"),
    "lora_r": ReservedSetting((16,), _IN_ADAPTER, "write `adapter: {r: …}`"),
    "lora_alpha": ReservedSetting((32,), _IN_ADAPTER, "write `adapter: {lora_alpha: …}`"),
    "lora_dropout": ReservedSetting((0.05,), _IN_ADAPTER, "write `adapter: {lora_dropout: …}`"),
    "lora_target_modules": ReservedSetting((None,), _IN_ADAPTER, "write `adapter: {target_modules: …}`"),
    "lora_target_parameters": ReservedSetting((None,), _IN_ADAPTER, "write `adapter: {target_parameters: …}`"),
    "lora_modules_to_save": ReservedSetting((None,), _IN_ADAPTER, "write `adapter: {modules_to_save: …}`"),
    "lora_task_type": ReservedSetting(("CAUSAL_LM",), _IN_ADAPTER, "write `adapter: {task_type: …}`"),
    "use_rslora": ReservedSetting((False,), _IN_ADAPTER, "write `adapter: {use_rslora: …}`"),
    "use_dora": ReservedSetting((False,), _IN_ADAPTER, "write `adapter: {use_dora: …}`"),
}
"""Under `model:`."""

ADAPTER: Table = {
    "peft_type": ReservedSetting((None, "LORA"), "runner trains LoRA adapters only"),
    "task_type": ReservedSetting((None, "CAUSAL_LM"), "runner trains causal language models only"),
    "inference_mode": ReservedSetting((False,), "an adapter in inference mode does not train"),
    "auto_mapping": ReservedSetting((None,), _BY_PEFT),
    "peft_version": ReservedSetting((None,), _BY_PEFT),
    "base_model_name_or_path": ReservedSetting((None,), _BY_PEFT, "leave it out; `model:` names the base"),
    "revision": ReservedSetting((None,), _BY_PEFT, "leave it out; `model: {model_revision: …}` names it"),
}
"""Under `adapter:`."""

_NO_VLLM = "generation by vLLM is not supported yet"
_NO_BATCHING = "it is not known to generate the same completions again after a kill"
_NO_TABLE = "its tables would be lost with the machine that trains"
_CONTROLLER = "a checkpoint does not hold the controller's state"

GRPO: Table = {
    "sync_ref_model": ReservedSetting((False,), "the reference would change, and a checkpoint does not hold it"),
    "use_vllm": ReservedSetting((False,), _NO_VLLM),
    "use_transformers_continuous_batching": ReservedSetting((False,), _NO_BATCHING),
    "use_transformers_paged": ReservedSetting((False,), _NO_BATCHING),
    "use_adaptive_entropy": ReservedSetting(
        (False,), _CONTROLLER, "leave it out; `entropy_coef` alone is a fixed weight"
    ),
    "log_completions": ReservedSetting((False,), _NO_TABLE, "leave it out; `evaluate: {prompts: […]}` generates texts"),
    "log_completions_hub_repo": ReservedSetting((None,), _NO_HUB),
    "max_tool_calling_iterations": ReservedSetting((None,), "tools are not supported yet"),
    "train_sampling_strategy": ReservedSetting(("random",), "TRL's GRPO trainer draws groups of prompts itself"),
    "shuffle_dataset": ReservedSetting(
        (True, None),
        "the rows of all entries are mixed and shuffled by `training.seed` before, so that they would not come in the "
        "order of the files",
        "leave it out; for an order of data, write `stages:`, one for each part",
    ),
    "remove_unused_columns": ReservedSetting(
        (False, None), "reward functions would no longer get the other columns, such as the answer"
    ),
}
"""Under `training:`, in addition, when the method is `grpo`."""

SECTIONS: Mapping[str, Table] = {"training": TRAINING, "model": MODEL, "adapter": ADAPTER}
BY_METHOD: Mapping[str, Table] = {"dpo": DPO, "grpo": GRPO}
"""Additional settings under `training:`, by method."""


def reserved_settings(context: RuleContext) -> Iterator[Problem]:
    """Refuse values of reserved settings that are not harmless."""
    tables = [*SECTIONS.items(), ("training", BY_METHOD.get(context.recipe.method, {}))]
    for section, table in tables:
        for key, reserved in table.items():
            name = f"{section}.{key}"
            value = context.value(name)
            if context.is_set(name) and not any(_same(value, harmless) for harmless in reserved.harmless):
                remedy = reserved.remedy
                if isinstance(value, int | float | str):
                    remedy = remedy.replace(": …}", f": {show(value).strip('`')}}}")
                yield problem_at(name, f"{show(value)} is not accepted: {reserved.reason}", remedy)


def _same(left: Json, right: Json) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)

"""Suggest what to write instead of a name that does not exist."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from runner.recipe.problems import RecipePath

_TRAINING = {
    # Former names in transformers, and their replacements.
    "evaluation_strategy": "write `eval_strategy`, its name since transformers 4.41",
    "warmup_ratio": "write `warmup_steps: 0.1`: since transformers 5 a fraction below 1 is a share of all steps",
    "no_cuda": "write `use_cpu: true`",
    "use_mps_device": "leave it out: an MPS device is used where there is one",
    "per_gpu_train_batch_size": "write `per_device_train_batch_size`",
    "per_gpu_eval_batch_size": "write `per_device_eval_batch_size`",
    "group_by_length": "write `train_sampling_strategy: group_by_length`, its form since transformers 5",
    "include_inputs_for_metrics": "write `include_for_metrics: [inputs]`",
    "include_tokens_per_second": "leave it out: `runner metrics` has tokens_per_second at each step",
    "adafactor": "write `optim: adafactor`",
    "half_precision_backend": "leave it out: torch's own mixed precision (`bf16`, `fp16`) is the only one left",
    "fp16_backend": "leave it out: torch's own mixed precision (`bf16`, `fp16`) is the only one left",
    "fp16_opt_level": "leave it out: it belonged to NVIDIA Apex, which transformers 5 no longer uses",
    "sharded_ddp": "leave it out: transformers no longer has it",
    "torchdynamo": "write `torch_compile_backend`",
    "jit_mode_eval": "leave it out: transformers 5 no longer has it",
    "use_ipex": "leave it out: transformers 5 no longer has it",
    "tpu_num_cores": "leave it out: transformers 5 no longer has it",
    "tpu_metrics_debug": "write `debug: tpu_metrics_debug`",
    "past_index": "leave it out: transformers 5 no longer has it",
    "ray_scope": "leave it out: sweeps have their own files",
    "mp_parameters": "leave it out: it belonged to SageMaker's model parallelism",
    "save_safetensors": "leave it out: weights are always saved as safetensors",
    "overwrite_output_dir": "leave it out: each run has its own folder in the store",
    "logging_dir": "leave it out: each run's records are in the store",
    "push_to_hub_token": "leave it out: a recipe must not contain a secret",
    "push_to_hub_model_id": "write `export: {push_to_hub: true, hub_model_id: …}`",
    "push_to_hub_organization": "write `export: {push_to_hub: true, hub_model_id: owner/name}`",
    "dispatch_batches": "write `accelerator_config: {dispatch_batches: …}`",
    "split_batches": "write `accelerator_config: {split_batches: …}`",
    # Former names in TRL's SFTConfig and SFTTrainer.
    "max_seq_length": "write `max_length`, its name in TRL now",
    "tokenizer": "leave it out: the model's own tokenizer is used",
    "processing_class": "leave it out: the model's own tokenizer is used",
    "dataset_batch_size": "leave it out: TRL no longer has it",
    "num_of_sequences": "leave it out: TRL no longer has it",
    "chars_per_token": "leave it out: TRL no longer has it",
    "dataset_name": "write the dataset under `data:`, as `train: [{path: …}]`",
    "dataset_config": "write it under `data:`, as `train: [{path: …, name: …}]`",
    "dataset_train_split": "write it under `data:`, as `train: [{path: …, split: …}]`",
    "dataset_test_split": "write it under `data:`, as `eval: [{path: …, split: …}]`",
    "formatting_func": "write `template:` at the entry under `data.train`",
    "max_prompt_length": "leave it out: TRL no longer has it; `sft` and `dpo` cut whole sequences at `max_length`",
    "ref_model": "leave it out: the model before training is the reference",
    "reward_model": "write `reward_funcs`, with functions of a Python file",
    "response_template": "write `completion_only_loss: true` with prompt/completion data",
    "instruction_template": "write `assistant_only_loss: true` with conversations",
    # Names in other trainers.
    "lr": "write `learning_rate`",
    "epochs": "write `num_train_epochs`",
    "num_epochs": "write `num_train_epochs`",
    "steps": "write `max_steps`",
    "batch_size": "write `effective_batch_size`, the samples in one optimizer step",
    "train_batch_size": "write `effective_batch_size`, the samples in one optimizer step",
    "micro_batch_size": "write `per_device_train_batch_size`",
    "grad_accum": "write `gradient_accumulation_steps`",
    "sequence_len": "write `max_length`",
    "sample_packing": "write `packing`",
    "eval_sample_packing": "write `eval_packing`",
    "lr_scheduler": "write `lr_scheduler_type`",
    "scheduler": "write `lr_scheduler_type`",
    "optimizer": "write `optim`",
    "gradient_clipping": "write `max_grad_norm`",
    "val_set_size": "write `data: {eval: {from_train: …}}`",
    "val_size": "write `data: {eval: {from_train: …}}`",
    "train_steps": "write `max_steps`",
    "num_steps": "write `max_steps`",
    "total_steps": "write `max_steps`",
    "num_train_steps": "write `max_steps`",
    "train_epochs": "write `num_train_epochs`",
    "global_batch_size": "write `effective_batch_size`, the samples in one optimizer step",
    "total_batch_size": "write `effective_batch_size`, the samples in one optimizer step",
    "per_device_batch_size": "write `per_device_train_batch_size`",
    "eval_batch_size": "write `per_device_eval_batch_size`",
    "accumulate_grad_batches": "write `gradient_accumulation_steps`",
    "gradient_accumulation": "write `gradient_accumulation_steps`",
    "grad_clip": "write `max_grad_norm`",
    "max_seq_len": "write `max_length`",
    "seq_length": "write `max_length`",
    "seq_len": "write `max_length`",
    "max_sequence_length": "write `max_length`",
    "model_max_length": "write `max_length`",
    "cutoff_len": "write `max_length`",
    "context_length": "write `max_length`",
    "block_size": "write `max_length`",
    "pad_to_sequence_len": "leave it out: batches are padded to their longest row",
    "evals_per_epoch": "write `eval_strategy: epoch`, or `eval_strategy: steps` with `eval_steps`",
    "saves_per_epoch": "leave it out: `checkpoint:` says when state is saved",
    "train_on_inputs": "write `completion_only_loss: false`",
    "mask_inputs": "write `completion_only_loss: true`",
    "train_on_responses_only": "write `assistant_only_loss: true` with conversations",
    "chat_template": "write `chat_template_path`, a .jinja file or a model",
    "use_gradient_checkpointing": "write `gradient_checkpointing: true`",
    "random_state": "write `seed`",
    "random_seed": "write `seed`",
    "lr_scheduler_args": "write `lr_scheduler_kwargs`",
    "min_lr": "write `lr_scheduler_type: cosine_with_min_lr` and `lr_scheduler_kwargs: {min_lr: …}`",
    "cosine_min_lr_ratio": "write `lr_scheduler_type: cosine_with_min_lr` and `lr_scheduler_kwargs: {min_lr_rate: …}`",
    "betas": "write `adam_beta1` and `adam_beta2`",
    "eps": "write `adam_epsilon`",
    "wandb_project": "write `report_to: wandb`, and set WANDB_PROJECT in the environment",
    "wandb_entity": "write `report_to: wandb`, and set WANDB_ENTITY in the environment",
    "wandb_name": "leave it out: the W&B run gets the run's id",
    "wandb_run_name": "leave it out: the W&B run gets the run's id",
    "use_wandb": "write `report_to: wandb`",
    "mixed_precision": "write `bf16: true` or `fp16: true`",
    "precision": "write `bf16: true` or `fp16: true`",
    "preprocessing_num_workers": "write `dataset_num_proc`",
    "pref_beta": "write `beta`",
    "pref_loss": "write `loss_type`",
    "dataset_prepared_path": "leave it out: rows are read anew by each attempt",
    "unfrozen_parameters": "not supported yet: all weights are trained, or an adapter's",
    "freeze_trainable_layers": "not supported yet: all weights are trained, or an adapter's",
    "desirable_weight": "leave it out: it belongs to KTO, which is not supported yet",
    "undesirable_weight": "leave it out: it belongs to KTO, which is not supported yet",
    "embedding_learning_rate": "not supported yet: all weights have one `learning_rate`",
    "loraplus_lr_ratio": "not supported yet: all weights have one `learning_rate`",
    "loss_watchdog_threshold": "leave it out: `early_stopping_patience` ends a run that gets no better",
    "loss_watchdog_patience": "leave it out: `early_stopping_patience` ends a run that gets no better",
    "plot_loss": "leave it out: `runner report RUN` draws every curve",
    "streaming": "leave it out: `sample` at the entry under `data.train` takes a part of it",
    "gradient_accumulation_fusion": "leave it out",
    "roles_to_train": "write `train_on_turns: all`",
    "train_on_eos": "leave it out: the end of an answer is trained on",
    "mask_history": "write `train_on_turns: last`",
    "max_samples": "write `sample` at the entry under `data.train`",
}
_MODEL = {
    "torch_dtype": "write `dtype`, its name since transformers 4.56",
    "trust_remote_code": "write it under `training:`, where TRL has it",
    "model_name": "write `model_name_or_path`",
    "name": "write `model_name_or_path`",
    "path": "write `model_name_or_path`",
    "base_model": "write `model_name_or_path`",
    "revision": "write `model_revision`",
    "use_flash_attention_2": "write `attn_implementation: flash_attention_2`",
    "use_flash_attn": "write `attn_implementation: flash_attention_2`",
    "flash_attention": "write `attn_implementation: flash_attention_2`",
    "max_seq_length": "write `max_length` under `training:`",
    "tokenizer": "leave it out: the model's own tokenizer is used",
    "tokenizer_name_or_path": "leave it out: the model's own tokenizer is used",
    "device_map": "leave it out: the model is placed by the runner",
    "quantization": "write `load_in_4bit: true` or `load_in_8bit: true`",
    "quantization_bit": "write `load_in_4bit: true` or `load_in_8bit: true`",
    "quantization_config": "write its settings here: `load_in_4bit: true`, `bnb_4bit_quant_type: nf4`",
    "pretrained_model_name_or_path": "write `model_name_or_path`",
    "model_id": "write `model_name_or_path`",
    "model_path": "write `model_name_or_path`",
    "flash_attn": "write `attn_implementation: flash_attention_2`",
    "sdp_attention": "write `attn_implementation: sdpa`",
    "use_dynamic_quant": "leave it out: runner loads with bitsandbytes' own settings",
    "model_type": "leave it out: the model's config.json says it",
    "tokenizer_type": "leave it out: the model's own tokenizer is used",
    "low_cpu_mem_usage": "leave it out: transformers 5 always does so",
    "full_finetuning": "leave `adapter:` out: all weights are trained then",
}
_ADAPTER = {
    "rank": "write `r`",
    "alpha": "write `lora_alpha`",
    "dropout": "write `lora_dropout`",
    "lora_target_linear": "write `target_modules: all-linear`",
    "target": "write `target_modules`",
    "type": "leave it out: an adapter is a LoRA",
    "method": "leave it out: an adapter is a LoRA",
}
LORA: Mapping[str, str] = {
    "lora_r": "r",
    "lora_rank": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "lora_bias": "lora_bias",
    "lora_target": "target_modules",
    "lora_target_modules": "target_modules",
    "lora_target_parameters": "target_parameters",
    "lora_modules_to_save": "modules_to_save",
    "lora_task_type": "task_type",
    "lora_fan_in_fan_out": "fan_in_fan_out",
    "lora_init_weights": "init_lora_weights",
    "lora_layers_to_transform": "layers_to_transform",
    "additional_target": "modules_to_save",
    "use_rslora": "use_rslora",
    "peft_use_rslora": "use_rslora",
    "use_dora": "use_dora",
    "peft_use_dora": "use_dora",
}
"""Names of LoRA's settings in TRL's `ModelConfig`, Axolotl and LLaMA-Factory, and their names under `adapter:`."""
_OTHER_LORA = {
    "use_peft": "leave it out and write `adapter: {r: 16}`",
    "use_lora": "leave it out and write `adapter: {r: 16}`",
    "lora_target_linear": "write `adapter: {target_modules: all-linear}`",
    "finetuning_type": "write `adapter: {r: 16}` for LoRA; leave it out to train all weights",
    "peft_config": "write its settings under `adapter:`, as `adapter: {r: 16}`",
    "lora_config": "write its settings under `adapter:`, as `adapter: {r: 16}`",
    "lora_model_dir": "leave it out: a run starts from a model, not from an adapter; merge it into one first",
    "adapter_name_or_path": "leave it out: a run starts from a model, not from an adapter; merge it into one first",
}
_TOP = {
    "models": "write `model: {model_name_or_path: …}`",
    "base_model": "write `model: {model_name_or_path: …}`",
    "dataset": "write `data: {train: [{path: …}]}`",
    "datasets": "write `data: {train: [{path: …}]}`",
    "lora": "write `adapter:`",
    "peft": "write `adapter:`",
    "sweep": "a sweep has its own file",
    "stage": "write `method: sft`, or another: cpt, dpo, grpo; for several, `stages: [{method: …}, {method: …}]`",
    "finetuning_type": "write `adapter: {r: 16}` for LoRA; leave it out to train all weights",
    "num_nodes": "leave it out, and launch with `--nodes N`",
    "run": "leave it out: runner writes the command",
    "workdir": "leave it out: runner brings its own code",
    "template": "leave it out: the model's own chat template is used; another is `training: {chat_template_path: …}`",
    "chat_template": "write `training: {chat_template_path: …}`, a .jinja file, a model, or a name such as chatml",
    "val_set_size": "write `data: {eval: {from_train: …}}`",
    "eos_token": "write `training: {eos_token: …}`",
    "special_tokens": "leave it out: the model's own are used; `training:` has `eos_token` and `pad_token`",
    "deepspeed": "write `training: {strategy: zero2}` or `zero3`",
    "args": "write `training:`",
    "trainer": "write `training:`",
    "training_args": "write `training:`",
    "training_arguments": "write `training:`",
    "hyperparameters": "write `training:`",
    "peft_config": "write `adapter:`",
    "lora_config": "write `adapter:`",
    "rl": "write `method: dpo` or `method: grpo`",
    "task": "write `method: sft`, or another: cpt, dpo, grpo",
    "gpus": "write `resources: {accelerators: …}`",
    "accelerators": "write `resources: {accelerators: …}`",
    "envs": "write it under `sky:`",
    "setup": "write it under `sky:`",
    "test_datasets": "write `data: {eval: [{path: …}]}`",
    "eval_dataset": "write `data: {eval: [{path: …}]}`",
    "train_dataset": "write `data: {train: [{path: …}]}`",
}
_DATA = {
    "validation": "write `eval`",
    "test": "write `eval`",
    "val": "write `eval`",
    "eval_from_train": "write `eval: {from_train: …}`",
    "chat_template": "write `training: {chat_template_path: …}`; a chat template belongs to the model, not to the data",
    "val_set_size": "write `eval: {from_train: …}`",
    "test_size": "write `eval: {from_train: …}`",
    "shuffle": "leave it out: the mixture is always shuffled, by `training.seed`",
}
_SOURCE = {
    "dataset": "write `path`",
    "type": "write `format`",
    "config": "write `name`",
    "subset": "write `name`",
    "weight": "write `sample`, a number of rows or a fraction of them",
    "data_files": "write `path`, with the file's name",
    "columns": 'write `template: {text: "{column}"}`',
    "chat_template": "write `training: {chat_template_path: …}`; a chat template belongs to the model, not to the data",
    "field_messages": 'write `template: {messages: "{column}"}`',
    "message_field_role": "leave it out: `role` and `from` are both read",
    "message_property_mappings": "leave it out: `role`/`content` and `from`/`value` are both read",
    "roles": "leave it out: the usual names of speakers are read",
    "train_on_split": "write `split`",
    "formatting": "write `format`",
    "rename": 'write `template: {text: "{column}"}`',
}
_STAGE = {
    "model": "`model:` belongs at the top, once: each stage starts from the one before it",
    "export": "`export:` belongs at the top: it exports the result of the last stage",
    "resources": "`resources:` belongs at the top: all stages are one run",
    "stages": "stages follow each other and cannot be nested",
}
_EXPORT = {
    "quantization": "write `gguf: [q4_k_m]`",
    "quantization_method": "write `gguf: [q4_k_m]`",
    "save_merged": "write `merge: true`",
    "repo_id": "write `hub_model_id`",
    "private": "write `hub_private_repo`",
    "hub_token": "leave it out: a recipe must not contain a secret; set HF_TOKEN in the environment",
    "token": "leave it out: a recipe must not contain a secret; set HF_TOKEN in the environment",
}
FORMER: Mapping[str, Mapping[str, str]] = {
    "": _TOP,
    "model": _MODEL,
    "adapter": _ADAPTER,
    "training": _TRAINING,
    "data": _DATA,
    "data.train": _SOURCE,
    "data.eval": _SOURCE,
    "export": _EXPORT,
    "stages": _STAGE,
}
"""For each section, former names and names of other tools, and what to write instead."""


_REFUSED: Mapping[str, str] = {
    "output_dir": "leave it out: a run keeps its results in the store, and `runner pull RUN DIR` downloads them",
    "push_to_hub": "write `export: {push_to_hub: true}`",
    "hub_model_id": "write `export: {push_to_hub: true, hub_model_id: …}`",
    "hub_private_repo": "write `export: {push_to_hub: true, hub_private_repo: …}`",
    "hub_strategy": "leave it out; `export: {push_to_hub: true}` pushes at the end",
    "hub_always_push": "leave it out; `export: {push_to_hub: true}` pushes at the end",
    "hub_revision": "leave it out: runner pushes to the hub's main branch",
    "hub_token": "leave it out: a recipe must not contain a secret; set HF_TOKEN in the environment",
    "resume_from_checkpoint": "leave it out; `runner resume RUN` continues a run",
    "save_strategy": "leave it out; `checkpoint:` says when state is saved",
    "save_only_model": "leave it out: a run cannot be resumed exactly without the optimizer's state",
    "save_on_each_node": "leave it out: checkpoints go to the store, once",
    "auto_find_batch_size": "write `training: {effective_batch_size: …}`",
    "eval_on_start": "write `evaluate: {before_and_after: true}`",
    "logging_strategy": "leave it out: every step is recorded",
    "disable_tqdm": "leave it out: `runner launch` and `runner logs -f` show progress",
    "model_init_kwargs": "leave it out: the model is loaded with the settings under `model:`",
    "fsdp": "write `training: {strategy: zero3}`; of a quantized model with an adapter, leave it out",
    "fsdp_config": "write `training: {strategy: zero3}`; of a quantized model with an adapter, leave it out",
    "ignore_data_skip": "leave it out: a resumed run goes on where it was",
    "enable_jit_checkpoint": "leave it out: the runner checkpoints at SIGTERM itself",
    "include_for_metrics": "leave it out: runner does not use it",
    "batch_eval_metrics": "leave it out: runner does not use it",
    "do_predict": "leave it out; `evaluate: {prompts: […]}` generates texts",
    "local_rank": "leave it out: the runner places processes itself",
}
"""Settings under `training:` that are refused there, too: what to write instead, wherever else they stand."""

_GENERIC = frozenset(
    {"name", "path", "type", "config", "columns", "test", "val", "token", "method", "target", "weight"}
)
"""Keys that mean too many things to say in which other section they belong."""


def remedy_for_unknown(path: RecipePath, known: Iterable[str], schema: Mapping[str, Any], value: Any = None) -> str:
    """Return what to write instead of the unknown key at the end of `path`.

    Args:
        path: leads to the unknown key.
        known: the keys that are allowed there.
        schema: the whole recipe's, for keys that belong to another section.
        value: what is written there.
    """
    known = list(known)
    key = str(path[-1])
    section = ".".join(step for step in path[:-1] if isinstance(step, str))
    former = FORMER.get(section, {}).get(key)
    if former:
        return former
    if remedy := _lora_remedy(key, section, value):
        return remedy
    sections = {name: list(part.get("properties", ())) for name, part in schema["properties"].items()}
    if section != "training" and key in _REFUSED:
        return _REFUSED[key]
    homes = [name for name, keys in sections.items() if key in keys and name != section]
    if homes:
        return f"`{key}` belongs under `{homes[0]}:`"
    for name, names in FORMER.items():
        if key in names and key not in _GENERIC and name in sections:
            remedy = names[key]
            says_where = section == name or "under `" in remedy or remedy.startswith(("leave it out", "not supported"))
            says_where = says_where or any(f"`{other}: " in remedy for other in sections)
            return remedy if says_where else f"under `{name}:`, {remedy}"
    if close := difflib.get_close_matches(key, known, n=1, cutoff=0.75):
        return f"did you mean `{close[0]}`?"
    everywhere = {other: name for name, keys in sections.items() for other in keys}
    if elsewhere := difflib.get_close_matches(key, everywhere, n=1, cutoff=0.85):
        return f"did you mean `{elsewhere[0]}` under `{everywhere[elsewhere[0]]}:`?"
    if loose := difflib.get_close_matches(key, known, n=1, cutoff=0.7):
        return f"did you mean `{loose[0]}`?"
    if len(known) <= 15:
        return f"known here: {', '.join(known)}"
    return "`runner schema` prints every setting"


def _lora_remedy(key: str, section: str, value: Any) -> str | None:
    """Return how a LoRA setting of another tool is written, with its value if that is short."""
    if key in LORA:
        if section == "adapter":
            return f"write `{LORA[key]}`"
        plain = isinstance(value, str | int | float) and len(str(value)) <= 40
        written = str(value).lower() if isinstance(value, bool) else str(value) if plain else "…"
        if isinstance(value, list) and len(value) <= 8 and all(isinstance(item, str) for item in value):
            written = f"[{', '.join(value)}]"
        return f"write `adapter: {{{LORA[key]}: {written}}}`"
    return None if section == "adapter" else _OTHER_LORA.get(key)


def closest(word: str, words: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Return the first of `words` that begins with `word`, else the most similar one; `likeness` 1 means equal."""
    words = list(words)
    completions = [other for other in words if len(word) >= 3 and other.startswith(word)]
    matches = completions or difflib.get_close_matches(word, words, n=1, cutoff=likeness)
    return matches[0] if matches else None

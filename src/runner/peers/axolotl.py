"""Axolotl's YAML (its schema and documentation of July 2026: https://docs.axolotl.ai/docs/config-reference.html)."""

import re
from collections.abc import Mapping
from typing import Any

from runner.peers import values
from runner.peers.draft import Config, Draft
from runner.peers.rules import Leave, Refuse, Table, To, apply

TABLE: Table = {
    "base_model": To("model.model_name_or_path"),
    "revision_of_model": To("model.model_revision"),
    "base_model_config": Leave("the model's own configuration is taken"),
    "tokenizer_config": Refuse("the tokenizer of another model cannot be taken"),
    "tokenizer_type": Leave("the model's own tokenizer is taken"),
    "tokenizer_use_fast": Leave("the model's own tokenizer is taken"),
    "tokenizer_legacy": Leave("the model's own tokenizer is taken"),
    "tokenizer_use_mistral_common": Refuse("mistral-common's tokenizer cannot be taken"),
    "processor_type": Refuse("images and sound are not trained on"),
    "is_falcon_derived_model": Leave(), "is_llama_derived_model": Leave(), "is_qwen_derived_model": Leave(),
    "is_mistral_derived_model": Leave(),
    "trust_remote_code": To("training.trust_remote_code"),
    "strict": Leave("a recipe is always checked in full"),
    "sequence_len": To("training.max_length"),
    "micro_batch_size": To("training.per_device_train_batch_size"),
    "eval_batch_size": To("training.per_device_eval_batch_size"),
    "gradient_accumulation_steps": To("training.gradient_accumulation_steps"),
    "learning_rate": To("training.learning_rate"),
    "lr_scheduler": To("training.lr_scheduler_type"),
    "lr_scheduler_kwargs.*": Refuse("write `training.lr_scheduler_kwargs` by hand"),
    "cosine_constant_lr_ratio": Refuse("no schedule of transformers is a cosine that ends before the training does"),
    "lr_groups": Refuse("all weights have one learning rate"),
    "embedding_lr": Refuse("all weights have one learning rate"),
    "embedding_lr_scale": Refuse("all weights have one learning rate"),
    "loraplus_lr_ratio": Refuse("all weights have one learning rate (LoRA+ has two)"),
    "loraplus_lr_embedding": Refuse("all weights have one learning rate (LoRA+ has two)", harmless=(1e-6,)),
    "optimizer": To("training.optim"),
    "optim_target_modules": To("training.optim_target_modules"),
    "weight_decay": To("training.weight_decay"),
    "adam_beta1": To("training.adam_beta1"),
    "adam_beta2": To("training.adam_beta2"),
    "adam_epsilon": To("training.adam_epsilon"),
    "max_grad_norm": To("training.max_grad_norm"),
    "warmup_ratio": To("training.warmup_steps", why="a number below 1 is a share of all steps"),
    "warmup_steps": To("training.warmup_steps"),
    "logging_steps": To("training.logging_steps"),
    "seed": To("training.seed"),
    "neftune_noise_alpha": To("training.neftune_noise_alpha"),
    "early_stopping_patience": To("training.early_stopping_patience"),
    "group_by_length": To("training.train_sampling_strategy", {True: "group_by_length", False: "random"}),
    "torch_compile": To("training.torch_compile", {True: True, False: False, "auto": False}),
    "torch_compile_backend": Leave(values.SPEED), "torch_compile_mode": Leave(values.SPEED),
    "tf32": Leave(values.SPEED),
    "gradient_checkpointing_kwargs.*": Leave("how activations are computed again changes no result"),
    "activation_offloading": To("training.activation_offloading", {True: True, False: False}),
    "save_steps": To("checkpoint.save_steps", lambda steps: int(steps) if steps >= 1 else None),
    "save_total_limit": To("checkpoint.save_total_limit"),
    "saves_per_epoch": Leave("checkpoints are saved every few minutes, and none is lost"),
    "save_strategy": Leave("checkpoints are saved every few minutes, and none is lost"),
    "save_first_step": Leave("checkpoints are saved every few minutes, and none is lost"),
    "save_safetensors": Leave("weights are always saved as safetensors"),
    "save_only_model": Refuse("a checkpoint from which nothing can go on is not made"),
    "auto_resume_from_checkpoints": Leave("a run always goes on from its last checkpoint"),
    "resume_from_checkpoint": Refuse("a checkpoint of Axolotl cannot be gone on from"),
    "load_best_model_at_end": To("training.load_best_model_at_end"),
    "metric_for_best_model": To("training.metric_for_best_model"),
    "greater_is_better": To("training.greater_is_better"),
    "eval_table_size": Leave(), "eval_max_new_tokens": Leave(), "do_causal_lm_eval": Refuse("only the loss is measured"),
    "do_bench_eval": Refuse("no benchmark is run besides"),
    "sample_packing": To("training.packing"),
    "eval_sample_packing": To("training.eval_packing"),
    "sample_packing_group_size": Leave(), "sample_packing_bin_size": Leave(), "sample_packing_sequentially": Leave(),
    "multipack_real_batches": Leave(), "batch_flattening": Leave(), "pad_to_sequence_len": Leave("padding changes no loss"),
    "excess_length_strategy": Leave("rows that are too long are cut, and the log says how many"),
    "dataset_prepared_path": Leave(values.PLACES), "dataset_processes": Leave(values.SPEED),
    "dataset_num_proc": Leave(values.SPEED), "dataset_keep_in_memory": Leave(values.SPEED),
    "dataloader_num_workers": Leave(values.SPEED), "dataloader_pin_memory": Leave(values.SPEED),
    "dataloader_prefetch_factor": Leave(values.SPEED), "low_cpu_mem_usage": Leave(values.SPEED),
    "skip_prepare_dataset": Refuse("rows are always prepared by TRL"),
    "shuffle_merged_datasets": Refuse("rows are always shuffled by the seed", harmless=(True,)),
    "curriculum_sampling": Refuse("rows are always shuffled by the seed"),
    "dataset_exact_deduplication": Refuse("equal rows are not dropped"),
    "streaming": Refuse("data is not streamed: it is downloaded whole"),
    "remove_unused_columns": Leave("only what is trained on is kept"),
    "output_dir": Leave(values.PLACES), "overwrite_output_dir": Leave(values.PLACES),
    "hub_strategy": Leave("artifacts are pushed at the end"), "push_dataset_to_hub": Refuse("no dataset is pushed"),
    "hf_use_auth_token": Leave("`HF_TOKEN` is a secret of the launch"),
    "attn_implementation": Leave(values.SPEED), "flash_attention": Leave(values.SPEED), "sdp_attention": Leave(values.SPEED),
    "xformers_attention": Leave(values.SPEED), "flex_attention": Leave(values.SPEED), "eager_attention": Leave(values.SPEED),
    "flash_attn_cross_entropy": Leave(values.SPEED), "flash_attn_rms_norm": Leave(values.SPEED),
    "flash_attn_fuse_qkv": Leave(values.SPEED), "flash_attn_fuse_mlp": Leave(values.SPEED),
    "sage_attention": Refuse("SageAttention is another arithmetic"),
    "s2_attention": Refuse("shifted sparse attention is another model"),
    "lora_mlp_kernel": Leave(values.SPEED), "lora_qkv_kernel": Leave(values.SPEED), "lora_o_kernel": Leave(values.SPEED),
    "lora_embedding_kernel": Leave(values.SPEED), "use_kernels": Leave(values.SPEED), "use_scattermoe": Leave(values.SPEED),
    "use_sonicmoe": Leave(values.SPEED), "experts_implementation": Leave(values.SPEED),
    "cut_cross_entropy": Leave(values.SPEED), "chunked_cross_entropy": Leave(values.SPEED),
    "unsloth_lora_mlp": Leave(values.SPEED), "unsloth_lora_qkv": Leave(values.SPEED), "unsloth_lora_o": Leave(values.SPEED),
    "unsloth_rms_norm": Leave(values.SPEED), "unsloth_rope": Leave(values.SPEED),
    "unsloth_cross_entropy_loss": Leave(values.SPEED), "tiled_mlp": Refuse("long rows are not cut up inside a layer"),
    "liger_rope": Leave(values.SPEED), "liger_rms_norm": Leave(values.SPEED), "liger_glu_activation": Leave(values.SPEED),
    "liger_layer_norm": Leave(values.SPEED), "liger_cross_entropy": Leave(values.SPEED), "liger_swiglu": Leave(values.SPEED),
    "liger_fused_linear_cross_entropy": Leave(values.SPEED), "liger_rms_norm_gated": Leave(values.SPEED),
    "lora_r": To("adapter.r"),
    "lora_alpha": To("adapter.lora_alpha"),
    "lora_dropout": To("adapter.lora_dropout"),
    "lora_modules_to_save": To("adapter.modules_to_save"),
    "lora_fan_in_fan_out": To("adapter.fan_in_fan_out"),
    "lora_target_parameters": To("adapter.target_parameters"),
    "peft_layers_to_transform": To("adapter.layers_to_transform"),
    "peft_layers_pattern": To("adapter.layers_pattern"),
    "peft_use_dora": To("adapter.use_dora"),
    "peft_use_rslora": To("adapter.use_rslora"),
    "peft_init_lora_weights": To("adapter.init_lora_weights"),
    "lora_on_cpu": Leave(values.SPEED),
    "lora_model_dir": Refuse("training from an adapter that is there: write `model: {run: …}` if it is a run's"),
    "merge_lora": To("export.merge"),
    "relora": Refuse("ReLoRA is no method of runner's"), "relora_steps": Refuse("ReLoRA is no method of runner's"),
    "jagged_restart_steps": Refuse("ReLoRA is no method of runner's"),
    "lisa_n_layers": Refuse("LISA is no method of runner's"),
    "bnb_config_kwargs.bnb_4bit_quant_type": To("model.bnb_4bit_quant_type"),
    "bnb_config_kwargs.bnb_4bit_use_double_quant": To("model.bnb_4bit_use_double_quant"),
    "bnb_config_kwargs.bnb_4bit_compute_dtype": To("model.bnb_4bit_compute_dtype"),
    "gptq": Refuse("a model that GPTQ has quantized is not trained"), "gptq_disable_exllama": Leave(),
    "quantize_moe_experts": Refuse("experts are not quantized"),
    "model_quantization_config": Refuse("bitsandbytes alone quantizes here"),
    "model_quantization_config_kwargs.*": Refuse("bitsandbytes alone quantizes here"),
    "qat.*": Refuse("training for quantization (QAT) is no method of runner's"),
    "quantization.*": Leave("quantized artifacts are made by `export:`"),
    "use_onebitllms": Refuse("1.58-bit training is no method of runner's"),
    "fp8": Refuse("FP8 is not trained in"), "fp8_enable_fsdp_float8_all_gather": Refuse("FP8 is not trained in"),
    "unfrozen_parameters": Refuse("parts of the weights cannot be frozen"),
    "overrides_of_model_config.*": Refuse("the model's configuration is not changed"),
    "overrides_of_model_kwargs.*": Refuse("the model's configuration is not changed"),
    "model_config.*": Refuse("the model's configuration is not changed"),
    "rope_scaling.*": Refuse("the model's configuration is not changed"),
    "reinit_weights": Refuse("training begins with the model's weights"),
    "random_init_weights": Refuse("training begins with the model's weights"),
    "special_tokens.pad_token": To("training.pad_token"),
    "special_tokens.bos_token": Leave("the tokenizer's own is taken; see that it is this one"),
    "special_tokens.unk_token": Leave("the tokenizer's own is taken; see that it is this one"),
    "special_tokens.*": Refuse("no tokens are added"),
    "tokens": Refuse("no tokens are added"), "added_tokens_overrides.*": Refuse("no tokens are added"),
    "resize_token_embeddings_to_32x": Leave("the embeddings are as large as the model has them"),
    "eot_tokens": Leave("what the template's generation marks hold is trained on"),
    "default_system_message": Refuse("write it into `template:` as the first message"),
    "fsdp_version": Leave(values.SPEED), "ddp_timeout": To("training.ddp_timeout"),
    "ddp_bucket_cap_mb": Leave(values.SPEED), "ddp_broadcast_buffers": Leave(values.SPEED),
    "ddp_find_unused_parameters": To("training.ddp_find_unused_parameters"),
    "context_parallel_size": Refuse("one sequence is not cut up over several GPUs", harmless=(1,)),
    "sequence_parallel_degree": Refuse("one sequence is not cut up over several GPUs", harmless=(1,)),
    "ring_attn_func": Leave(), "heads_k_stride": Leave(),
    "tensor_parallel_size": Refuse("one layer is not cut up over several GPUs", harmless=(1,)),
    "expert_parallel_size": Refuse("experts are not spread over GPUs", harmless=(1,)),
    "dp_shard_size": Leave(values.SERVERS), "dp_replicate_size": Leave(values.SERVERS),
    "device_map": Leave(values.SERVERS), "gpu_memory_limit": Leave(values.SERVERS), "max_memory.*": Leave(values.SERVERS),
    "use_ray": Leave(values.SERVERS), "ray_run_name": Leave(values.SERVERS), "ray_num_workers": Leave(values.SERVERS),
    "resources_per_worker.*": Leave(values.SERVERS), "local_rank": Leave(values.SERVERS),
    "torch_dtype": To("model.dtype", values.DTYPES), "float32": Leave(), "bfloat16": Leave(),
    "loss_watchdog_threshold": Leave("a loss that is no number ends a run; a high one does not"),
    "loss_watchdog_patience": Leave("a loss that is no number ends a run; a high one does not"),
    "gc_steps": To("training.torch_empty_cache_steps"), "debug": Leave(), "experimental_skip_move_to_device": Leave(),
    "profiler_steps": Leave(), "profiler_steps_start": Leave(), "include_tokens_per_second": Leave(values.LOGGING),
    "include_tkps": Leave(values.LOGGING), "report_to": Leave(values.LOGGING), "use_tensorboard": Leave(values.LOGGING),
    **{
        f"{tracker}_{name}": Leave(values.LOGGING)
        for tracker in ("wandb", "mlflow", "comet", "swanlab", "trackio")
        for name in (
            "project", "entity", "name", "run_id", "run_name", "watch", "log_model", "mode", "api_key", "workspace",
            "tracking_uri", "experiment_name", "experiment_key", "online", "project_name", "artifacts_enabled", "space_id",
            "experiment_config",
        )
    },
    "use_wandb": Leave(values.LOGGING), "use_mlflow": Leave(values.LOGGING), "use_comet": Leave(values.LOGGING),
    "use_swanlab": Leave(values.LOGGING),
    "use_eaft": Refuse("another loss than cross entropy"), "dft_loss": Refuse("write `training.loss_type: dft` by hand"),
    "eaft_alpha": Leave(), "eaft_k": Leave(), "kd_trainer": Refuse("distillation is no method of runner's"),
    "trainer_cls": Refuse("a trainer of one's own cannot be taken along"),
    "val_set_size_seed": Leave(),
    "rl_beta": To("training.beta"), "dpo_beta": To("training.beta"),
    "dpo_label_smoothing": To("training.label_smoothing"), "rpo_alpha": Refuse("write `loss_type: [sigmoid, sft]` by hand"),
    "dpo_use_weighting": To("training.use_weighting"), "dpo_use_logits_to_keep": Leave(values.SPEED),
    "dpo_norm_loss": Refuse("write `loss_type: sigmoid_norm` by hand"), "precompute_ref_log_probs": Leave(values.SPEED),
    "rl_adapter_ref_model": Leave("the model without the adapter is the reference"),
    "max_prompt_len": Leave("TRL has no such limit any more"),
}  # fmt: skip
"""Each key of Axolotl's that some published config has, or that its reference names."""

_PLUGINS = ("cut_cross_entropy", "liger", "kernels", "spectrum_none")
_METHODS = {"dpo": "sigmoid", "ipo": "ipo"}


def convert(config: Config, draft: Draft) -> None:
    """Convert a config of Axolotl's."""
    _method(config, draft)
    _weights(config, draft)
    _adapter(config, draft)
    _data(config, draft)
    _evaluation(config, draft)
    _several_gpus(config, draft)
    ratio = config.take("cosine_min_lr_ratio")
    if ratio is not None:
        config.take("lr_scheduler")
        draft.put("training.lr_scheduler_type", "cosine_with_min_lr", key="cosine_min_lr_ratio", why="its name in transformers")
        draft.put("training.lr_scheduler_kwargs", {"min_lr_rate": ratio}, key="cosine_min_lr_ratio")
    if config.has("hub_model_id"):
        draft.put("export.push_to_hub", True, key="hub_model_id")
        draft.put("export.hub_model_id", config.take("hub_model_id"), key="hub_model_id")
    if config.has("max_steps"):
        draft.put("training.max_steps", config.take("max_steps"), key="max_steps")
        if config.has("num_epochs"):
            config.take("num_epochs")
            draft.leave("num_epochs", "`max_steps` counts, as it does there")
    elif config.has("num_epochs"):
        draft.put("training.num_train_epochs", config.take("num_epochs"), key="num_epochs")
    else:
        draft.add("training.num_train_epochs", 1.0, "Axolotl trains one epoch unless told otherwise")
    if config.has("warmup_steps") and config.has("warmup_ratio"):
        config.take("warmup_ratio")
    apply(TABLE, config, draft)
    draft.add("training.lr_scheduler_type", "cosine", "Axolotl's default")
    draft.add("training.warmup_steps", 0.03, "Axolotl's default, a share of all steps; at most 100 steps there")
    draft.add("training.per_device_train_batch_size", 1, "Axolotl's default")
    draft.add("training.max_length", 512, "Axolotl's default")
    draft.add("training.gradient_checkpointing", False, "Axolotl's default")


def _method(config: Config, draft: Draft) -> None:
    rl = config.take("rl")
    draft.method = "dpo" if rl in _METHODS else "grpo" if rl in ("grpo", "gdpo") else "sft"
    if rl in _METHODS:
        draft.put("method", "dpo", key="rl")
        draft.add("training.loss_type", [_METHODS[rl]], "the loss of this method in TRL")
    elif rl in ("grpo", "gdpo"):
        draft.refuse("rl", "reward functions are Python of the user's: write them into a file and name it in `training.reward_funcs`")
        config.take("trl")
    elif rl is not None:
        draft.refuse("rl", f"{values.NO_METHODS.get(rl, rl)} is no method of runner's")
    for key in ("reward_model", "process_reward_model"):
        if config.take(key):
            draft.refuse(key, "reward models are no method of runner's")
    kind = config.take("model_type")
    if kind is not None and "SequenceClassification" in str(kind):
        draft.refuse("model_type", "classifiers and reward models are no method of runner's")
    elif kind is not None:
        draft.leave("model_type", "the model's own class is taken")
    for plugin in config.take("plugins", []):
        if any(name in str(plugin).lower() for name in _PLUGINS):
            draft.leave("plugins", f"{plugin}: {values.SPEED}")
        else:
            draft.refuse("plugins", f"{plugin}: Axolotl's plugins cannot be taken along")


def _weights(config: Config, draft: Draft) -> None:
    bf16, fp16 = config.take("bf16", False), config.take("fp16", False)
    if bf16 in (True, "true", "full", "auto"):
        draft.put("model.dtype", "bfloat16", key="bf16", why="Axolotl loads the weights in bf16 too")
        draft.leave("bf16", "bf16 is taken where the GPU has it")
    elif fp16 in (True, "true", "auto"):
        draft.put("model.dtype", "float16", key="fp16", why="Axolotl loads the weights in fp16 too")
        draft.put("training.fp16", True, key="fp16")
    value = config.take("gradient_checkpointing", None)
    if value is not None:
        draft.put("training.gradient_checkpointing", bool(value), key="gradient_checkpointing")
        if str(value).startswith("offload"):
            draft.add("training.activation_offloading", True, "`offload` moves activations to main memory")
    for key, rule in (("model_revision", "model.model_revision"), ("revision_of_model", "model.model_revision")):
        if config.has(key):
            draft.put(rule, config.take(key), key=key)


def _adapter(config: Config, draft: Draft) -> None:
    adapter = config.take("adapter")
    keys = [key for key in config.leaves if key.startswith(("lora_", "peft"))]
    if adapter is None:
        for key in keys:
            config.take(key)
            if config.leaves[key]:
                draft.leave(key, "there is no `adapter` that it belongs to")
    elif adapter in ("lora", "qlora"):
        draft.put("adapter", {}, key="adapter", why="an adapter of peft's")
        linear, modules = config.take("lora_target_linear"), config.take("lora_target_modules")
        if modules == "all-linear" or (linear and not modules):
            draft.put("adapter.target_modules", "all-linear", key="lora_target_linear")
        elif linear:
            draft.refuse("lora_target_modules", "both `lora_target_linear` and a list: write `adapter.target_modules` by hand")
        elif modules:
            draft.put("adapter.target_modules", modules, key="lora_target_modules")
        draft.recipe["adapter"].setdefault("lora_dropout", 0.0)
    else:
        draft.refuse("adapter", f"{adapter!r} is no adapter that runner trains: lora and qlora are")
    four, eight = config.take("load_in_4bit", False), config.take("load_in_8bit", False)
    if four:
        draft.put("model.load_in_4bit", True, key="load_in_4bit")
        given = config.take("bnb_config_kwargs", {})
        draft.put("model.bnb_4bit_quant_type", given.get("bnb_4bit_quant_type", "nf4"), key="load_in_4bit", why="Axolotl's default")
        draft.put("model.bnb_4bit_use_double_quant", given.get("bnb_4bit_use_double_quant", True), key="load_in_4bit", why="Axolotl's default")
        draft.put("model.bnb_4bit_compute_dtype", "bfloat16", key="load_in_4bit", why="the dtype of the weights")
    elif eight:
        draft.put("model.load_in_8bit", True, key="load_in_8bit")


def _data(config: Config, draft: Draft) -> None:
    pretraining = config.take("pretraining_dataset")
    if pretraining:
        draft.refuse("pretraining_dataset", "data is not streamed: name a part of it under `data.train`, with `method: cpt`")
    template_of(config, draft)
    answers_only = not config.take("train_on_inputs", False)
    entries = config.take("datasets", [])
    entries = [entries] if isinstance(entries, Mapping) else entries
    kinds: set[str] = set()
    train = [_entry(entry, f"datasets[{index}]", draft, kinds) for index, entry in enumerate(entries)]
    train = [entry for entry in train if entry is not None]
    if kinds == {"text"} and draft.method == "sft":
        draft.method = "cpt"
        draft.recipe["method"] = "cpt"
    elif "text" in kinds and len(kinds) > 1:
        draft.refuse("datasets", "raw text and conversations in one mixture: write two stages")
    if train:
        draft.put("data.train", train, key="datasets", why="" if len(train) == len(entries) else "some cannot be said")
    elif not pretraining and not draft.impossible:
        draft.refuse("datasets", "there is none")
    if draft.method == "sft" and "turns" in kinds:
        draft.add("training.assistant_only_loss", answers_only, "Axolotl's default: the loss sees the answers only")
        if "pairs" in kinds:
            draft.refuse("datasets", "conversations and prompts with a completion in one mixture: make them of one kind")
    elif draft.method == "sft" and "pairs" in kinds and not answers_only:
        draft.put("training.completion_only_loss", False, key="train_on_inputs")
    if draft.method == "cpt":
        draft.add("training.packing", bool(config.leaves.get("sample_packing")), "Axolotl packs only if it is told to")
    tests = config.take("test_datasets", [])
    if tests:
        held = [_entry(entry, f"test_datasets[{index}]", draft, set()) for index, entry in enumerate(tests)]
        draft.put("data.eval", [entry for entry in held if entry is not None], key="test_datasets")


def template_of(config: Config, draft: Draft) -> None:
    """The chat template: the model's own needs no word."""
    name, inline = config.take("chat_template"), config.take("chat_template_jinja")
    model = str(config.content.get("base_model", ""))
    if inline is not None:
        if str(inline).endswith(".jinja"):
            draft.put("training.chat_template_path", inline, key="chat_template_jinja")
        else:
            draft.refuse("chat_template_jinja", "write the template into a file, and its path into `training.chat_template_path`")
    elif name in (None, "tokenizer_default"):
        pass
    elif str(name).startswith("tokenizer_default") or values.is_instruct(model):
        draft.leave("chat_template", f"the model's own chat template is taken; see that it is {name!r}")
    else:
        draft.refuse("chat_template", f"{name!r} by name: a base model needs it as a file, in `training.chat_template_path`")


def _entry(entry: Mapping[str, Any], where: str, draft: Draft, kinds: set[str]) -> dict[str, Any] | None:
    """One entry of `datasets`; None if it cannot be said."""
    known = {
        "path", "name", "split", "revision", "type", "field_messages", "message_property_mappings", "message_field_role",
        "message_field_content", "roles", "roles_to_train", "train_on_eos", "field", "conversation", "chat_template", "data_files",
        "ds_type", "trust_remote_code", "shards", "shards_idx", "field_system", "field_instruction", "field_output",
        "field_input", "format", "no_input_format", "field_human", "field_model", "field_tools", "field_thinking",
        "message_field_training", "message_field_training_detail", "drop_system_message", "split_thinking",
        "train_on_inputs", "field_chosen", "field_rejected", "train_on_eot", "template_thinking_key",
    }  # fmt: skip
    for key in entry:
        if key not in known:
            draft.refuse(f"{where}.{key}", "runner knows nothing of this key")
            return None
    source: dict[str, Any] = {"path": entry.get("path")}
    for key in ("name", "split", "revision"):
        if entry.get(key) is not None:
            source[key] = entry[key]
    files = entry.get("data_files")
    if files is not None:
        if entry.get("path") in ("json", "csv", "text", "parquet", "arrow") and isinstance(files, str | list):
            source["path"] = files if isinstance(files, str) else files[0]
        if not isinstance(files, str) and not (entry.get("path") == "json" and len(files) == 1):
            draft.refuse(f"{where}.data_files", "files of a hub dataset: write one entry for each file")
            return None
    for key in ("shards", "drop_system_message", "message_field_training", "message_field_training_detail", "split_thinking"):
        if entry.get(key):
            draft.refuse(f"{where}.{key}", "write the rows as they are to be trained on")
            return None
    return _typed(entry, source, where, draft, kinds)


def _typed(
    entry: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft, kinds: set[str]
) -> dict[str, Any] | None:
    kind = entry.get("type", "chat_template" if "field_messages" in entry else None)
    if isinstance(kind, Mapping):
        return _custom(kind, source, where, draft, kinds)
    name = str(kind).split(":")[0] if isinstance(kind, str) else None
    if draft.method == "dpo":
        return _preferences(entry, source, where, draft)
    if name == "alpaca" and kind in ("alpaca", "alpaca:"):
        kinds.add("pairs")
        return {**source, "format": "stanford_alpaca"}
    if name == "completion":
        kinds.add("text")
        column = entry.get("field", "text")
        return source | ({"format": "text"} if column == "text" else {"template": {"text": f"{{{column}}}"}})
    if name in ("chat_template", "sharegpt"):
        kinds.add("turns")
        return _turns(entry, source, where, draft, name)
    draft.refuse(f"{where}.type", f"{kind!r}: write the rows' layout as `template:` or `format:`")
    return None


def _turns(entry: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft, name: str) -> dict[str, Any] | None:
    mapping = entry.get("message_property_mappings") or {}
    role = mapping.get("role", entry.get("message_field_role", "from" if name == "sharegpt" else "role"))
    content = mapping.get("content", entry.get("message_field_content", "value" if name == "sharegpt" else "content"))
    if (role, content) not in (("role", "content"), ("from", "value")):
        draft.refuse(f"{where}.message_property_mappings", f"turns with {role!r} and {content!r}: role and content, or from and value")
        return None
    trained = entry.get("roles_to_train", ["assistant"])
    if trained not in (["assistant"], ["gpt"], ["assistant", "gpt"], ["gpt", "assistant"], ["model"], "assistant", "gpt"):
        draft.refuse(f"{where}.roles_to_train", "the loss sees the answers only, or all")
        return None
    if entry.get("train_on_eos", "turn") not in ("turn", "all"):
        draft.refuse(f"{where}.train_on_eos", "the end of each answer is trained on")
        return None
    column = entry.get("field_messages", "conversations" if name == "sharegpt" else "messages")
    if column in ("messages", "conversations"):
        return source
    return {**source, "template": {"messages": f"{{{column}}}"}}


def _custom(
    kind: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft, kinds: set[str]
) -> dict[str, Any] | None:
    """A prompt's layout in the config itself (``type: {format: …}``)."""
    known = {
        "format", "no_input_format", "field_instruction", "field_input", "field_output", "field_system", "system_prompt",
        "system_format", "field",
    }  # fmt: skip
    unknown = sorted(kind.keys() - known)
    if unknown or (kind.get("system_prompt") and "{system}" in str(kind.get("format", ""))):
        draft.refuse(f"{where}.type", f"{', '.join(unknown) or 'system_prompt'}: write the layout as `template:`")
        return None
    layout, without = str(kind.get("format", "{instruction}")), kind.get("no_input_format")
    if without is not None and without != layout:
        layout = f"{{#input}}{layout}{{/input}}{{^input}}{without}{{/input}}"
    kinds.add("pairs")
    for name in ("instruction", "input", "output", "system"):
        column = kind.get(f"field_{name}") or name
        layout = re.sub(rf"\{{([#/^]?){name}\}}", lambda found, to=column: f"{{{found[1]}{to}}}", layout)
    answer = kind.get("field_output") or "output"
    return {**source, "template": {"prompt": layout, "completion": f"{{{answer}}}"}}


def _preferences(entry: Mapping[str, Any], source: dict[str, Any], where: str, draft: Draft) -> dict[str, Any] | None:
    kind = str(entry.get("type"))
    if not kind.startswith("chat_template"):
        draft.refuse(f"{where}.type", f"{kind!r} writes prompts in a way of its own: take chat_template.default, or write `template:`")
        return None
    prompt, chosen, rejected = (
        entry.get("field_messages", "messages"),
        entry.get("field_chosen", "chosen"),
        entry.get("field_rejected", "rejected"),
    )
    mapping = entry.get("message_property_mappings") or {}
    if (mapping.get("role", "role"), mapping.get("content", "content")) not in (("role", "content"), ("from", "value")):
        draft.refuse(f"{where}.message_property_mappings", "role and content, or from and value")
        return None
    template = {"prompt": f"{{{prompt}}}", "chosen": f"{{{chosen}}}", "rejected": f"{{{rejected}}}"}
    return {**source, "template": template} if (prompt, chosen, rejected) != ("prompt", "chosen", "rejected") else source


def _evaluation(config: Config, draft: Draft) -> None:
    held = config.take("val_set_size", 0)
    if held:
        draft.put("data.eval", {"from_train": values.eval_share(held)}, key="val_set_size")
    evaluates = draft.find("data.eval") is not None
    per_epoch, steps, strategy = config.take("evals_per_epoch"), config.take("eval_steps"), config.take("eval_strategy")
    strategy = strategy or config.take("evaluation_strategy")
    if not evaluates:
        for key in ("evals_per_epoch", "eval_steps", "eval_strategy"):
            if config.has(key):
                draft.leave(key, "there is nothing to evaluate on")
    elif per_epoch:
        epochs = config.content.get("num_epochs") or 1
        if per_epoch == 1:
            draft.put("training.eval_strategy", "epoch", key="evals_per_epoch")
        else:
            draft.put("training.eval_strategy", "steps", key="evals_per_epoch")
            draft.put("training.eval_steps", round(1 / (per_epoch * epochs), 6), key="evals_per_epoch", why="a share of all steps")
    elif steps:
        draft.put("training.eval_strategy", "steps", key="eval_steps")
        draft.put("training.eval_steps", steps, key="eval_steps")
    elif strategy not in ("no", False):
        draft.put("training.eval_strategy", strategy or "epoch", key="eval_strategy" if strategy else "val_set_size")


def _several_gpus(config: Config, draft: Draft) -> None:
    deepspeed = config.take("deepspeed")
    if deepspeed:
        values.put_strategy(draft, "deepspeed", values.deepspeed_strategy(str(deepspeed)), deepspeed)
    given = config.take("fsdp")
    details = config.take("fsdp_config", {})
    if given or details:
        offload = bool(details.get("offload_params") or details.get("fsdp_offload_params") or "offload" in str(given))
        values.put_strategy(draft, "fsdp_config", "zero3_offload" if offload else "zero3", given)
        if details.get("activation_checkpointing") or details.get("fsdp_activation_checkpointing"):
            draft.add("training.gradient_checkpointing", True, "`fsdp_config.activation_checkpointing`")

"""Axolotl's YAML (its schema and documentation of July 2026: https://docs.axolotl.ai/docs/config-reference.html)."""

from collections.abc import Mapping

from runner.peers import values
from runner.peers.axolotl_rows import entry_of
from runner.peers.draft import Config, Draft
from runner.peers.rules import apply
from runner.peers.tables.axolotl import TABLE

_PLUGINS = ("cut_cross_entropy", "liger", "kernels", "spectrum_none")
_TEMPLATES = {
    "chatml": "chatml",
    "llama3": "llama3",
    "gemma": "gemma",
    "gemma3": "gemma",
    "mistral_v1": "mistral",
    "phi_3": "phi3",
}
"""Templates of Axolotl's that write the same as one of ours."""
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
        draft.put(
            "training.lr_scheduler_type",
            "cosine_with_min_lr",
            key="cosine_min_lr_ratio",
            why="its name in transformers",
        )
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
    if draft.method == "dpo":
        for key in ("sample_packing", "eval_sample_packing"):
            if config.take(key):
                draft.leave(key, "pairs are not packed")
    if draft.method != "sft" and config.has("special_tokens.eos_token"):
        config.take("special_tokens.eos_token")
        draft.leave("special_tokens.eos_token", "the tokenizer's own is taken; see that it is this one")
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
        draft.refuse(
            "rl",
            "reward functions are Python of the user's: write them into a file and name it in `training.reward_funcs`",
        )
        config.take("trl")
    elif rl is not None:
        config.take("trl")
        config.take(str(rl))
        draft.refuse("rl", f"{values.NO_METHODS.get(rl, rl)} is not a method of runner")
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
            why = "`lora_target_linear` adds all linear layers to the list"
            draft.put("adapter.target_modules", "all-linear", key="lora_target_modules", why=why)
        elif modules:
            draft.put("adapter.target_modules", modules, key="lora_target_modules")
        draft.recipe["adapter"].setdefault("lora_dropout", 0.0)
    else:
        draft.refuse("adapter", f"{adapter!r} is not trained: write lora or qlora")
    four, eight = config.take("load_in_4bit", False), config.take("load_in_8bit", False)
    if four:
        draft.put("model.load_in_4bit", True, key="load_in_4bit")
        given = config.take("bnb_config_kwargs", {})
        draft.put(
            "model.bnb_4bit_quant_type",
            given.get("bnb_4bit_quant_type", "nf4"),
            key="load_in_4bit",
            why="Axolotl's default",
        )
        draft.put(
            "model.bnb_4bit_use_double_quant",
            given.get("bnb_4bit_use_double_quant", True),
            key="load_in_4bit",
            why="Axolotl's default",
        )
        draft.put("model.bnb_4bit_compute_dtype", "bfloat16", key="load_in_4bit", why="the dtype of the weights")
    elif eight:
        draft.put("model.load_in_8bit", True, key="load_in_8bit")


def _data(config: Config, draft: Draft) -> None:
    pretraining = config.take("pretraining_dataset")
    if pretraining:
        draft.refuse(
            "pretraining_dataset", "data is not streamed: name a part of it under `data.train`, with `method: cpt`"
        )
    template_of(config, draft)
    answers_only = not config.take("train_on_inputs", False)
    entries = config.take("datasets", [])
    entries = [entries] if isinstance(entries, Mapping) else entries
    kinds: set[str] = set()
    train = [entry_of(entry, f"datasets[{index}]", draft, kinds) for index, entry in enumerate(entries)]
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
            draft.refuse(
                "datasets", "conversations and prompts with a completion in one mixture: make them of one kind"
            )
    elif draft.method == "sft" and "pairs" in kinds and not answers_only:
        draft.put("training.completion_only_loss", False, key="train_on_inputs")
    if draft.method == "cpt":
        draft.add("training.packing", bool(config.leaves.get("sample_packing")), "Axolotl packs only if it is told to")
    tests = config.take("test_datasets", [])
    if tests:
        held = [entry_of(entry, f"test_datasets[{index}]", draft, set()) for index, entry in enumerate(tests)]
        draft.put("data.eval", [entry for entry in held if entry is not None], key="test_datasets")


def template_of(config: Config, draft: Draft) -> None:
    """The chat template: the model's own needs no word."""
    name, inline = config.take("chat_template"), config.take("chat_template_jinja")
    model = str(config.content.get("base_model", ""))
    if inline is not None:
        if str(inline).endswith(".jinja"):
            draft.put("training.chat_template_path", inline, key="chat_template_jinja")
        else:
            draft.put_file("training.chat_template_path", "chat_template.jinja", str(inline), key="chat_template_jinja")
    elif name in (None, "tokenizer_default"):
        pass
    elif str(name).startswith("tokenizer_default") or values.has_template(model):
        draft.leave("chat_template", f"the model's own chat template is taken; see that it is {name!r}")
    elif draft.method == "sft" and str(name) in _TEMPLATES:
        draft.put(
            "training.chat_template_path", _TEMPLATES[str(name)], key="chat_template", why="a template of this name"
        )
    else:
        draft.refuse(
            "chat_template", f"{name!r} by name: a base model needs it as a file, in `training.chat_template_path`"
        )


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
            draft.put(
                "training.eval_steps",
                round(1 / (per_epoch * epochs), 6),
                key="evals_per_epoch",
                why="a share of all steps",
            )
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

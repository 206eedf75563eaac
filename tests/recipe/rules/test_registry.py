"""Contradictions: every rule is provoked, and every neighbouring recipe that is right is taken."""

import pytest

from runner.recipe.rules import registry
from runner.recipe.rules.reserved import SECTIONS
from runner.recipe.schema import recipe_schema
from support.recipes import Check, Refuse, settings_of

EVAL = "data.eval.from_train=0.1"
STEPS = "training.eval_strategy=epoch"


@pytest.mark.parametrize(
    ("overrides", "setting", "what"),
    [
        # One device, one batch.
        (
            ["training.effective_batch_size=8", "training.per_device_train_batch_size=3"],
            "training.effective_batch_size",
            "3",
        ),
        # Steps and epochs.
        (["training.max_steps=0"], "training.max_steps", "0 trains nothing"),
        (["training.max_steps=5", "training.num_train_epochs=2"], "training.num_train_epochs", "overrides it"),
        # Precision.
        (["training.bf16=true", "training.fp16=true"], "training.fp16", "`bf16` is true as well"),
        (["training.bf16_full_eval=true", "training.fp16_full_eval=true"], "training.fp16_full_eval", "as well"),
        (["training.fp16=true", "model.dtype=float16"], "model.dtype", "unscale float16 gradients"),
        # Quantization.
        (["model.load_in_4bit=true", "model.load_in_8bit=true", "adapter={}"], "model.load_in_8bit", "as well"),
        (["model.load_in_4bit=true"], "model.load_in_4bit", "cannot be trained"),
        (["model.load_in_8bit=true"], "model.load_in_8bit", "cannot be trained"),
        (["model.bnb_4bit_quant_type=fp4"], "model.bnb_4bit_quant_type", "no effect without `load_in_4bit: true`"),
        (["model.use_bnb_nested_quant=true"], "model.use_bnb_nested_quant", "no effect"),
        (["model.llm_int8_threshold=5"], "model.llm_int8_threshold", "no effect without `load_in_8bit: true`"),
        (
            [
                "adapter={}",
                "model.load_in_4bit=true",
                "model.use_bnb_nested_quant=true",
                "model.bnb_4bit_use_double_quant=false",
            ],
            "model.use_bnb_nested_quant",
            "has another value",
        ),
        # Adapters.
        (["export.merge=true"], "export.merge", "no adapter to merge"),
        (["adapter={init_lora_weights: eva}"], "adapter.init_lora_weights", "a pass over the data"),
        (["adapter={init_lora_weights: lora_ga}"], "adapter.init_lora_weights", "a pass over the data"),
        (["adapter={target_modules: [q_proj, lm_head]}"], "adapter.target_modules", "never be trained"),
        # Exports.
        (["export.gguf=[q8_0, q8_0]"], "export.gguf", "is listed twice"),
        (["export.hub_model_id=me/x"], "export.hub_model_id", "no effect without `push_to_hub: true`"),
        (["export.hub_private_repo=true"], "export.hub_private_repo", "no effect without `push_to_hub: true`"),
        (["export.push_to_hub=true", "export.hub_model_id=me/a--b"], "export.hub_model_id", "a repository's name"),
        (["training.push_to_hub=true"], "training.push_to_hub", "once, at the end"),
        # Evaluation.
        ([STEPS], "training.eval_strategy", "no evaluation data"),
        (["evaluate.before_and_after=true"], "evaluate.before_and_after", "no evaluation data"),
        (["training.do_eval=true"], "training.do_eval", "no evaluation data"),
        ([EVAL], "data.eval", "nothing evaluates on it"),
        (["evaluate.exact_match={}"], "evaluate.exact_match", "nothing measures it"),
        (["evaluate.prompts=[Why?]"], "evaluate.prompts", "nothing completes them"),
        ([EVAL, STEPS, "evaluate.prompts=[Why?]"], "evaluate.prompts", "nothing completes them"),
        (["training.early_stopping_patience=2"], "training.early_stopping_patience", "needs evaluations"),
        (["training.load_best_model_at_end=true"], "training.load_best_model_at_end", "needs evaluations"),
        (["training.metric_for_best_model=loss"], "training.metric_for_best_model", "needs evaluations"),
        (["training.lr_scheduler_type=reduce_lr_on_plateau"], "training.lr_scheduler_type", "needs evaluations"),
        ([EVAL, STEPS, "training.save_strategy=best"], "training.save_strategy", "needs a metric"),
        ([EVAL, STEPS, "training.early_stopping_threshold=0.1"], "training.early_stopping_threshold", "no effect"),
        ([EVAL, STEPS, "training.eval_steps=5"], "training.eval_steps", "no effect without `eval_strategy: steps`"),
        # Packing.
        (["training.packing=true", "training.max_length=null"], "training.max_length", "needs a length"),
        (["training.padding_free=true"], "training.padding_free", "would not be kept to"),
        # The loss on a part of each row.
        (
            ["training.assistant_only_loss=true"],
            "training.assistant_only_loss",
            "pairs of strings, which have no assistant's",
        ),
        # Workers.
        (["training.dataloader_prefetch_factor=2"], "training.dataloader_prefetch_factor", "there are no workers"),
        (["training.dataloader_persistent_workers=true"], "training.dataloader_persistent_workers", "no workers"),
        # Checkpoints.
        (
            ["training.gradient_checkpointing=true", "training.activation_checkpointing=false"],
            "training.gradient_checkpointing",
            "its newer name",
        ),
        (["checkpoint.save_minutes=null"], "checkpoint.save_minutes", "never be saved"),
        (["training.save_steps=5", "checkpoint.save_steps=6"], "training.save_steps", "and 6 under `checkpoint:`"),
        (["training.save_steps=0.1"], "training.save_steps", "a share of all steps"),
        # Amounts and names.
        (["data.train.0.sample=1.0"], "data.train.0.sample", "neither a fraction below 1 nor a number of rows"),
        (["data.eval.from_train=2.5", STEPS], "data.eval.from_train", "neither a fraction"),
        (["model.model_revision=v2"], "model.model_revision", "only models of the hub"),
        (["data.train.0.revision=v2"], "data.train.0.revision", "only datasets of the hub"),
        (["data.train.0.name=en"], "data.train.0.name", "only datasets of the hub"),
        (["data.train.0.split=test"], "data.train.0.split", "one split, `train`"),
        (["data.train.0.split=train[:10%]"], "data.train.0.split", "it has only `train`"),
        (["data.train.0={path: user/data, split: 'train[:x]'}"], "data.train.0.split", "is not a split"),
        # Texts for mappings.
        (["training.lr_scheduler_kwargs=num_cycles"], "training.lr_scheduler_kwargs", "is not a mapping"),
        (["training.lr_scheduler_kwargs='[1]'"], "training.lr_scheduler_kwargs", "is not a mapping"),
        # Trackers.
        (["training.report_to=all"], "training.report_to", "depends on what is installed"),
        # SkyPilot.
        (["resources={any_of: [{infra: aws}], ordered: [{infra: gcp}]}"], "resources.ordered", "as well"),
        *(
            ([f"resources={{job_recovery: {{recover_on_exit_codes: {codes}}}}}"], where, what)
            for where in ["resources.job_recovery.recover_on_exit_codes"]
            for codes, what in [("[33, 1]", "exit code 1 means"), ("0", "that the run succeeded"), ("[2]", "a mistake")]
        ),
        (
            ["resources={job_recovery: {max_restarts_on_errors: 3}}"],
            "resources.job_recovery.max_restarts_on_errors",
            "has failed for good",
        ),
        (
            ["resources={any_of: [{infra: aws, job_recovery: {recover_on_exit_codes: [1]}}]}"],
            "resources.any_of.0.job_recovery.recover_on_exit_codes",
            "exit code 1 means",
        ),
    ],
)
def test_a_contradiction_is_refused(refuse: Refuse, overrides: list[str], setting: str, what: str) -> None:
    """One problem, at the setting that gives way, with its reason and remedy."""
    error = refuse(*overrides)
    assert settings_of(error) == [setting]
    assert what in error.what
    assert error.remedy


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.effective_batch_size=8", "training.per_device_train_batch_size=4"],
        [
            "training.effective_batch_size=16",
            "training.per_device_train_batch_size=2",
            "training.gradient_accumulation_steps=2",
            "resources={accelerators: 'L4:4'}",
        ],
        ["training.bf16=true", "training.fp16=false"],
        ["training.fp16=true", "model.dtype=float16", "adapter={}"],
        ["model.load_in_4bit=true", "model.bnb_4bit_quant_type=fp4", "adapter={r: 8}"],
        ["model.load_in_8bit=true", "model.llm_int8_threshold=5", "adapter={r: 8}"],
        ["adapter={r: 8}", "export.merge=true"],
        [EVAL, STEPS, "training.early_stopping_patience=2", "training.early_stopping_threshold=0.1"],
        [EVAL, STEPS, "training.load_best_model_at_end=true", "training.save_strategy=best"],
        [EVAL, "training.eval_strategy=steps", "training.eval_steps=5"],
        [EVAL, "evaluate.before_and_after=true"],
        ["data.eval.0.path=builtin:python-docstrings", STEPS],
        ["training.packing=true", "training.padding_free=true"],
        ["training.padding_free=true", "training.max_length=null"],
        ["training.completion_only_loss=true"],
        ["training.dataloader_num_workers=2", "training.dataloader_prefetch_factor=2"],
        ["training.save_strategy=epoch", "checkpoint.save_minutes=null"],
        ["checkpoint={save_minutes: null, save_steps: 5}"],
        ["data.train.0.sample=0.5", "data.train.1={path: user/data, sample: 100, split: 'train[:10%]+test[50:100]'}"],
        ["data.train.0={path: user/data, name: en, revision: v2, split: test}", "training.assistant_only_loss=true"],
        ["model={model_name_or_path: user/model, model_revision: v2}"],
    ],
)
def test_what_only_looks_like_a_contradiction_is_taken(check: Check, overrides: list[str]) -> None:
    """A rule refuses its contradiction and nothing else."""
    assert check(*overrides).recipe.name


def test_steps_from_the_command_line_shorten_a_recipe_with_epochs(check: Check) -> None:
    """`--set training.max_steps=5` is how one tries a recipe, and transformers' rule for it holds."""
    text = (
        "method: sft\nmodel: {model_name_or_path: builtin:tiny-llama}\n"
        "data: {train: [{path: builtin:python-docstrings}]}\ntraining: {num_train_epochs: 3}\n"
    )
    assert check("training.max_steps=5", text=text).recipe.training["max_steps"] == 5


def test_saving_has_one_place(check: Check) -> None:
    """transformers' `save_steps` and `save_total_limit` are the recipe's `checkpoint:`, with their source."""
    loaded = check("training.save_steps=20.0", "training.save_total_limit=3")
    assert (loaded.recipe.checkpoint.save_steps, loaded.recipe.checkpoint.save_total_limit) == (20, 3)
    assert loaded.settings["checkpoint.save_steps"].source == "--set"
    assert not any("save_" in key for key in loaded.recipe.training)
    assert not any(key in loaded.settings for key in ("training.save_steps", "training.save_total_limit"))
    assert check("training.save_steps=5", "checkpoint.save_steps=5").recipe.checkpoint.save_steps == 5
    over_the_flag = check("training.save_steps=5", flags={"checkpoint.save_steps": 6})
    assert over_the_flag.recipe.checkpoint.save_steps == 6
    assert check("checkpoint.save_steps=6", flags={"training.save_steps": 5}).recipe.checkpoint.save_steps == 5


HARMFUL = {
    "boolean": [True, False],
    "string": ["else"],
    "integer": [3],
    "number": [0.3],
    "object": [{"x": 1}],
    "array": [["x"]],
}


def harmful_values(section: str, key: str) -> list[object]:
    """Values that the schema takes and the table of what the runner owns does not."""
    schema = recipe_schema()["properties"][section]["properties"][key]
    kinds = schema.get("type", [])
    values = [*schema.get("enum", []), *(value for kind in HARMFUL if kind in kinds for value in HARMFUL[kind])]
    return [value for value in values if value not in SECTIONS[section][key].harmless]


@pytest.mark.parametrize(("section", "key"), [(section, key) for section in SECTIONS for key in SECTIONS[section]])
def test_what_the_runner_answers_for_is_refused_with_its_reason(refuse: Refuse, section: str, key: str) -> None:
    """Nothing that would break a promise passes, and nothing that nobody reads is ignored."""
    values = harmful_values(section, key)
    error = refuse(flags={**({"adapter": {}} if section == "adapter" else {}), f"{section}.{key}": values[0]})
    assert settings_of(error) == [f"{section}.{key}"]
    assert SECTIONS[section][key].reason in error.what


@pytest.mark.parametrize(("section", "key"), [(section, key) for section in SECTIONS for key in SECTIONS[section]])
def test_every_default_is_harmless(section: str, key: str) -> None:
    """The libraries' own defaults are never refused."""
    schema = recipe_schema()["properties"][section]["properties"][key]
    assert schema["default"] in SECTIONS[section][key].harmless


def test_every_rule_has_its_reason() -> None:
    """The docstring of a rule says why it is one."""
    assert all(rule.__doc__ and rule.__doc__.endswith(".") for rule in registry.RULES)

"""What the trainers would fail on late, or ignore: metrics, optimizers, choices, names of modules."""

import re

import pytest

from runner.recipe.rules.evaluation import METRICS
from runner.recipe.rules.optimizers import ARGUMENTS, REFUSED
from runner.recipe.rules.values import BOUNDS, CHOICES
from runner.recipe.schema import recipe_schema
from support.recipes import Check, Refuse, settings_of

EVAL = "data.eval.from_train=0.1"
DPO = """\
method: dpo
model: {model_name_or_path: builtin:tiny-llama}
data: {train: [{path: me/pairs}], eval: {from_train: 0.1}}
"""
GRPO = """\
method: grpo
model: {model_name_or_path: builtin:tiny-llama}
data: {train: [{path: builtin:arithmetic}], eval: {from_train: 0.1}}
training: {reward_funcs: ["builtin:exact-answer"], effective_batch_size: 8}
"""


@pytest.mark.parametrize("metric", ["eval_accuracy", "accuracy", "eval_exact_match", "eval_f1", "eval_losss", "epoch"])
def test_a_metric_that_no_evaluation_has_is_refused_with_those_that_there_are(refuse: Refuse, metric: str) -> None:
    error = refuse(EVAL, f"training={{eval_strategy: epoch, metric_for_best_model: {metric}}}")
    assert settings_of(error) == ["training.metric_for_best_model"]
    assert "eval_loss" in str(error)
    assert "eval_mean_token_accuracy" in str(error)


@pytest.mark.parametrize("metric", ["loss", "eval_loss", "mean_token_accuracy", "eval_entropy"])
def test_a_metric_of_each_evaluation_is_taken(check: Check, metric: str) -> None:
    assert check(EVAL, f"training={{eval_strategy: epoch, metric_for_best_model: {metric}}}")


@pytest.mark.parametrize(
    ("text", "metric", "ok"),
    [
        (DPO, "rewards/accuracies", True),
        (DPO, "eval_rewards/margins", True),
        (DPO, "reward", False),
        (GRPO, "reward", True),
        (GRPO, "rewards/exact_answer/mean", True),
        (GRPO, "rewards/other/mean", False),
        (GRPO, "completions/mean_length", True),
        (GRPO, "rewards/accuracies", False),
    ],
)
def test_each_method_has_metrics_of_its_own(check: Check, refuse: Refuse, text: str, metric: str, ok: bool) -> None:
    overrides = ["training.eval_strategy=epoch", f"training.metric_for_best_model={metric}"]
    if ok:
        assert check(*overrides, text=text)
    else:
        assert settings_of(refuse(*overrides, text=text)) == ["training.metric_for_best_model"]


def test_the_metrics_are_those_that_the_installed_trainers_log() -> None:
    import inspect

    from trl import DPOTrainer, GRPOTrainer, SFTTrainer

    for method, trainer in (("sft", SFTTrainer), ("cpt", SFTTrainer), ("dpo", DPOTrainer), ("grpo", GRPOTrainer)):
        source = inspect.getsource(inspect.getmodule(trainer))  # type: ignore[arg-type]
        logged = set(re.findall(r'_metrics\[mode\]\[f?"([^"{]+)"\]', source))
        for metric in METRICS[method]:
            stem = metric.removesuffix("*")
            assert any(name.startswith(stem) if metric.endswith("*") else name == metric for name in logged), metric


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_optimizer_that_cannot_be_resumed_is_refused(refuse: Refuse, name: str) -> None:
    error = refuse(f"training.optim={name}")
    assert settings_of(error) == ["training.optim"]
    assert f"`{name}` is not accepted" in str(error)


def test_every_layerwise_optimizer_is_refused() -> None:
    names = recipe_schema("sft")["properties"]["training"]["properties"]["optim"]["enum"]
    assert {name for name in names if "layerwise" in name or "lomo" in name} <= set(REFUSED)
    assert set(ARGUMENTS) | set(REFUSED) <= set(names)


@pytest.mark.parametrize(
    ("training", "what"),
    [
        ("{optim: adamw_torch, optim_args: betas}", "is not `name=value`"),
        ("{optim: adamw_torch, optim_args: beta1=0.8}", "write `adam_beta1` under `training:`"),
        ("{optim: sgd, optim_args: 'momentum=0.9,nesterof=true'}", "did you mean `nesterov`?"),
        ("{optim: adamw_torch, optim_target_modules: [attn]}", "no effect with `optim: adamw_torch`"),
    ],
)
def test_arguments_that_no_optimizer_reads_are_refused(refuse: Refuse, training: str, what: str) -> None:
    assert what in str(refuse(f"training={training}"))


def test_arguments_of_an_optimizer_are_taken(check: Check) -> None:
    assert check("training={optim: sgd, optim_args: 'momentum=0.9, nesterov=true'}")


@pytest.mark.parametrize(
    ("adapter", "remedy"),
    [
        ("{target_modules: all}", "write `target_modules: all-linear`"),
        ("{target_modules: [all-linear]}", "without brackets"),
        ("{target_modules: [all]}", "without brackets"),
        ("{target_modules: all_linear}", "write `target_modules: all-linear`"),
        ("{target_modules: 'q_proj,v_proj'}", "write a list: `target_modules: [q_proj, v_proj]`"),
        ("{target_modules: \"['q_proj', 'v_proj']\"}", "write a list: `target_modules: [q_proj, v_proj]`"),
        ("{target_modules: q_proj}", "write a list: `target_modules: [q_proj]`"),
        ("{target_modules: ['q_proj,v_proj']}", "write `target_modules: [q_proj, v_proj]`"),
        ("{target_modules: all-linear, exclude_modules: 'a, b'}", "write a list: `exclude_modules: [a, b]`"),
        ("{modules_to_save: 'lm_head,embed_tokens'}", "write a list: [lm_head, embed_tokens]"),
    ],
)
def test_names_of_modules_are_a_list_or_an_expression(refuse: Refuse, adapter: str, remedy: str) -> None:
    assert remedy in str(refuse(f"adapter={adapter}"))


@pytest.mark.parametrize("targets", ["all-linear", r"'.*\.(q|v)_proj'", "[q_proj, v_proj]", "'.*mlp.*'"])
def test_right_names_of_modules_are_taken(check: Check, targets: str) -> None:
    assert check(f"adapter={{target_modules: {targets}}}").recipe.adapter is not None


def test_trackers_in_one_text_are_a_list(refuse: Refuse) -> None:
    assert "write a list: [wandb, tensorboard]" in str(refuse("training.report_to='wandb,tensorboard'"))


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [
        (["training.hub_strategy=every_save"], "training.hub_strategy"),
        (["training.train_sampling_strategy=sequential"], "training.train_sampling_strategy"),
        (["training.accelerator_config={split_batch: true}"], "training.accelerator_config.split_batch"),
        (["training.accelerator_config={use_configured_state: true}"], None),
        (["training.gradient_checkpointing_kwargs={reentrant: true}"], None),
        (["training.dataset_kwargs={skip_prepare_dataset: true}"], "training.dataset_kwargs.skip_prepare_dataset"),
        (["training.debug=overflow"], "training.debug"),
        (["training.pad_to_multiple_of=eight"], "training.pad_to_multiple_of"),
        (["training.torch_compile_mode=fast"], "training.torch_compile_mode"),
        (["model.attn_implementation=flash"], "model.attn_implementation"),
        (["training.logging_steps=1.5"], "training.logging_steps"),
        (["training.ddp_backend=mpi"], "training.ddp_backend"),
        (
            ["model.load_in_4bit=true", "model.bnb_4bit_compute_dtype=bf16", "adapter={}"],
            "model.bnb_4bit_compute_dtype",
        ),
        (["adapter={alora_invocation_tokens: [1]}"], "adapter.alora_invocation_tokens"),
        ([EVAL, "training={eval_strategy: steps, eval_steps: 2.5}"], "training.eval_steps"),
        ([EVAL, "training={eval_strategy: epoch, greater_is_better: true}"], "training.greater_is_better"),
    ],
)
def test_what_would_crash_late_or_be_ignored_is_refused(
    refuse: Refuse, overrides: list[str], setting: str | None
) -> None:
    error = refuse(*overrides)
    assert setting is None or settings_of(error) == [setting]


@pytest.mark.parametrize(
    "override",
    [
        "loss_type=gspo",
        "importance_sampling_level=seq",
        "multi_objective_aggregation=sum",
        "temperature=0",
        "top_p=1.5",
        "num_iterations=0",
        "max_completion_length=0",
        "max_completion_length=null",
        "num_generations=null",
        "steps_per_generation=0",
        "train_sampling_strategy=group_by_length",
        "shuffle_dataset=false",
    ],
)
def test_values_that_grpo_cannot_compute_with_are_refused(refuse: Refuse, override: str) -> None:
    assert settings_of(refuse(f"training.{override}", "training.eval_strategy=epoch", text=GRPO))[0] == (
        f"training.{override.partition('=')[0]}"
    )


def test_values_that_dpo_cannot_compute_with_are_refused(refuse: Refuse) -> None:
    error = refuse("training={f_divergence_type: kl, eval_strategy: epoch, beta: -1}", text=DPO)
    assert set(settings_of(error)) == {"training.f_divergence_type", "training.beta"}


def test_a_loss_that_would_divide_by_zero_is_refused(refuse: Refuse) -> None:
    error = refuse("training={loss_type: robust, label_smoothing: 0.5, eval_strategy: epoch}", text=DPO)
    assert settings_of(error) == ["training.label_smoothing"]


def test_the_choices_are_those_that_trl_compares_with() -> None:
    import inspect

    from trl import DPOTrainer, GRPOTrainer

    for method, trainer in (("dpo", DPOTrainer), ("grpo", GRPOTrainer)):
        source = inspect.getsource(inspect.getmodule(trainer))  # type: ignore[arg-type]
        for key, choices in CHOICES[method].items():
            compared = set(re.findall(rf'\b{key} == "(\w+)"', source))
            for several in re.findall(rf"\b{key} in \[([^\]]+)\]", source):
                compared |= set(re.findall(r'"(\w+)"', several))
            assert compared == set(choices), key
        known = recipe_schema(method)["properties"]["training"]["properties"]
        assert set(BOUNDS[method]) | set(CHOICES[method]) <= set(known)


def test_the_compilers_are_those_that_accelerate_knows() -> None:
    from accelerate.utils import DynamoBackend

    assert set(CHOICES[""]["torch_compile_backend"]) == {backend.value.lower() for backend in DynamoBackend} - {"no"}


def test_an_evaluation_after_the_end_is_said(check: Check) -> None:
    loaded = check(EVAL, "training={eval_strategy: steps, eval_steps: 500, max_steps: 10}")
    assert "nothing is evaluated during training" in loaded.warning_sentences[0]


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("training.lora_r=8", "write `adapter: {r: 8}`"),
        ("lora_r=8", "write `adapter: {r: 8}`"),
        ("model.lora_r=8", "write `adapter: {r: 8}`"),
        ("adapter.lora_r=8", "write `r`"),
        ("lora_alpha=16", "write `adapter: {lora_alpha: 16}`"),
        ("training.lora_dropout=0.1", "write `adapter: {lora_dropout: 0.1}`"),
        ("lora_target_modules=[q_proj, v_proj]", "write `adapter: {target_modules: [q_proj, v_proj]}`"),
        ("training.use_peft=true", "write `adapter: {r: 16}`"),
        ("training.use_rslora=true", "write `adapter: {use_rslora: true}`"),
        ("use_dora=true", "write `adapter: {use_dora: true}`"),
        ("training.lora_task_type=CAUSAL_LM", "write `adapter: {task_type: CAUSAL_LM}`"),
        ("lora_target_linear=true", "write `adapter: {target_modules: all-linear}`"),
        ("finetuning_type=lora", "write `adapter: {r: 16}`"),
        ("adapter=qlora", "write `adapter: {r: 16, target_modules: all-linear}`"),
        ("micro_batch_size=2", "under `training:`, write `per_device_train_batch_size`"),
        ("sequence_len=2048", "under `training:`, write `max_length`"),
        ("cutoff_len=2048", "under `training:`, write `max_length`"),
        ("num_epochs=2", "under `training:`, write `num_train_epochs`"),
        ("base_model=me/model", "write `model: {model_name_or_path: …}`"),
        ("load_in_4bit=true", "`load_in_4bit` belongs under `model:`"),
        ("training.load_in_4bit=true", "`load_in_4bit` belongs under `model:`"),
        ("val_set_size=0.1", "write `data: {eval: {from_train: …}}`"),
        ("training.random_state=1", "write `seed`"),
        ("optimizer=adamw", "under `training:`, write `optim`"),
    ],
)
def test_names_of_other_tools_are_answered_with_ours_at_once(refuse: Refuse, override: str, remedy: str) -> None:
    assert remedy in str(refuse(override))

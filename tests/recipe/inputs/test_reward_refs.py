"""Reward functions are found, checked without running them, and travel with the run."""

import os
from pathlib import Path

import pytest
from blake3 import blake3

from runner.recipe.inputs.reward_refs import FROM_TRL
from runner.recipe.loading.load import load_recipe
from runner.runs.submission.prepare import prepare
from support.recipes import Check, Refuse, settings_of

GRPO = """\
name: tiny
method: grpo
model: {model_name_or_path: builtin:tiny-llama}
data: {train: [{path: builtin:arithmetic}]}
training:
  max_steps: 5
  reward_funcs: ["rewards.py:correct", "builtin:length"]
"""
REWARDS = "def correct(completions, **kwargs):\n    return [0.0 for _ in completions]\n"


@pytest.fixture(autouse=True)
def _rewards(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(REWARDS)


def test_a_file_of_rewards_is_named_from_the_recipes_folder(check: Check, tmp_path: Path) -> None:
    loaded = check(text=GRPO)
    assert loaded.recipe.training["reward_funcs"] == [f"{tmp_path}/rewards.py:correct", "builtin:length"]
    assert loaded.local_files == (tmp_path / "rewards.py",)


def test_trls_names_stand_alone(check: Check, tmp_path: Path) -> None:
    names = ["think_format_reward", "get_soft_overlong_punishment"]
    loaded = check(text=GRPO.replace('["rewards.py:correct", "builtin:length"]', str(names)))
    assert loaded.recipe.training["reward_funcs"] == names
    assert loaded.local_files == ()
    assert prepare(load_recipe("./recipe.yaml", cwd=tmp_path)).inputs == {}


def test_the_file_travels_with_the_run(check: Check, tmp_path: Path) -> None:
    """Named by its digest: another text is another run."""
    check(text=GRPO)
    made = prepare(load_recipe("./recipe.yaml", cwd=tmp_path))
    key = f"inputs/{blake3(REWARDS.encode()).hexdigest()}/rewards.py"
    assert made.recipe["training"]["reward_funcs"] == [f"{key}:correct", "builtin:length"]
    assert made.inputs == {key: tmp_path / "rewards.py"}
    (tmp_path / "rewards.py").write_text(REWARDS.replace("0.0", "1.0"))
    assert prepare(load_recipe("./recipe.yaml", cwd=tmp_path)).digest != made.digest


@pytest.mark.parametrize(
    ("text", "name", "what", "remedy"),
    [
        (REWARDS, "rewards.py:corect", "defines no function `corect`", "did you mean `correct`?"),
        (REWARDS, "reward.py:correct", "there is no Python file `reward.py`", "looked for"),
        (REWARDS, "rewards.py", "is not a reward function", "`rewards.py:function`"),
        (REWARDS, "builtin:exact-answr", "no builtin reward", "did you mean `builtin:exact-answer`?"),
        (REWARDS, "acuracy_reward", "is not a reward function", "did you mean `accuracy_reward`?"),
        (REWARDS, "exact-answer", "is not a reward function", "did you mean `builtin:exact-answer`?"),
        (REWARDS, "org/reward-model", "is not a reward function", "`rewards.py:function`"),
        ("def correct(completions):\n    pass\n", "rewards.py:correct", "cannot be called by TRL", "**kwargs"),
        ("def correct(:\n", "rewards.py:correct", "is not Python: line 1", ""),
        (
            "import beside\n" + REWARDS,
            "rewards.py:correct",
            "line 1 of rewards.py imports `beside`",
            "put what it needs into",
        ),
        (
            "from beside.x import y\n" + REWARDS,
            "rewards.py:correct",
            "line 1 of rewards.py imports `beside.x`",
            "into rewards.py",
        ),
        (
            REWARDS + "    import parts\n",
            "rewards.py:correct",
            "line 3 of rewards.py imports `parts`",
            "into rewards.py",
        ),
        (
            "from . import beside\n" + REWARDS,
            "rewards.py:correct",
            "line 1 of rewards.py imports a neighbour",
            "into rewards.py",
        ),
        ("raise SystemExit\n", "rewards.py:correct", "defines no function", "it defines none"),
    ],
)
def test_a_reward_that_could_not_be_called_is_refused(
    refuse: Refuse, tmp_path: Path, text: str, name: str, what: str, remedy: str
) -> None:
    """Nothing in the file is run for that."""
    (tmp_path / "rewards.py").write_text(text)
    (tmp_path / "beside.py").touch()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").touch()
    error = refuse(f"training.reward_funcs=['{name}']", text=GRPO)
    assert settings_of(error) == ["training.reward_funcs.0"]
    assert what in error.what
    assert remedy in (error.remedy or "")


@pytest.mark.parametrize(
    ("override", "setting", "what"),
    [
        ("training={max_steps: 5}", "training.reward_funcs", "missing"),
        ("training.reward_weights=[1]", "training.reward_weights", "1 weights for 2 reward functions"),
        ("training.num_generations=1", "training.num_generations", "not a group to compare"),
        ("training.num_generations=3", "training.num_generations", "whole groups of 3"),
        ("training.use_vllm=true", "training.use_vllm", "not supported yet"),
        ("training.vllm_mode=server", "training.vllm_mode", "not supported yet"),
        ("training.use_adaptive_entropy=true", "training.use_adaptive_entropy", "does not hold"),
        ("training.log_completions=true", "training.log_completions", "lost with the machine"),
        ("training.max_length=64", "training.max_length", "it is a setting of sft"),
    ],
)
def test_settings_that_cannot_be_had_are_refused(refuse: Refuse, override: str, setting: str, what: str) -> None:
    error = refuse(override, text=GRPO)
    assert settings_of(error) == [setting]
    assert what in error.what


def test_evaluation_needs_whole_groups_and_a_metric_to_be_best_by(refuse: Refuse) -> None:
    evaluated = ("data.eval={from_train: 8}", "training.eval_strategy=steps", "training.eval_steps=2")
    error = refuse(*evaluated, "training.num_generations_eval=3", text=GRPO)
    assert settings_of(error) == ["training.per_device_eval_batch_size"]
    error = refuse(*evaluated, "training.load_best_model_at_end=true", text=GRPO)
    assert settings_of(error) == ["training.load_best_model_at_end"]
    assert "metric_for_best_model: reward" in (error.remedy or "")


def test_the_generation_batch_is_said_once(refuse: Refuse) -> None:
    error = refuse("training.generation_batch_size=16", "training.steps_per_generation=2", text=GRPO)
    assert settings_of(error) == ["training.generation_batch_size"]
    error = refuse("training.generation_batch_size=12", text=GRPO)
    assert "training.generation_batch_size" in settings_of(error)


def test_data_without_prompts_are_refused(refuse: Refuse) -> None:
    error = refuse("data.train.0.template={question: '{prompt}'}", "data.train.0.format=text", text=GRPO)
    assert "`text` is not a format for grpo" in error.what


@pytest.mark.parametrize(
    ("function", "lacking"),
    [
        ("def correct(completions, solution, **kwargs):", "`solution`"),
        ("def correct(completions, *, solution, level, **kwargs):", "`solution` and `level`"),
        ("async def correct(prompts, completions, tests, **kwargs):", "`tests`"),
    ],
)
def test_a_reward_that_needs_a_column_which_the_data_lack_is_refused(
    refuse: Refuse, tmp_path: Path, function: str, lacking: str
) -> None:
    (tmp_path / "rewards.py").write_text(f"{function}\n    return [0.0] * len(completions)\n")
    error = refuse(text=GRPO)
    assert f"`correct` needs {lacking}, which data.train.0 does not have" in str(error)
    assert "its columns: prompt, answer" in str(error)


@pytest.mark.parametrize(
    "function",
    [
        "def correct(completions, answer, **kwargs):",
        "def correct(completions, solution=None, **kwargs):",
        "def correct(prompts, completions, completion_ids, trainer_state, log_extra, log_metric, **kwargs):",
    ],
)
def test_what_the_data_or_trl_give_is_enough(check: Check, tmp_path: Path, function: str) -> None:
    (tmp_path / "rewards.py").write_text(f"{function}\n    return [0.0] * len(completions)\n")
    assert check(text=GRPO).recipe.method == "grpo"


def test_a_template_makes_a_column_for_a_reward(check: Check, refuse: Refuse, tmp_path: Path) -> None:
    names = ["accuracy_reward"]
    text = GRPO.replace('["rewards.py:correct", "builtin:length"]', str(names))
    assert "needs `solution`" in str(refuse(text=text))
    template = 'data.train.0.template={solution: "{answer}", prompt: "{prompt}"}'
    assert check(template, text=text).recipe.training["reward_funcs"] == names


def test_what_trl_passes_is_what_the_installed_version_passes() -> None:
    import inspect

    from trl import GRPOTrainer

    source = inspect.getsource(GRPOTrainer._calculate_rewards)
    passed = {"prompts", "completions", "completion_ids"}
    passed |= {name for name in ("trainer_state", "log_extra", "log_metric") if f'reward_kwargs["{name}"]' in source}
    assert passed == set(FROM_TRL)


@pytest.mark.parametrize("name", ["zero", "pipe", "pipe.py", "many.py", "deep.py", "deeper.py"])
def test_a_file_of_rewards_that_is_none_is_not_waited_for_nor_read_whole(
    refuse: Refuse, tmp_path: Path, name: str
) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.py")
    with (tmp_path / "many.py").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (tmp_path / "deeper.py").write_text("x = " + "-" * 100_000 + "1")
    error = refuse(text=GRPO.replace("rewards.py:", f"{name}:"))
    assert settings_of(error) == ["training.reward_funcs.0"]


@pytest.mark.parametrize(
    "text",
    [
        "import json, pytest.fixtures\n",
        "try:\n    import beside\nexcept ImportError:\n    beside = None\n",
        "import data_of_mine\n",
    ],
)
def test_what_is_installed_or_guarded_may_be_imported(check: Check, tmp_path: Path, text: str) -> None:
    for name in ("json.py", "pytest.py", "beside.py"):
        (tmp_path / name).touch()
    (tmp_path / "data_of_mine").mkdir()
    (tmp_path / "rewards.py").write_text(text + REWARDS)
    check(text=GRPO)


@pytest.mark.parametrize("made", ["lambda completions, **kwargs: []", "functools.partial(other, 1)", "Scorer()"])
def test_a_reward_may_be_made_without_def(check: Check, tmp_path: Path, made: str) -> None:
    """The training looks at what it is."""
    (tmp_path / "rewards.py").write_text(f"correct = {made}\n")
    check(text=GRPO)
    (tmp_path / "rewards.py").write_text("from installed import accuracy as correct\n")
    check(text=GRPO)

"""Built-in rewards say what they promise, for strings and for messages, and a file's functions are found."""

import time
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.inputs.reward_refs import COMPARING_REWARDS, TRL_REWARDS
from runner.train.builtin.catalog import builtin_dataset
from runner.train.methods.rewards import answer_format, exact_answer, load_rewards


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("completion", "answer", "reward"),
    [
        ("12 + 7 is 19.\nAnswer: 19", "19", 1.0),
        ("Answer: 18\nNo, wait. Final Answer: **19**", "19", 1.0),
        ("12 + 7 = 19", "19", 1.0),
        ("The answer is 1,000.", "1000", 1.0),
        ("Answer: 19.0", "19", 1.0),
        ("Answer: -3", "-3", 1.0),
        ("Answer: 190", "19", 0.0),
        ("Answer: nineteen", "19", 0.0),
        ("", "19", 0.0),
        ("Answer: Paris", "Paris", 1.0),
    ],
)
def test_an_answer_is_compared_as_a_number_where_it_is_one(completion: str, answer: str, reward: float) -> None:
    assert exact_answer([completion, said(completion)], [answer, answer]) == [reward, reward]


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("I add.\nAnswer: 19\n", 1.0),
        ("**Final Answer:** 19", 1.0),
        ("Answer:", 0.0),
        ("Answer: 1\nor so", 0.0),
        ("", 0),
    ],
)
def test_the_format_is_an_answer_on_the_last_line(completion: str, reward: float) -> None:
    assert answer_format([completion, said(completion)]) == [reward, reward]


def load(*names: str, columns: tuple[str, ...] = ("prompt", "answer")) -> list[Any]:
    return load_rewards(names, inputs=Path, columns=columns, max_completion_length=10)


def test_the_shorter_the_better() -> None:
    (length,) = load("builtin:length")
    assert length(completion_ids=[[], [1] * 5, [1] * 10], prompts=[]) == [1.0, 0.5, 0.0]


def test_an_exact_answer_needs_one_to_compare_with() -> None:
    with pytest.raises(UserError, match="needs a column `answer`"):
        load("builtin:exact-answer", columns=("prompt", "solution"))


def test_a_file_that_cannot_be_imported_says_why(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text("import no_such_module\ndef f(**kwargs): ...\n")
    with pytest.raises(UserError, match="No module named 'no_such_module'"):
        load(f"{tmp_path}/rewards.py:f")


def test_a_file_that_ends_the_process_is_no_reward_file(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text("import sys\nsys.exit(2)\n")
    with pytest.raises(UserError, match=r"rewards\.py cannot be imported: SystemExit: 2"):
        load(f"{tmp_path}/rewards.py:f")


def test_a_reward_is_whatever_can_be_called(tmp_path: Path) -> None:
    text = "import functools\ndef g(value, completions, **kwargs): return [value] * len(completions)\n"
    text += "class Scorer:\n    def __call__(self, completions, **kwargs): return [3.0] * len(completions)\n"
    text += "f = functools.partial(g, 1.0)\nh = lambda completions, **kwargs: [2.0] * len(completions)\nk = Scorer()\n"
    (tmp_path / "rewards.py").write_text(text + "n = 5\n")
    rewards = load(*(f"{tmp_path}/rewards.py:{name}" for name in "fhk"))
    assert [reward(completions=["a"]) for reward in rewards] == [[1.0], [2.0], [3.0]]
    assert all(reward.__name__ for reward in rewards)
    with pytest.raises(UserError, match="has no function `n`"):
        load(f"{tmp_path}/rewards.py:n")


def test_trls_rewards_go_by_their_names_for_strings_and_for_messages() -> None:
    """In the metrics too."""
    columns = ("prompt", "solution")
    accuracy, think = load("accuracy_reward", "think_format_reward", columns=columns)
    completions = [r"So \boxed{\frac{1}{3}}", r"So \boxed{\frac{1}{2}}"]
    solution = [r"\frac{1}{3}"] * 2
    for given in (completions, [said(text) for text in completions]):
        assert accuracy(completions=given, solution=solution) == [1.0, 0.0]
    assert think(completions=["<think>a</think>b", "b"]) == [1.0, 0.0]
    assert (accuracy.__name__, think.__name__) == ("accuracy_reward", "think_format_reward")


def test_those_that_trl_makes_are_made_for_the_length_of_a_completion() -> None:
    overlong, repetition = load("get_soft_overlong_punishment", "get_repetition_penalty_reward")
    ids = [[1] * 8, [1] * 9, [1] * 10]
    assert overlong(completions=["a"] * 3, completion_ids=ids) == [0.0, -0.5, -1.0]
    assert repetition(completions=["a"], completion_ids=[[1, 1, 1, 1]]) == [-0.5]


def test_every_reward_of_trl_is_known() -> None:
    import trl.rewards

    structure = trl.rewards._import_structure
    assert sorted(structure["accuracy_rewards"]) == list(COMPARING_REWARDS)
    assert sorted(name for names in structure.values() for name in names) == list(TRL_REWARDS)


def test_a_completion_that_would_fill_the_memory_is_wrong_at_once() -> None:
    (accuracy,) = load("accuracy_reward", columns=("solution",))
    began = time.monotonic()
    assert accuracy(completions=[r"\boxed{9^{9^{9^9}}}"], solution=["1"]) == [0.0]
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("name", ["accuracy_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward"])
def test_what_compares_answers_needs_a_solution(name: str) -> None:
    with pytest.raises(UserError, match="needs a column `solution`"):
        load(name)


def test_arithmetic_is_right_and_no_problem_comes_twice() -> None:
    rows = builtin_dataset("builtin:arithmetic", where="data")
    assert len({row["prompt"] for row in rows}) == len(rows) == 2000
    for row in rows:
        problem = row["prompt"].removeprefix("What is ").removesuffix("?")
        assert eval(problem) == int(row["answer"])

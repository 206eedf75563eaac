"""An error is placed at the innermost line of the user's own code, however deep in libraries it was raised."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.errors import UserError
from runner.train.failures import Failure, classify
from runner.train.methods.rewards import load_rewards
from runner.train.user_code import place_in_user_code

REWARDS = """\
import json


def correct(completions, **kwargs):
    return [float(json.loads(one)["answer"]) for one in completions]


def lacking(completions, **kwargs):
    import package_that_is_missing


def away(completions, **kwargs):
    raise ConnectionRefusedError("judge")
"""


class Trainer:
    """Has a step, as transformers' trainer."""

    state = SimpleNamespace(global_step=2)

    def train(self, reward: object, completions: list[str]) -> None:
        reward(completions=completions)  # type: ignore[operator]

    def evaluate(self, reward: object, completions: list[str]) -> None:
        reward(completions=completions)  # type: ignore[operator]


def failure(folder: Path, function: str, completion: str = "{}", *, during: str = "train") -> Failure:
    path = folder / "rewards.py"
    path.write_text(REWARDS)
    (reward,) = load_rewards([f"{path}:{function}"], inputs=Path, columns=["prompt"], max_completion_length=8)
    with pytest.raises(Exception) as raised:  # noqa: PT011 (whatever it is)
        getattr(Trainer(), during)(reward, [completion])
    error = raised.value
    return Failure(error=error)


@pytest.mark.parametrize(
    ("function", "completion", "reason"),
    [
        ("correct", "{}", "rewards.py:5 in correct, at step 3: KeyError: 'answer'"),
        ("correct", "no", "rewards.py:5 in correct, at step 3: json.decoder.JSONDecodeError: "),
        ("lacking", "", "rewards.py:9 in lacking, at step 3: ModuleNotFoundError: "),
    ],
)
def test_a_reward_that_raises_is_named_by_file_line_function_and_step(
    tmp_path: Path, function: str, completion: str, reason: str
) -> None:
    end = classify(failure(tmp_path, function, completion))
    assert str(end.outcome.reason).startswith(reason)
    assert (end.outcome.kind, end.exit_code) == ("failed", 1)
    assert "--replace FILE" in str(end.outcome.reason)


def test_a_service_that_a_reward_asks_is_away_at_a_line_too(tmp_path: Path) -> None:
    outcome = classify(failure(tmp_path, "away", during="evaluate")).outcome
    assert str(outcome.reason).startswith("rewards.py:13 in away, in the evaluation after step 2: a service does not")
    assert (outcome.kind, outcome.outside) == ("interrupted", True)


def test_a_file_that_cannot_be_imported_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text("limit = 1\n\nhalf = limit / 0\n")
    with pytest.raises(
        UserError, match=r"^training.reward_funcs.0: rewards.py:3 cannot be imported: ZeroDivisionError"
    ):
        load_rewards([f"{tmp_path}/rewards.py:f"], inputs=Path, columns=["prompt"], max_completion_length=8)


def test_an_error_of_libraries_alone_has_no_place() -> None:
    with pytest.raises(ValueError, match="Expecting value") as raised:
        json.loads("no")
    below_this_test = raised.value.with_traceback(raised.tb.tb_next)
    assert place_in_user_code(below_this_test) is None

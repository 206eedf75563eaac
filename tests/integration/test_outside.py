"""Something outside of a run fails: the run is interrupted, loses no step that was saved, and goes on."""

from pathlib import Path

import pytest

from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.records import run_result
from runner.storage.open import open_store
from support.forked import Attempts
from support.method_recipes import grpo
from support.runs import submit

JUDGE = """
from pathlib import Path
MARK = Path({mark!r})

def judge(completions, trainer_state, **kwargs):
    if trainer_state.global_step == 3 and not MARK.exists():
        MARK.touch()
        raise {error}
    return [float(len(str(completion)) % 5) for completion in completions]
"""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("ConnectionError('the judge does not answer')", 75),
        pytest.param("KeyError('score')", 1, marks=pytest.mark.thorough),
    ],
)
def test_the_checkpoint_right_before_a_rewards_error_is_in_the_store(
    forked: Attempts, data: Path, tmp_path: Path, error: str, code: int
) -> None:
    """Its copy and upload were under way when the next step's reward raised; a bug's run has failed nevertheless."""
    rewards = tmp_path / "rewards.py"
    rewards.write_text(JUDGE.format(mark=str(tmp_path / "mark"), error=error))
    store = open_store(forked.store_url)
    run_id = f"judged-{code}"
    submit(store, run_id, grpo(data, adapter=True, reward_funcs=[f"{rewards}:judge"]))
    assert forked.run(run_id) == code, forked.log(run_id)
    assert checkpoints(store, run_id)[0].step == 3
    (attempt,) = attempts(store, run_id)
    assert attempt.ended is not None
    result = run_result(store, run_id)
    if code == 75:
        assert (attempt.ended.get("outside"), attempt.ended.get("retry"), result) == (True, True, None)
        assert "the judge does not answer" in str(attempt.ended.get("reason"))
        assert forked.run(run_id) == 0, forked.log(run_id)
    else:
        assert result is not None
        assert result["state"] == "failed"

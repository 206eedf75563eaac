"""What needs a run's model says at once that there is none, from the store alone, and which checkpoint would do."""

import pytest

from support.bench import Bench

COMMANDS = (["eval"], ["export", "--merge"], ["export", "--gguf", "q8_0"], ["chat", "--cli"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_run_that_has_not_begun_has_no_model(bench: Bench, command: list[str]) -> None:
    run_id = bench.submit()
    done = bench.runner(command[0], run_id, *command[1:])
    assert done.returncode == 2, done
    assert f"Error: {run_id}: the run has not ended and has no model yet\n" in done.stderr
    assert f"it has no checkpoint either; `runner wait {run_id}`" in done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_run_that_failed_has_none_either(bench: Bench, command: list[str]) -> None:
    bench.recipe()
    bench.runner("launch", "small.yaml", "--name", "broken", plan={"1": ["fail", 3]})
    done = bench.runner(command[0], "broken", *command[1:])
    assert done.returncode == 2, done
    assert "Error: broken: the run has failed and made no model\n" in done.stderr
    assert "checkpoint" in done.stderr


def test_what_is_pulled_of_such_a_run_is_said_to_lack_a_model(bench: Bench) -> None:
    bench.recipe()
    bench.runner("launch", "small.yaml", "--name", "broken", plan={"1": ["fail", 3]})
    done = bench.runner("pull", "broken", "out")
    assert done.returncode == 0, done
    assert "broken: the run has failed and made no model" in done.stderr

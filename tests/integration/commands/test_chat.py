"""`runner chat` in the terminal, with an adapter on its base and with a model trained in full."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import runner
from runner.errors import UserError
from runner.recipe.recipe import Evaluate
from runner.storage.open import open_store
from support.forked import Attempts, run_program
from support.runs import recipe, submit

OPTIONS = ("--temperature", "0", "--max-new-tokens", "6")


def chat_in_terminal(forked: Attempts, run_id: str, *options: str, said: str) -> "subprocess.CompletedProcess[str]":
    """What `runner chat` starts, without the start."""
    cache = str(Path(forked.store_url).parent / "cache")
    command = ("--store", forked.store_url, "--run", run_id, "--cache-dir", cache, "--cli", *options)
    return run_program("runner.train.run_chat", *command, said=said)


def finished_run(forked: Attempts, data: Path, *, adapter: bool, name: str = "chat") -> str:
    """Train long enough that the model answers otherwise than its base; returns the run's id."""
    what = replace(recipe(data, adapter=adapter, max_steps=8, learning_rate=2e-2), evaluate=Evaluate())
    run_id = f"{name}-{adapter}".lower()
    submit(open_store(forked.store_url), run_id, what)
    assert forked.run(run_id) == 0, forked.log(run_id)
    return run_id


def check_answers(stdout: str) -> str:
    """The same line was said twice, an empty line between; returns the fine-tuned model's answer to it."""
    first, again = stdout.split("fine-tuned: ")[1:]
    assert first == again, "an empty line begins anew"
    tuned, base = first.split("base: ")
    assert tuned != base
    return tuned


def test_each_line_is_answered_by_both_models(forked: Attempts, data: Path) -> None:
    """Greedily, so that what has been learned is the only difference, and the same line gets the same answer."""
    run_id = finished_run(forked, data, adapter=False)
    done = chat_in_terminal(forked, run_id, *OPTIONS, said="Return the\n\nReturn the\n")
    assert done.returncode == 0, done.stderr
    check_answers(done.stdout)


def test_the_command_talks_in_the_terminal(forked: Attempts, data: Path) -> None:
    """With an adapter on its base; without the base, it answers the same."""
    run_id = finished_run(forked, data, adapter=True)
    command = [sys.executable, "-m", "runner", "chat", run_id, "--store", forked.store_url, "--cli", *OPTIONS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(Path(forked.store_url).parent / "cache")}
    said = "Return the\n\nReturn the\n"
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    tuned = check_answers(done.stdout)
    alone = chat_in_terminal(forked, run_id, "--without-base", *OPTIONS, said="Return the")
    assert alone.stdout == f"fine-tuned: {tuned}"


def test_a_run_without_a_model_is_said_so(forked: Attempts, data: Path) -> None:
    submit(open_store(forked.store_url), "chat-pending", recipe(data, adapter=False))
    done = chat_in_terminal(forked, "chat-pending", said="")
    assert done.returncode == 2
    assert "Error: chat-pending: the run has not ended and has no model yet" in done.stderr


def test_a_program_talks_to_both_models(forked: Attempts, data: Path) -> None:
    """`Run.chat`: a conversation is remembered until it is cleared, and the answers are those of the command."""
    run_id = finished_run(forked, data, adapter=True, name="program")
    with runner.Run(run_id, forked.store_url).chat(temperature=0, max_new_tokens=6) as chat:
        first = chat.ask("Return the")
        assert first.base is not None
        assert first.text != first.base
        assert str(first) == first.text
        chat.ask("And the")
        chat.clear()
        assert chat.ask("Return the") == first
        assert len(chat.ask("Return the", max_new_tokens=1).text) < len(first.text)
    with pytest.raises(UserError, match="the chat is closed") as caught:
        chat.ask("Return the")
    assert caught.value.where == run_id
    said = chat_in_terminal(forked, run_id, *OPTIONS, said="Return the").stdout
    assert said.rstrip("\n") == f"fine-tuned: {first.text}\nbase: {first.base}"


def test_a_program_is_told_why_there_is_no_model(forked: Attempts, data: Path) -> None:
    submit(open_store(forked.store_url), "chat-none", recipe(data, adapter=False))
    with pytest.raises(UserError, match="the run has not ended and has no model yet"):
        runner.Run("chat-none", forked.store_url).chat()
    run_id = finished_run(forked, data, adapter=True, name="torn")
    [weights] = Path(forked.store_url).glob(f"runs/{run_id}/artifacts/**/*.safetensors")
    weights.unlink()
    with pytest.raises(UserError, match="damaged in the store"):  # as the process finds out
        runner.Run(run_id, forked.store_url).chat()

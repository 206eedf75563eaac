"""Keys and names in the store, as every other part of the program relies on them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.runs import layout
from runner.runs.layout import CheckpointName
from runner.storage.manifest import MANIFEST, is_relative_name

stages = st.from_regex(r"[a-z0-9_]+", fullmatch=True)
numbers = st.integers(min_value=1, max_value=10**6)
nonces = st.from_regex(r"[0-9a-z]{4}", fullmatch=True)
tokens = st.builds(layout.attempt_token, numbers, nonces)
names = st.builds(CheckpointName, stages, st.integers(min_value=0, max_value=10**9), tokens)
run_ids = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,99}", fullmatch=True)


@given(names)
def test_a_checkpoints_name_is_read_as_it_was_written(name: CheckpointName) -> None:
    """Whatever the stage is called, however many steps were taken."""
    assert CheckpointName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", "sft-000010", "sft-10-1-abcd", "SFT-10-0001-abcd", "sft-10-0001-abcd/", ".tmp"])
def test_other_folders_are_no_checkpoints(text: str) -> None:
    """What somebody else put beside the checkpoints is left alone."""
    assert CheckpointName.parse(text) is None


@given(names, names)
def test_checkpoints_order_by_position(one: CheckpointName, other: CheckpointName) -> None:
    """Stage, then step, then attempt: the newest is the greatest."""
    if (one.stage, one.step) != (other.stage, other.step):
        assert (one < other) == ((one.stage, one.step) < (other.stage, other.step))


@given(numbers, nonces)
def test_a_token_says_its_number(number: int, nonce: str) -> None:
    """Beyond four digits too."""
    assert layout.token_number(layout.attempt_token(number, nonce)) == number


@pytest.mark.parametrize("text", ["", "1-abcd", "0001", "0001-ABCD", "0001-abcde", "x0001-abcd"])
def test_what_is_no_token_is_refused(text: str) -> None:
    """A token is never guessed."""
    with pytest.raises(ValueError, match="token"):
        layout.token_number(text)


@given(run_ids, names, st.integers(min_value=1, max_value=10**7))
def test_every_key_stays_below_its_run(run_id: str, name: CheckpointName, sequence: int) -> None:
    """No run's key can be another run's, whatever its id."""
    keys = [
        layout.attempt_key(run_id, 3, "ended"),
        layout.checkpoint_prefix(run_id, name) + MANIFEST,
        layout.artifact_prefix(run_id, "model", name.token) + MANIFEST,
        layout.chunk_key(run_id, "metrics", name.token, sequence),
        layout.run_key(run_id, layout.RUN),
    ]
    for key in keys:
        assert key.startswith(layout.run_prefix(run_id))
        assert is_relative_name(key)


@pytest.mark.parametrize("text", ["", "Run", "-run", "../run", "a/b", "a b", "x" * 101, "run\n"])
def test_what_cannot_be_a_run_id(text: str) -> None:
    """An id is a folder's name everywhere, a shell's word, and no path."""
    assert not layout.is_run_id(text)


def test_chunks_are_metrics_or_logs() -> None:
    """Their extension follows from it."""
    assert layout.chunk_key("r", "metrics", "0001-abcd", 7) == "runs/r/metrics/0001-abcd-000007.jsonl"
    assert layout.chunk_key("r", "logs", "0001-abcd", 7) == "runs/r/logs/0001-abcd-000007.txt"
    with pytest.raises(KeyError):
        layout.chunk_key("r", "weights", "0001-abcd", 7)

"""Digests of what a training depends on besides its recipe: its rows and its tokenizer. Its checkpoints hold them.

A dataset of the hub can change while a run waits for a machine, and ``builtin:`` data depends on Python's version. A
run that went on from a checkpoint then would silently end in a model that no undisturbed run makes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3
from datasets import Dataset

from runner.runs.checkpoints.files import read_runner_state
from runner.train.agent.preemption import CannotResumeHere

_IN_WORDS = {"rows": "training rows", "vocabulary": "tokenizer's words"}
_BATCH_ROWS = 1000


def fingerprint(rows: Dataset, tokenizer: Any) -> dict[str, str]:
    """Return digests of rows and tokenizer. They depend on contents alone: an upload that changes no row changes none.

    Args:
        rows: the mixture, as the trainer gets it; each row is read once.
        tokenizer: the model's; the digest covers its vocabulary and its chat template.
    """
    digest = blake3()
    for batch in rows.iter(batch_size=_BATCH_ROWS):
        digest.update(json.dumps(batch, default=str).encode())
    words = json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.chat_template])
    return {
        "rows": digest.hexdigest(length=16),
        "vocabulary": blake3(words.encode()).hexdigest(length=16),
    }


def check_fingerprint(restored: Path, now: Mapping[str, str]) -> None:
    """Check that a checkpoint was trained on the same rows and tokenizer as there are now.

    Args:
        restored: the checkpoint's folder.
        now: from `fingerprint`.

    Raises:
        CannotResumeHere: it was not.
    """
    saved = read_runner_state(restored)
    before = saved.get("made_from", now)
    differ = [words for name, words in _IN_WORDS.items() if before[name] != now[name]]
    if differ:
        raise CannotResumeHere(
            f"the {' and the '.join(differ)} are not those of the checkpoint (step {saved['step']}): resume where they "
            "are (data may have changed since, and `builtin:` depends on Python's version), or launch the recipe anew"
        )

"""What a training is made from besides its recipe: its rows and its tokenizer, in digests that its checkpoints hold.

A dataset of the hub can change while a run waits for a machine, and what is ``builtin:`` depends on Python's version.
Whoever went on from a checkpoint then would end in a model that no undisturbed run makes, without a word.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3
from datasets import Dataset

from runner.runs.checkpoint_files import RUNNER_STATE
from runner.train.agent.preemption import CannotResumeHere

_IN_WORDS = {"rows": "training rows", "vocabulary": "tokenizer's words"}
_ROWS_AT_ONCE = 1000


def fingerprint(rows: Dataset, tokenizer: Any) -> dict[str, str]:
    """Digests of what is trained on, by name. By their contents: an upload to the hub that changes no row changes none.

    Args:
        rows: the mixture, as the trainer gets it; each is read once.
        tokenizer: the model's; its words with their numbers and its chat template count.
    """
    digest = blake3()
    for batch in rows.iter(batch_size=_ROWS_AT_ONCE):
        digest.update(json.dumps(batch, default=str).encode())
    words = json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.chat_template])
    return {
        "rows": digest.hexdigest(length=16),
        "vocabulary": blake3(words.encode()).hexdigest(length=16),
    }


def check_fingerprint(restored: Path, now: Mapping[str, str]) -> None:
    """See that a checkpoint has been trained on what there is now.

    Args:
        restored: the checkpoint's folder.
        now: from `fingerprint`.

    Raises:
        ContinuesElsewhere: it has not.
    """
    saved = json.loads((restored / RUNNER_STATE).read_text())
    before = saved.get("made_from", now)
    differ = [words for name, words in _IN_WORDS.items() if before[name] != now[name]]
    if differ:
        raise CannotResumeHere(
            f"the {' and the '.join(differ)} are not those of the checkpoint (step {saved['step']}): resume where they "
            "are (data may have changed since, and `builtin:` depends on Python's version), or launch the recipe anew"
        )

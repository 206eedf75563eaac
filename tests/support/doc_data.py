"""The YAML recipes in the documentation, and small local files with the columns of the data that they name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.paths import ROOT

ROWS = 1200

_TURNS = [{"role": "user", "content": "What is {n}?"}, {"role": "assistant", "content": "A number."}]
_SHARED = [{"from": "human", "value": "What is {n}?"}, {"from": "gpt", "value": "A number."}]

STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "mlabonne/FineTome-100k": {"conversations": _SHARED, "source": "x", "score": 5.2},
    "my-own.jsonl": {"prompt": "What is {n}?", "completion": "A number."},
    "Intel/orca_dpo_pairs": {"system": "", "question": "Why {n}?", "chosen": "Because.", "rejected": "No."},
    "user/problems": {"messages": _TURNS, "language": "python", "split": "train"},
    "MathLLMs/MathCodeInstruct": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "content": "{n} + 0?"}]},
            {"role": "assistant", "content": [{"type": "text", "content": r"It is \boxed{{{n}}}."}]},
        ]
    },
    "xw27/scibench": {"problem_text": "{n}?", "solution": "It is so.", "answer_number": "{n}", "unit": "m"},
    "roneneldan/TinyStories": {"text": "Once, {n} birds sang."},
    "yahma/alpaca-cleaned": {"instruction": "Count to {n}.", "input": "", "output": "One."},
    "trl-lib/ultrafeedback_binarized": {
        "chosen": _TURNS,
        "rejected": [_TURNS[0], {"role": "assistant", "content": "No."}],
        "score_chosen": 8.0,
        "score_rejected": 2.0,
    },
}
"""A row of each dataset that the documentation names; ``{n}`` is its number."""


def documented_recipes() -> list[tuple[str, str]]:
    """Each YAML block of the documentation, with the page that it is on."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [(page.name, block) for page in pages for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)]
    return [
        (page, block)
        for page, block in found
        if re.search(r"^(method|stages):", block, re.M) and not re.search(r"^parameters:", block, re.M)  # a sweep
    ]


def with_stand_ins(recipe: str, folder: Path) -> str:
    """The recipe with its data in files of `folder`, which are written."""
    for name, row in STAND_INS.items():
        file = re.sub(r"\W+", "-", name) + ".jsonl"
        if re.search(rf"path: {re.escape(name)}\b", recipe):
            rows = [json.dumps(row).replace("{n}", str(number)) for number in range(ROWS)]
            if "split" in row:
                rows = [line.replace('"train"', '"valid"') if n % 2 else line for n, line in enumerate(rows)]
            (folder / file).write_text("\n".join(rows) + "\n")
            recipe = re.sub(rf"path: {re.escape(name)}(?=[,}}\s])", f"path: {file}", recipe)
    return recipe

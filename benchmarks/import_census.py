"""How many published configs of other tools `runner import` converts, and what stands against the others.

``python benchmarks/import_census.py PEER=FOLDER… [--reasons N]`` looks at every YAML file below each folder that names
a model to train and is about text; PEER is what `runner import --from` takes. Nothing is downloaded: the folders are
checkouts of the tools' repositories. Each config is `same` (a recipe that `runner check` takes, and nothing that cannot
be said), `not right` (a recipe that `check` refuses) or `refused` (a key that a recipe cannot say).
"""

import argparse
import collections
import re
from pathlib import Path
from typing import Any

from runner.control.recipes.import_config import Imported, import_config
from runner.errors import UserError
from runner.peers.convert import read_config
from runner.recipe.loading.other_tools import detect

_NOT_TEXT = re.compile(
    r"(?i)vision|pixtral|llava|llama4.*vl|multimodal|image|audio|voxtral|omni|[-_/]vl[-_./\d]|idefics|smolvlm|gemma3.*mm"
)


def main() -> None:
    """Print a table, and the most frequent reasons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", metavar="PEER=FOLDER", nargs="+")
    parser.add_argument("--reasons", type=int, default=20, help="how many of the most frequent reasons are shown")
    options = parser.parse_args()
    reasons: collections.Counter[str] = collections.Counter()
    whole: collections.Counter[str] = collections.Counter()
    print(f"{'from':<14} {'configs':>7} {'same':>12} {'not right':>10} {'refused':>8}")
    for folder in options.folders:
        peer, _, path = folder.partition("=")
        counts: collections.Counter[str] = collections.Counter()
        for file in sorted(Path(path).rglob("*.y*ml")):
            outcome = _convert(file, peer, reasons)
            counts[outcome] += outcome != ""
        whole += counts
        _row(path, counts)
    _row("all", whole)
    for reason, count in reasons.most_common(options.reasons):
        print(f"{count:>5}  {reason}")


def _convert(file: Path, peer: str, reasons: "collections.Counter[str]") -> str:
    try:
        content = read_config(file.read_text(encoding="utf-8"), name=str(file))
    except (UserError, UnicodeDecodeError):
        return ""
    if detect(content) != peer or _NOT_TEXT.search(str(file)) or _not_training(content):
        return ""
    try:
        imported: Imported = import_config([str(file.resolve())], peer=None, cwd=Path.cwd())
    except UserError as error:
        reasons[f"error: {str(error)[:150]}"] += 1
        return "refused"
    for reason in {f"{remark.key}: {remark.text}" for remark in imported.converted.draft.impossible}:
        reasons[reason] += 1
    for problem in imported.problems:
        reasons[f"not right: {' '.join(problem.split())[:220]}  [{file.name}]"] += 1
    return "same" if imported.ok else "refused" if imported.converted.draft.impossible else "not right"


def _not_training(content: dict[str, Any]) -> bool:
    """Inference and evaluation configs, and what works on images or sound."""
    if "processor_type" in content or "image_max_pixels" in content or content.get("is_multimodal"):
        return True
    if "model" in content and isinstance(content["model"], dict) and "model_name" in content["model"]:
        return "training" not in content or "data" not in content
    if "stage" in content or "finetuning_type" in content:
        return not content.get("do_train")
    if any(isinstance(value, dict) and "_component_" in value for value in content.values()):
        return "optimizer" not in content
    return False


def _row(name: str, counts: "collections.Counter[str]") -> None:
    total = sum(counts.values())
    share = f"{counts['same']} ({100 * counts['same'] / max(total, 1):.0f}%)"
    print(f"{name.rsplit('/', 1)[-1]:<14} {total:>7} {share:>12} {counts['not right']:>10} {counts['refused']:>8}")


if __name__ == "__main__":
    main()

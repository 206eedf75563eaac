"""What is made of a trained model once it stands in the store: merged, as GGUF files, on the hub. Nothing twice.

At the end of a run this is `runner.train.stages.steps`'s, afterwards `runner export`'s (`runner.train.run_export`).
"""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from runner.recipe.quantizations import Quantization, gguf_artifact
from runner.recipe.recipe import Export, Recipe
from runner.runs.artifacts import ArtifactStore
from runner.train.export.gguf import GgufMaker, check_gguf
from runner.train.export.save import PROMPT, save_merged


def check_exports(recipe: Recipe, model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Look at the beginning for what would go wrong at the end.

    Raises:
        UserError: llama.cpp does not take the model.
    """
    if recipe.export.gguf:
        folder.mkdir(parents=True)
        check_gguf(model, tokenizer, folder)
        shutil.rmtree(folder)


def make_exports(
    artifact_store: ArtifactStore,
    recipe: Recipe,
    wanted: Export,
    *,
    folder: Path,
    cache_dir: Path,
    phase: Callable[[str], None],
) -> dict[str, str]:
    """Make what is wanted of the artifact `model`, which stands on the shelf.

    Args:
        artifact_store: where artifacts stand.
        recipe: what the model was trained by.
        wanted: what to make.
        folder: a local folder for what is needed in between only.
        cache_dir: where a built-in model is made.
        phase: told what is being made.

    Returns:
        The keys of the artifacts by their names, in the order of their making.

    Raises:
        MergeFailed, GgufFailed: what was made is not what it should be.
    """
    made: dict[str, str] = {}
    trained = artifact_store.existing_key("model")
    assert trained is not None

    def merge(into: Path) -> None:
        phase("the adapter is merged into its base")
        save_merged(recipe, artifact_store.folder(trained), into, cache_dir=cache_dir)

    if wanted.merge:
        made["merged"] = artifact_store.commit("merged", merge, keep=bool(wanted.gguf or wanted.push_to_hub))
    missing = [name for name in wanted.gguf if artifact_store.existing_key(gguf_artifact(name)) is None]
    if missing:
        if recipe.adapter is None:
            whole = artifact_store.folder(trained)
        elif merged := artifact_store.existing_key("merged"):
            whole = artifact_store.folder(merged)
        else:
            whole = folder / "merged"
            merge(whole)
        maker = GgufMaker(whole, name=recipe.name, prompts=[*recipe.evaluate.prompts, PROMPT], folder=folder / "gguf")

    def make(name: Quantization, into: Path) -> None:
        phase(f"GGUF {name}")
        maker.make(name, into)

    for name in wanted.gguf:
        made[gguf_artifact(name)] = artifact_store.commit(
            gguf_artifact(name), partial(make, name), keep=wanted.push_to_hub
        )
    shutil.rmtree(folder, ignore_errors=True)
    return made


def pushed_artifacts(artifacts: Mapping[str, str]) -> list[str]:
    """The keys of what goes into a repository: the model, merged if it was merged, and its GGUF files.

    Args:
        artifacts: the keys of all by their names.
    """
    ggufs = [key for name, key in artifacts.items() if name.startswith(gguf_artifact(""))]
    return [artifacts.get("merged", artifacts["model"]), *ggufs]

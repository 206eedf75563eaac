"""Make exports of a model in the store (merged weights, GGUF files), each only once.

Called at the end of a run by `runner.train.stages.artifacts`, and later by `runner export` (`runner.train.run_export`).
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
from runner.train.export.save import PROMPT, require_finite_files, save_merged


def check_exports(recipe: Recipe, model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Check before training whether the exports at its end will work.

    Raises:
        UserError: llama.cpp does not support the model.
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
    """Make the wanted exports of the artifact `model`.

    Args:
        artifact_store: the run's artifacts; has `model`, and gets the exports.
        recipe: the recipe that the model was trained by.
        wanted: the exports to make.
        folder: a local folder for intermediate files; is removed at the end.
        cache_dir: where a built-in model is made.
        phase: called with a few words on each export when it begins.

    Returns:
        The keys of the artifacts by their names, in the order in which they were made.

    Raises:
        MergeFailed, GgufFailed: an export does not answer as the model does, or the model's weights are not finite.
    """
    made: dict[str, str] = {}
    trained = artifact_store.existing_key("model")
    assert trained is not None
    if wanted.merge or wanted.gguf or wanted.push_to_hub:
        require_finite_files(artifact_store.folder(trained))

    def merge(into: Path) -> None:
        phase("the adapter is merged into its base")
        save_merged(recipe, artifact_store.folder(trained), into, cache_dir=cache_dir)

    if wanted.merge:
        made["merged"] = artifact_store.commit("merged", merge, keep=bool(wanted.gguf or wanted.push_to_hub))
    missing = [name for name in wanted.gguf if artifact_store.existing_key(gguf_artifact(name)) is None]
    if missing:
        if recipe.adapter is None:
            full_model = artifact_store.folder(trained)
        elif merged := artifact_store.existing_key("merged"):
            full_model = artifact_store.folder(merged)
        else:
            full_model = folder / "merged"
            merge(full_model)
        maker = GgufMaker(
            full_model, name=recipe.name, prompts=[*recipe.evaluate.prompts, PROMPT], folder=folder / "gguf"
        )

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
    """Return the keys of the artifacts that are pushed to the hub: the model (merged, if it was) and its GGUF files.

    Args:
        artifacts: the keys of all artifacts by their names.
    """
    ggufs = [key for name, key in artifacts.items() if name.startswith(gguf_artifact(""))]
    return [artifacts.get("merged", artifacts["model"]), *ggufs]

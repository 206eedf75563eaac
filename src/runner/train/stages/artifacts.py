"""What a stage leaves in the store: its model, the exports made of it, the trackers' files, and a push to the hub."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from runner.recipe.recipe import continues_adapter
from runner.train.export.hub_push import push, save_pushed
from runner.train.export.pipeline import make_exports, pushed_artifacts
from runner.train.export.save import save_merged, save_model
from runner.train.loggers.trackers import FOLDERS
from runner.train.stages.context import StageContext


def commit_artifacts(
    context: StageContext,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    weights: dict[str, torch.Tensor] | None = None,
) -> dict[str, str]:
    """Make and commit all artifacts of a trained stage but the push; return their keys by name.

    The last stage leaves the run's model and what the recipe exports of it. An earlier one leaves what the next starts
    from: the adapter that it goes on training, or a model.

    Args:
        context: the stage's.
        model: the trained model.
        tokenizer: its tokenizer.
        weights: the model's weights, where ZeRO-3 has split them over the processes.
    """
    recipe, attempt = context.recipe, context.attempt

    def save(folder: Path) -> None:
        save_model(model, tokenizer, folder, weights=weights)

    def save_with_base(folder: Path) -> None:
        adapter = attempt.folder / "adapter-to-merge"
        save(adapter)
        save_merged(recipe, adapter, folder, cache_dir=attempt.cache)
        shutil.rmtree(adapter)

    artifacts = {}
    if context.following is None:
        export = recipe.export
        keep = bool(export.merge or export.gguf or export.push_to_hub)
        artifacts["model"] = context.commit_artifact("model", save, keep=keep)
        artifacts |= make_exports(
            context.artifact_store,
            recipe,
            export,
            folder=attempt.folder / "exports",
            cache_dir=attempt.cache,
            phase=partial(attempt.events.phase, "exporting"),
        )
    else:
        merges = recipe.adapter is not None and not continues_adapter(recipe, context.following)
        name = f"stage-{context.stage}"
        artifacts[name] = context.commit_artifact(name, save_with_base if merges else save, keep=True)
    for tracker in FOLDERS:
        if (attempt.shared_folder / tracker).is_dir():
            name = tracker if recipe.stage is None else f"{tracker}-{context.stage}"
            artifacts[name] = context.commit_artifact(name, partial(attempt.copy_shared, tracker))
    return artifacts


def push_to_hub(context: StageContext, result: Mapping[str, Any]) -> str:
    """Push the run's model to the hub, unless an earlier attempt has; return the key of the artifact that records it.

    Args:
        context: the last stage's.
        result: what the run's result will say, for the model card.
    """
    attempt = context.attempt

    def upload(folder: Path) -> None:
        keys = pushed_artifacts(result["artifacts"])
        folders = map(context.artifact_store.folder, keys)
        run = attempt.run_document()
        pushed = push(context.recipe.export, folders, attempt.folder / "upload", run=run, result=result)
        save_pushed(pushed, keys, folder)

    return context.commit_artifact("hub", upload)

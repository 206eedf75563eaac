"""Make exports of a run that has ended, or of one of its checkpoints: what `runner export` starts.

They are stored beside the run's own artifacts, below a token of their own (``export-…``). The run's result stays as it
was; `runner pull` finds both.
"""

import argparse
import dataclasses
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import blake3

from runner.errors import UserError
from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.paths import cache_folder
from runner.process import die_with_parent
from runner.recipe.recipe import Export, Recipe
from runner.runs.attempts import newest_hardware
from runner.runs.checkpoints.choice import no_model, short_name
from runner.runs.checkpoints.origins import first_start
from runner.runs.layout import EXPORT_TOKEN, CheckpointName, export_token, new_nonce, run_key
from runner.runs.record_types.result import Result
from runner.runs.records import last_start, run_document, run_recipe, run_result
from runner.storage.manifest import MANIFEST, Damaged
from runner.storage.open import open_store
from runner.storage.retry import after, retry_store_call
from runner.storage.store import NotFound, Store, StoreUnavailable
from runner.train.agent.log import LOGGER, set_up_logging
from runner.train.export.errors import GgufFailed, HubUnavailable, MergeFailed
from runner.train.loggers.libraries import quiet_libraries

_log = logging.getLogger(f"{LOGGER}.run_export")

_PATIENCE_SECONDS = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the exports, and write the keys of all that were asked for to standard output as JSON."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.run_export")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--export", required=True, help="what to make, as the recipe's `export:` in JSON")
    parser.add_argument("--checkpoint", help="the checkpoint to make them of, by its whole name")
    parser.add_argument("--space", help="also make a Gradio Space of this name")
    parser.add_argument("--out", type=Path, help="write the Space's files here instead of uploading them")
    parser.add_argument("--public", action="store_true", help="a new Space is public")
    parser.add_argument("--parent", type=int)
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    wanted = json.loads(options.export)
    # Standard output is for the answer alone; whatever else is printed, by libraries too, goes to standard error.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    set_up_logging()
    quiet_libraries()
    try:
        exports = export_run(
            open_store(options.store),
            options.run,
            Export(**{**wanted, "gguf": tuple(wanted["gguf"])}),
            folder=options.work_dir,
            checkpoint=None if options.checkpoint is None else CheckpointName.parse(options.checkpoint),
            space=None if options.space is None else Space(options.space, options.out, private=not options.public),
        )
    except UserError as error:
        _log.error("%s", error)
        return MISTAKE
    except StoreUnavailable as error:
        _log.error("the store does not answer: %s", error)
        return INTERRUPTED
    except (Damaged, NotFound) as error:
        _log.error("damaged in the store: %s", error)
        return FAILED
    except HubUnavailable as error:
        _log.error("%s", error)
        return INTERRUPTED
    except (MergeFailed, GgufFailed) as error:
        _log.error("%s", error)
        return FAILED
    json.dump(exports, answer)
    answer.close()
    return SUCCEEDED


@dataclasses.dataclass(frozen=True)
class Space:
    """A Gradio Space to be made of the model."""

    name: str
    """Its repository."""
    out: Path | None
    """Where its files are written; None to upload them."""
    _: dataclasses.KW_ONLY
    private: bool
    """Whether it is private, if it is new."""


def export_run(
    store: Store,
    run_id: str,
    wanted: Export,
    *,
    folder: Path,
    checkpoint: CheckpointName | None = None,
    space: Space | None = None,
) -> dict[str, str]:
    """Make exports of a run's model, except for those that exist already.

    Args:
        store: the store that holds the run.
        run_id: a run that has a model, or the checkpoint.
        wanted: what to make.
        folder: a local folder for this process alone, emptied first.
        checkpoint: the checkpoint to make them of, whatever became of the run; its model is an artifact then too. The
            names of all of them end with its stage and step.
        space: a Space to make of the model: of the merged one, if there is one.

    Returns:
        The keys in the run of all exports that were asked for, by the artifacts' names.

    Raises:
        UserError: the run has no model, or no adapter that could be merged.
        StoreUnavailable, HubUnavailable: try again later.
        MergeFailed, GgufFailed: an export is not what the model is.
    """
    from runner.runs.artifacts import ArtifactStore
    from runner.train.export.gguf import require_gguf
    from runner.train.export.hub_push import check_hub, push
    from runner.train.export.pipeline import make_exports, pushed_artifacts

    run = run_document(store, run_id)
    result = _result(store, run_id, checkpoint)
    recipe = _stage(run_recipe(run), result, checkpoint)
    if wanted.merge and recipe.adapter is None:
        raise UserError(
            "the run was trained in full: there is no adapter to merge", where=run_id, remedy="leave --merge out"
        )
    if wanted.gguf:
        require_gguf()
    if wanted.push_to_hub:
        check_hub(wanted, name=recipe.name)
    shutil.rmtree(folder, ignore_errors=True)
    suffix = "" if checkpoint is None else f"-{short_name(checkpoint)}"
    artifact_store = ArtifactStore(
        store,
        run_id,
        export_token(new_nonce(4)),
        folder,
        trusted=partial(_tokens, store, run_id, result),
        before_manifest=lambda: None,  # an ended run has no attempts that could take over
        call=lambda call: retry_store_call(call, until=after(_PATIENCE_SECONDS)),
        suffix=suffix,
    )
    made: dict[str, str] = {}
    if checkpoint is None:
        base_key = last_start(run_id, result)["base"] if result.get("stages") else first_start(store, run_id)["base"]
    else:
        base_key = _commit_model(store, run_id, checkpoint, artifact_store, folder)
    trained = artifact_store.existing_key("model")
    if checkpoint is not None and trained is not None:
        made["model"] = trained
    if trained is None:
        raise no_model(store, run_id)
    base = wanted.base or recipe.export.base
    recipe = dataclasses.replace(recipe, export=dataclasses.replace(wanted, base=base))
    recipe = _on_its_base(recipe, base_key, artifact_store)
    exports = made | make_exports(
        artifact_store,
        recipe,
        wanted,
        folder=folder / "between",
        cache_dir=cache_folder(),
        phase=lambda what: _log.info("exporting: %s", what),
    )
    if wanted.push_to_hub:
        keys = pushed_artifacts({"model": trained, **exports})
        upload = partial(push, wanted, map(artifact_store.folder, keys), folder / "upload", run=run, result=result)
        exports["hub"] = _push_once(artifact_store, wanted.hub_model_id or recipe.name, keys, upload)
    if space is not None:
        hardware = newest_hardware(store, run_id, recipe.stage_name)
        layout = None if hardware is None else hardware.get("layout")
        model = exports.get("merged") or artifact_store.existing_key("merged") or trained
        pushed = exports.get("hub") or artifact_store.existing_key("hub")
        _make_space(space, artifact_store, model, pushed, folder / "space", layout=layout, run_id=run_id)
    shutil.rmtree(folder, ignore_errors=True)
    return {name + suffix: key for name, key in exports.items()}


def _stage(recipe: Recipe, result: Result, checkpoint: CheckpointName | None) -> Recipe:
    """Return the stage that made the model: the checkpoint's, or the last one that has ended."""
    if checkpoint is None:
        return recipe.in_order[len(result["stages"]) - 1] if result.get("stages") else recipe.in_order[-1]
    return next(stage for stage in recipe.in_order if stage.stage_name == checkpoint.stage)


def _commit_model(
    store: Store, run_id: str, checkpoint: CheckpointName, artifact_store: Any, folder: Path
) -> str | None:
    """Make a checkpoint's model an artifact; return the key of the artifact that its stage started from, if any."""
    from runner.train.stored_model import no_events, reading_attempt, save_checkpoint, stored_model

    _log.info("exporting: the model of %s", short_name(checkpoint))
    work = folder / "checkpoint"
    work.mkdir(parents=True)
    attempt = reading_attempt(store, run_id, work_dir=work, cache_dir=cache_folder(), events=no_events())
    model = stored_model(attempt, None, checkpoint)
    artifact_store.commit("model", lambda into: save_checkpoint(attempt, model, into), keep=True)
    return model.start["base"]


def _push_once(artifact_store: Any, repository: str, keys: Sequence[str], upload: Callable[[], dict[str, Any]]) -> str:
    """Push unless the same was pushed to the same repository before; return the key of the push's record."""
    from runner.train.export.hub_push import has_pushed, save_pushed

    existing = artifact_store.existing_key("hub")
    if existing is not None and has_pushed(artifact_store.folder(existing), repository, keys):
        return str(existing)
    digest = blake3.blake3("\n".join((repository, *keys)).encode()).hexdigest(length=4)
    return str(artifact_store.commit(f"hub-{digest}", lambda folder: save_pushed(upload(), keys, folder)))


def _make_space(
    space: Space, artifact_store: Any, model: str, pushed: str | None, folder: Path, *, layout: str | None, run_id: str
) -> None:
    """Write the files of a Space, and upload them unless they are to stay on this machine.

    Args:
        space: what is asked for.
        artifact_store: the run's artifacts.
        model: the key of the model that it answers with.
        pushed: the key of the record of a push to the hub, if there was one.
        folder: for the files that are uploaded.
        layout: of the rows that the model was trained on.
        run_id: the run.
    """
    from runner.recipe.formats.layouts import RowLayout
    from runner.train.export.hub_push import read_pushed
    from runner.train.export.space import push_space, write_space

    hub = None if pushed is None else read_pushed(artifact_store.folder(pushed))
    if hub is not None and model not in hub["artifacts"]:  # pushed before it was merged, or from a checkpoint
        hub = None
    write_space(
        space.out or folder,
        title=space.name.rpartition("/")[2],
        model=artifact_store.folder(model),
        hub=hub,
        plain=layout is not None and not RowLayout(layout).is_conversational,
        run_id=run_id,
    )
    if space.out is None:
        push_space(folder, space.name, private=space.private, run_id=run_id)
    else:
        _log.info("the Space's files are in %s: `python app.py` there answers on this machine", space.out)


def _result(store: Store, run_id: str, checkpoint: CheckpointName | None) -> Result:
    result = run_result(store, run_id)
    if checkpoint is not None:  # what it measured is of another model
        return {"state": result["state"] if result else "cancelled", "step": checkpoint.step, "artifacts": {}}
    if result is None:
        raise UserError("the run has not ended", where=run_id, remedy=f"wait for it: `runner wait {run_id}`")
    return result


def _tokens(store: Store, run_id: str, result: Result) -> list[str]:
    """Return the tokens whose artifacts count: the result's, and earlier exports'; of a failed run, its newest."""
    named = [key.split("/")[2] for key in result.get("artifacts", {}).values()]
    root = run_key(run_id, "artifacts/")
    tokens = {
        parts[1]
        for info in store.objects(root)
        if len(parts := info.key.removeprefix(root).split("/")) == 3 and parts[2] == MANIFEST
    }
    exports = sorted(token for token in tokens if EXPORT_TOKEN.fullmatch(token))
    others = [] if named else sorted(tokens - set(exports), reverse=True)
    return [*dict.fromkeys(named), *exports, *others]


def _on_its_base(recipe: Recipe, base: str | None, artifact_store: Any) -> Recipe:
    """Return a stage's recipe with the model that its adapter belongs to."""
    if recipe.adapter is None or base is None:
        return recipe
    model = {key: value for key, value in recipe.model.items() if key != "model_revision"}
    return dataclasses.replace(recipe, model={**model, "model_name_or_path": str(artifact_store.folder(base))})


if __name__ == "__main__":
    sys.exit(main())

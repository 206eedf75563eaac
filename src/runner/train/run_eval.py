"""Measure a finished run once more: the model that it began with beside the one that it ended with.

``python -m runner.train.run_eval --store URL --run RUN_ID --work-dir DIR --cache-dir DIR``, started by `runner eval`

The run's own script prepares its trainer as it did then, so that on the same data the same comes out. Nothing is
written to the store. What it says goes to standard output, a JSON object a line, whose ``kind`` is ``progress`` while
it works, then ``measured`` or ``error``. Everything else that is printed goes to standard error.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.process import die_with_parent
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.attempts import Claim
from runner.runs.records import last_start, run_document, run_recipe, run_result
from runner.storage.open import open_store
from runner.storage.store import Store, StoreUnavailable
from runner.train.agent.events import Events
from runner.train.agent.preemption import PreemptionNotice
from runner.train.devices.triton import leave_triton_aside

_ONLY_WHEN_TRAINING = ("report_to", "early_stopping_patience", "early_stopping_threshold")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and say what came of it; returns the exit code: 0, 1, 2 for a mistake of the caller's."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.run_eval")
    parser.add_argument("--store", required=True, help="URL of the store")
    parser.add_argument("--run", required=True, help="id of a run that has succeeded")
    parser.add_argument("--work-dir", type=Path, required=True, help="a local folder of this evaluation's own")
    parser.add_argument("--cache-dir", type=Path, required=True, help="a local folder for builtin models")
    parser.add_argument("--data", type=json.loads, help="entries to evaluate on instead of the recipe's, as JSON")
    parser.add_argument("--prompts", type=json.loads, help="prompts to complete instead of the recipe's, as JSON")
    parser.add_argument("--parent", type=int, help="process id of the one to die with")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    # Libraries print to standard output too; that is for what we say.
    sys.stdout.flush()
    told = os.dup(1)
    os.dup2(2, 1)
    events = Events(told)
    try:
        measured = evaluate(
            open_store(options.store),
            options.run,
            work_dir=options.work_dir,
            cache_dir=options.cache_dir,
            events=events,
            data=None if options.data is None else tuple(DataSource(**entry) for entry in options.data),
            prompts=options.prompts,
        )
    except UserError as error:
        events.send("error", what=error.what, where=error.where, remedy=error.remedy)
        return 2
    except StoreUnavailable as error:
        events.send("error", what=f"the store does not answer: {error}", where=None, remedy="Try again.")
        return 1
    events.send("measured", **measured)
    return 0


def evaluate(
    store: Store,
    run_id: str,
    *,
    work_dir: Path,
    cache_dir: Path,
    events: Events,
    data: Sequence[DataSource] | None = None,
    prompts: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measure what the last stage of a run began with, and what it ended with.

    Args:
        store: where the run lives.
        run_id: a run that has succeeded.
        work_dir: a local folder of this evaluation's own.
        cache_dir: a local folder that all runs share, for builtin models.
        events: is told of each phase.
        data: what to evaluate on; None: the recipe's evaluation data.
        prompts: what to complete; None: the recipe's prompts.

    Returns:
        ``before``, ``after`` and ``generations``, as in a run's result.

    Raises:
        UserError: there is nothing to evaluate on, or what the run names is not to be had from here.
    """
    leave_triton_aside()
    # Heavy, so imported here: a mistake in the arguments is said at once.
    from runner.train.checkpointing.checkpointer import Checkpointer
    from runner.train.devices.parallelism import without_deepspeed
    from runner.train.loggers.metrics_writer import Metrics, in_json
    from runner.train.methods.registry import method_script
    from runner.train.stages.context import Context, compared
    from runner.train.stages.prepare import THE_RECIPES, fit_to_device, started

    result = run_result(store, run_id)
    if result is None:
        raise UserError("the run has not ended", where=run_id, remedy=f"wait for it: `runner wait {run_id}`")
    recipe = run_recipe(run_document(store, run_id))
    stage = without_deepspeed(changed(recipe.in_order[-1], data, prompts))
    # As an attempt after all others would: fitted to the GPU as they were.
    claim = Claim(run_id, result.get("attempts", 0) + 1, "eval")
    context = Context(
        recipe=stage,
        store=store,
        claim=claim,
        folder=work_dir,
        shared_folder=work_dir / "shared",
        cache=cache_dir,
        restored=None,
        events=events,
        notice=PreemptionNotice(),
        metrics=Metrics(None, events),
        checkpointer=Checkpointer(
            store,
            claim,
            staging=work_dir / "staging",
            before_manifest=lambda: None,
            on_committed=lambda step: None,
            on_warning=lambda text: None,
        ),
        measures_only=True,
    )
    start = last_start(run_id, result) if recipe.stages else THE_RECIPES
    stage_run = method_script(stage.method).build(fit_to_device(started(context, stage, start)))
    records: dict[str, Mapping[str, Any]] = {}
    for phase, whose in (("before", "the model it began with"), ("after", "the trained model")):
        if phase == "after":
            events.phase("loading", whose)
            stage_run.trainer.load_weights(context.fetch_artifact(result["artifacts"]["model"]))
        events.phase("evaluating", whose)
        with context.metrics.evaluating(phase) as record:
            stage_run.measure(record)
        records[phase] = in_json(record)
    return compared(records)


def changed(recipe: Recipe, data: Sequence[DataSource] | None, prompts: Sequence[str] | None) -> Recipe:
    """The recipe to evaluate by: nothing is reported, and other data or prompts take the place of its own.

    Raises:
        UserError: there is nothing to evaluate on.
    """
    training = {key: value for key, value in recipe.training.items() if key not in _ONLY_WHEN_TRAINING}
    evaluated = recipe.data if data is None else Data(train=recipe.data.train, eval=tuple(data))
    if not evaluated.eval and evaluated.eval_from_train is None:
        raise UserError(
            "the run's recipe has no evaluation data", where=recipe.name, remedy="Name some: --data test.jsonl"
        )
    asked = recipe.evaluate if prompts is None else dataclasses.replace(recipe.evaluate, prompts=tuple(prompts))
    return dataclasses.replace(recipe, training=training, data=evaluated, evaluate=asked)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not `sys.exit`: threads of libraries must not hold the process.
    os._exit(code)

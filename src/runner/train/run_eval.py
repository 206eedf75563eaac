"""Measure a run once more: the model that it began with beside the one that it ended with, or one of its checkpoints.

``python -m runner.train.run_eval --store URL --run RUN_ID --work-dir DIR --cache-dir DIR``, started by `runner eval`

The method's own script builds its trainer as it did then, so that the same data give the same values. Nothing is
written to the store. Standard output gets a JSON object a line, whose ``kind`` is ``progress`` during the work, then
``measured`` or ``error``. Everything else that is printed goes to standard error.
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
from runner.exit_codes import FAILED, MISTAKE, SUCCEEDED
from runner.process import die_with_parent
from runner.recipe.recipe import DataSource, Recipe
from runner.runs.attempts import newest_hardware
from runner.runs.checkpoints.choice import no_evaluation_data, no_model
from runner.runs.layout import CheckpointName
from runner.runs.records import run_result
from runner.storage.manifest import Damaged
from runner.storage.open import open_store
from runner.storage.store import NotFound, Store, StoreUnavailable
from runner.train.agent.events import Events
from runner.train.agent.log import set_up_logging
from runner.train.devices.triton import leave_triton_aside
from runner.train.loggers.libraries import quiet_libraries


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the values or the error; return the exit code: 0, 1, or 2 for a mistake of the caller's."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.run_eval")
    parser.add_argument("--store", required=True, help="URL of the store")
    parser.add_argument("--run", required=True, help="id of the run")
    parser.add_argument("--work-dir", type=Path, required=True, help="a local folder for this evaluation alone")
    parser.add_argument("--cache-dir", type=Path, required=True, help="a local folder for builtin models")
    parser.add_argument("--data", type=json.loads, help="entries to evaluate on instead of the recipe's, as JSON")
    parser.add_argument("--prompts", type=json.loads, help="prompts to complete instead of the recipe's, as JSON")
    parser.add_argument("--checkpoint", help="the checkpoint to measure instead of the run's model, by its whole name")
    parser.add_argument("--parent", type=int, help="the process to die with, by its id")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    # Libraries print to standard output too, which is for events alone.
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    set_up_logging()
    events = Events(output)
    try:
        measured = evaluate(
            open_store(options.store),
            options.run,
            work_dir=options.work_dir,
            cache_dir=options.cache_dir,
            events=events,
            data=None if options.data is None else tuple(DataSource(**entry) for entry in options.data),
            prompts=options.prompts,
            checkpoint=None if options.checkpoint is None else CheckpointName.parse(options.checkpoint),
        )
    except UserError as error:
        events.send("error", what=error.what, where=error.where, remedy=error.remedy)
        return MISTAKE
    except StoreUnavailable as error:
        events.send("error", what=f"the store does not answer: {error}", where=None, remedy="Try again.")
        return FAILED
    except (Damaged, NotFound) as error:
        events.send("error", what=f"damaged in the store: {error}", where=options.run, remedy=None)
        return FAILED
    events.send("measured", **measured)
    return SUCCEEDED


def evaluate(
    store: Store,
    run_id: str,
    *,
    work_dir: Path,
    cache_dir: Path,
    events: Events,
    data: Sequence[DataSource] | None = None,
    prompts: Sequence[str] | None = None,
    checkpoint: CheckpointName | None = None,
) -> dict[str, Any]:
    """Measure the model that a stage of a run (the last one) began with, and the one that it ended with.

    Args:
        store: the store that holds the run.
        run_id: the run.
        work_dir: a local folder for this evaluation alone.
        cache_dir: a local folder that all runs share, for builtin models.
        events: gets each phase.
        data: what to evaluate on; None: the recipe's evaluation data.
        prompts: what to complete; None: the recipe's prompts.
        checkpoint: the checkpoint to measure; None: the model that the run ended with.

    Returns:
        ``before``, ``after`` and ``generations``, as in a run's result.

    Raises:
        UserError: there is nothing to evaluate on, or a model or dataset of the run cannot be read from this machine.
        StoreUnavailable: the store does not answer.
    """
    leave_triton_aside()
    quiet_libraries()
    # Heavy, so imported here: a mistake in the arguments is reported at once.
    from runner.train.loggers.metrics_writer import in_json
    from runner.train.stages.context import compare_evaluations
    from runner.train.stored_model import build_stage, reading_attempt, stored_model

    result = run_result(store, run_id)
    if checkpoint is None and (result is None or "model" not in (result.get("artifacts") or {})):
        raise no_model(store, run_id)
    attempt = reading_attempt(store, run_id, work_dir=work_dir, cache_dir=cache_dir, events=events)
    model = stored_model(attempt, result, checkpoint)
    hardware = newest_hardware(store, run_id, model.stage.stage_name)
    layout = None if hardware is None else hardware.get("layout")
    recipe = evaluation_recipe(model.stage, data, prompts, layout=layout)
    stage_run = build_stage(attempt, recipe, model.start)
    records: dict[str, Mapping[str, Any]] = {}
    trained = "the trained model" if checkpoint is None else f"the model of step {checkpoint.step}"
    for phase, which in (("before", "the model it began with"), ("after", trained)):
        if phase == "after":
            events.phase("loading", which)
            stage_run.trainer.load_weights(model.folder)
        events.phase("evaluating", which)
        with attempt.metrics.evaluating(phase) as record:
            stage_run.measure(record)
        records[phase] = in_json(record)
    return compare_evaluations(records)


def evaluation_recipe(
    recipe: Recipe, data: Sequence[DataSource] | None, prompts: Sequence[str] | None, *, layout: str | None = None
) -> Recipe:
    """Return the recipe to evaluate by: with the given data and prompts instead of its own.

    Args:
        recipe: the stage's.
        data: what to evaluate on; None: its own.
        prompts: what to complete; None: its own.
        layout: the layout of rows that it was trained in, if that is known, which other data take too.

    Raises:
        UserError: there is nothing to evaluate on.
    """
    eval_data = (
        recipe.data
        if data is None
        else dataclasses.replace(recipe.data, eval=tuple(data), eval_from_train=None, layout=layout)
    )
    if not eval_data.has_evaluation:
        raise no_evaluation_data(recipe.name)
    evaluate = recipe.evaluate if prompts is None else dataclasses.replace(recipe.evaluate, prompts=tuple(prompts))
    return dataclasses.replace(recipe, data=eval_data, evaluate=evaluate)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not `sys.exit`: threads of libraries must not hold the process.
    os._exit(code)

"""`--from`: which results of earlier runs and sweeps count in a new sweep."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.control.sweeping.known import known_results
from runner.errors import UserError
from runner.runs.attempts import claim_attempt, write_restored
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import RUN, run_key
from runner.runs.records import encoded, write_result
from runner.runs.submission.run_json import run_json
from runner.storage.store import Store
from runner.sweeps.definition import Definition
from runner.sweeps.trials import trial_document
from support.sweeping.launched import SWEEP, launched, tell, trained


def earlier(store: Store, folder: Path, **changes: Any) -> None:
    """A sweep `earlier` with two results, one divergence and one trial that failed by chance."""
    launched(store, folder, "earlier", **changes)

    def settings(rate: float, rank: int) -> dict[str, Any]:
        return {"training.learning_rate": rate, "adapter.r": rank}

    events = [
        *trained(0, {"learning_rate": 1e-3, "lora_r": 4}, value=2.0, settings=settings(1e-3, 4)),
        *trained(1, {"learning_rate": 5e-2, "lora_r": 8}, value=3.0, settings=settings(5e-2, 8)),
    ]
    for number, kind in ((2, "diverged"), (3, "error")):
        events += [
            {
                "event": "drawn",
                "trial": number,
                "values": {"learning_rate": 9e-3, "lora_r": 8},
                "settings": settings(9e-3, 8),
            },
            {"event": "taken", "trial": number, "worker": "w", "until": None},
            {"event": "failed", "trial": number, "worker": "w", "kind": kind, "reason": "x", "step": 5, "seconds": 1.0},
        ]
    events += [
        {
            "event": "drawn",
            "trial": 4,
            "values": {"learning_rate": 2e-3, "lora_r": 8},
            "settings": settings(2e-3, 8),
        },
        {"event": "taken", "trial": 4, "worker": "w", "until": 30},
        {"event": "reached", "trial": 4, "worker": "w", "step": 30, "value": 2.5, "seconds": 1.0},
    ]
    tell(store, *events, sweep_id="earlier")


def test_results_that_lie_in_the_space_count_at_their_highest_rung(memory: Store, tmp_path: Path) -> None:
    earlier(memory, tmp_path, parameters={**SWEEP["parameters"], "learning_rate": {"min": 1e-4, "max": 1e-1}})
    definition = launched(memory, tmp_path)
    said: list[str] = []
    events = known_results(memory, ["earlier"], definition, say=said.append)
    shown = [(event["source"], event["values"], event["step"], event["value"]) for event in events]  # type: ignore[typeddict-item]
    assert shown == [
        ("earlier-0000", {"learning_rate": 1e-3, "lora_r": 4}, 120, 2.0),
        ("earlier-0002", {"learning_rate": 9e-3, "lora_r": 8}, 5, None),
        ("earlier-0004", {"learning_rate": 2e-3, "lora_r": 8}, 30, 2.5),
    ]
    assert events[0]["quantiles"] == pytest.approx({"learning_rate": 0.5, "lora_r": 0.25})  # type: ignore[typeddict-item]
    assert said == [
        "earlier-0001 does not count: learning_rate is 0.05 there, which is not in the space",
        "earlier-0003 does not count: it has no result",
    ]
    tell(memory, *events)  # the journal takes them


def test_a_result_of_another_recipe_does_not_count(memory: Store, tmp_path: Path) -> None:
    runner = {"rungs": [30], "set": {"training.max_steps": 90}}
    earlier(memory, tmp_path, runner=runner)
    definition = launched(memory, tmp_path)
    with pytest.raises(UserError, match=r"nothing of 'earlier' counts: .*training\.max_steps is another"):
        known_results(memory, ["earlier"], definition)


def test_evaluating_at_other_steps_and_another_seed_make_no_other_recipe(memory: Store, tmp_path: Path) -> None:
    runner = {"rungs": [10, 60], "set": {"training.max_steps": 120, "training.seed": 7}}
    earlier(memory, tmp_path, runner=runner)
    assert known_results(memory, ["earlier"], launched(memory, tmp_path))


def test_values_are_found_by_what_they_set_whatever_the_parameter_is_called(memory: Store, tmp_path: Path) -> None:
    earlier(memory, tmp_path)
    parameters = {
        "training.learning_rate": {"values": [1e-3, 2e-3]},
        "adapter": {"values": [{"r": 4}, {"r": 8}]},
    }
    definition = launched(memory, tmp_path, parameters=parameters)
    events = known_results(memory, ["earlier"], definition)
    assert [event["values"] for event in events] == [  # type: ignore[typeddict-item]
        {"adapter": {"r": 4}, "training.learning_rate": 1e-3},
        {"adapter": {"r": 8}, "training.learning_rate": 2e-3},
    ]


def test_another_metric_does_not_count(memory: Store, tmp_path: Path) -> None:
    earlier(memory, tmp_path, metric={"name": "train/loss", "goal": "minimize"})
    with pytest.raises(UserError, match="earlier compares by loss, and this sweep by eval_loss"):
        known_results(memory, ["earlier"], launched(memory, tmp_path))


def test_what_is_not_there_is_a_mistake(memory: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sweep and no run 'never'"):
        known_results(memory, ["never"], launched(memory, tmp_path))


def test_what_is_named_twice_counts_once(memory: Store, tmp_path: Path) -> None:
    earlier(memory, tmp_path)
    events = known_results(memory, ["earlier", "earlier"], launched(memory, tmp_path))
    assert len(events) == len({event["source"] for event in events})  # type: ignore[typeddict-item]


# -- runs ------------------------------------------------------------------------------------------------------------


def a_run(
    store: Store,
    definition: Definition,
    run_id: str,
    folder: Path,
    *,
    state: str = "succeeded",
    adapter: Any = None,
    **training: Any,
) -> None:
    """A run of the sweep's recipe with these values, evaluated at steps 0, 60 and 120."""
    recipe: Any = trial_document(
        definition, 0, {}, settings={"adapter": adapter or {"r": 8}, "training.learning_rate": 1e-3}, folder=folder
    )["recipe"]
    recipe["training"].update(training)
    document = run_json(
        run_id=run_id,
        recipe=recipe,
        settings={},
        recipe_digest="x",
        git_revision=None,
        created_at="2026-01-01T00:00:00+00:00",
    )
    store.create(run_key(run_id, RUN), encoded(document))
    claim = claim_attempt(store, run_id, {})
    write_restored(store, claim, None)
    writer = ChunkWriter(store, run_id, "metrics", claim.token)
    for step, phase, loss in ((0, "before", 9.0), (60, "during", 3.0), (120, "after", 2.25)):
        record = {"kind": "eval", "stage": "sft", "step": step, "phase": phase, "eval_loss": loss}
        writer.append(json.dumps(record) + "\n")
    writer.flush()
    write_result(store, run_id, {"state": state})  # type: ignore[typeddict-item]


def test_a_run_counts_with_its_last_evaluation(memory: Store, tmp_path: Path) -> None:
    definition = launched(memory, tmp_path)
    a_run(memory, definition, "by-hand", tmp_path)
    (event,) = known_results(memory, ["by-hand"], definition)
    assert event["source"] == "by-hand"  # type: ignore[typeddict-item]
    assert event["values"] == {"learning_rate": 1e-3, "lora_r": 8}  # type: ignore[typeddict-item]
    assert (event["step"], event["value"]) == (120, 2.25)  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"learning_rate": 0.5}, "learning_rate is 0.5 there, which is not in the space"),
        ({"weight_decay": 0.3}, "its training.weight_decay is another than this sweep's"),
        ({"adapter": {"r": 8, "lora_alpha": 77}}, "its adapter.lora_alpha is another than this sweep's"),
        ({"state": "failed"}, "it has not succeeded"),
    ],
)
def test_a_run_that_does_not_count_says_why(
    memory: Store, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    definition = launched(memory, tmp_path)
    a_run(memory, definition, "by-hand", tmp_path, **changes)
    with pytest.raises(UserError, match=re.escape(f"nothing of 'by-hand' counts: by-hand: {reason}")):
        known_results(memory, ["by-hand"], definition)

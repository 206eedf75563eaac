"""Runs in a store to compare, as launches and attempts would have left them, without training."""

import json
from pathlib import Path
from typing import Any

import yaml

from runner.recipe.loading.load import load_recipe
from runner.runs.attempts import claim_attempt, write_ended, write_hardware, write_restored
from runner.runs.chunks import ChunkWriter
from runner.runs.records import encoded, write_result
from runner.runs.submission.prepare import prepare
from runner.runs.submission.run_json import run_json
from runner.storage.store import Store

HARDWARE: dict[str, Any] = {
    "device": "NVIDIA L4",
    "compute_capability": "8.9",
    "torch": "2.9.0",
    "precision": "bf16",
    "weights": "float32",
    "quantization": None,
    "attn_implementation": "sdpa",
    "optim": "adamw_torch_fused",
    "use_liger_kernel": False,
    "packing": None,
    "padding_free": False,
    "loss_on": "completion",
    "activation_checkpointing": False,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
}


def trained(
    store: Store,
    folder: Path,
    run_id: str,
    *,
    losses: list[float | None],
    evaluations: dict[int, float] | None = None,
    recipe: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    hardware: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    **document: Any,
) -> None:
    """Leave a run that has trained for as many steps as there are losses, and has succeeded.

    Args:
        store: where.
        folder: for its recipe's file.
        run_id: its id.
        losses: by step, from 1; None: NaN.
        evaluations: evaluation losses by step; that of step 0 is from before training, the last from after it.
        recipe: what its recipe has besides.
        training: settings of its training besides.
        hardware: fields of the attempt's record besides `HARDWARE`.
        result: fields of ``result.json`` besides.
        document: fields of ``run.json`` besides.
    """
    steps = len(losses)
    written = {
        "name": "small",
        "method": "sft",
        "model": {"model_name_or_path": "builtin:tiny-llama"},
        "data": {"train": [{"path": "builtin:python-docstrings"}], "eval": {"from_train": 8}},
        "evaluate": {"before_and_after": True},
        "training": {"max_steps": steps, **(training or {})},
        **(recipe or {}),
    }
    path = folder / f"{run_id}.yaml"
    path.write_text(yaml.safe_dump(written))
    prepared = prepare(load_recipe(str(path), cwd=folder))
    launched = run_json(
        run_id=run_id,
        recipe=prepared.recipe,
        settings=prepared.settings,
        recipe_digest=prepared.digest,
        git_revision="a" * 40,
        created_at="2026-01-01T00:00:00+00:00",
    )
    store.create(f"runs/{run_id}/run.json", encoded({**launched, **document}))
    claim = claim_attempt(store, run_id, {"host": "far", "boot_id": "another", "pid": 1})
    write_restored(store, claim, None)
    write_hardware(store, claim, "sft", {**HARDWARE, **(hardware or {})})  # type: ignore[typeddict-item]
    evaluations = evaluations or {}
    lines: list[dict[str, Any]] = []
    for step in range(steps + 1):
        if step:
            loss = losses[step - 1]
            bad = {"not_finite": {"loss": "NaN"}} if loss is None else {}
            lines.append({"kind": "train", "stage": "sft", "step": step, "loss": loss, **bad})
        if step in evaluations:
            phase = "before" if not step else "after" if step == max(evaluations) else "during"
            lines.append({"kind": "eval", "stage": "sft", "step": step, "phase": phase, "eval_loss": evaluations[step]})
    metrics = ChunkWriter(store, run_id, "metrics", claim.token)
    metrics.append("".join(json.dumps(line) + "\n" for line in lines))
    metrics.flush(final=True)
    write_ended(store, claim, {"outcome": "succeeded", "exit_code": 0})
    ended = {"state": "succeeded", "attempts": 1, "step": steps, "max_steps": steps, "dropped_rows": []}
    ended |= {"ended_at": "2026-01-01T00:02:05+00:00", "hardware": {**HARDWARE, **(hardware or {})}}
    if evaluations:
        first, last = evaluations.get(0), evaluations[max(evaluations)]
        ended |= {"before": None if first is None else {"eval_loss": first}, "after": {"eval_loss": last}}
    write_result(store, run_id, {**ended, **(result or {})})  # type: ignore[typeddict-item]

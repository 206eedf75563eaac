"""The estimated memory of a training against the peak that a GPU really holds, over a grid of recipes.

    python benchmarks/memory.py                       # on a machine with a GPU
    python benchmarks/memory.py --models HuggingFaceTB/SmolLM2-135M-Instruct --json

For each case a model of a bundled config's real size is made with random weights on the GPU, and TRL's own `SFTTrainer`
trains it for three steps on rows of exactly `max_length` tokens (memory does not depend on their content). Measured is
the peak of torch's allocator plus what CUDA holds outside it, as `nvidia-smi` would count it. Each case runs in a
process of its own. Without a GPU only the estimates are printed, in seconds.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from runner.fit.accelerators import GIB, Accelerator
from runner.fit.fit import apply_fit_settings, fit_workload, workloads
from runner.fit.model_shape import bundled_config
from runner.recipe.recipe import Data, DataSource, Recipe

MODELS = [
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "unsloth/Llama-3.2-1B-Instruct",
    "Qwen/Qwen2.5-Coder-1.5B-Instruct",
    "Qwen/Qwen3-8B",
]
ADAPTERS: dict[str, dict[str, Any] | None] = {"full": None, "lora": {"r": 16, "target_modules": "all-linear"}}
SIZES = [(1, 512), (4, 1024), (2, 4096)]
LARGEST_FULL = 3e9
"""Parameters. Larger models are trained through an adapter only: their optimizer state would fill the GPU."""


def cases(models: list[str]) -> list[dict[str, Any]]:
    """Return the grid: each model with each adapter, size and setting of gradient checkpointing."""
    grid = itertools.product(models, ADAPTERS, SIZES, (False, True))
    return [
        {"model": model, "adapter": adapter, "micro_batch": size[0], "length": size[1], "checkpointing": checkpointing}
        for model, adapter, size, checkpointing in grid
        if adapter != "full" or _parameters(model) < LARGEST_FULL
    ]


def recipe_of(case: dict[str, Any]) -> Recipe:
    """Return the recipe that trains a case."""
    return Recipe(
        name="memory",
        method="sft",
        model={"model_name_or_path": case["model"]},
        data=Data(train=(DataSource(path="made/up"),)),
        adapter=ADAPTERS[case["adapter"]],
        training={
            "per_device_train_batch_size": case["micro_batch"],
            "gradient_accumulation_steps": 1,
            "max_length": case["length"],
            "gradient_checkpointing": case["checkpointing"],
        },
    )


def estimate(case: dict[str, Any], accelerator: Accelerator) -> tuple[float, Recipe]:
    """Return the estimate in GiB, and the recipe as it is fitted to the GPU."""
    recipe = recipe_of(case)
    [work] = workloads(recipe, bundled_config(case["model"]) or {})
    fit = fit_workload(work, accelerator, devices=1, nodes=1)
    return fit.memory_gib, apply_fit_settings(recipe, fit.settings)


def measure(recipe: Recipe) -> float:
    """Return the peak of a real training on this GPU, in GiB."""
    import torch
    from datasets import Dataset
    from transformers import AutoConfig, PreTrainedTokenizerFast
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    from runner.train.builtin.catalog import materialize
    from runner.train.models.adapters import lora_config
    from runner.train.models.precision import model_dtype

    torch.manual_seed(0)
    free, total = torch.cuda.mem_get_info()
    others = total - free
    config = dict(bundled_config(str(recipe.model["model_name_or_path"])) or {})
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=model_dtype(recipe.model))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(materialize("builtin:tiny-llama", Path(folder)))
        rows = [list(range(3, 2003))] * (4 * recipe.training["per_device_train_batch_size"])
        length = recipe.training["max_length"]
        data = Dataset.from_list([{"input_ids": (row * (length // len(row) + 1))[:length]} for row in rows])
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(output_dir=folder, max_steps=3, report_to="none", save_strategy="no", **recipe.training),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=lora_config(recipe),
        )
        torch.cuda.reset_peak_memory_stats()
        trainer.train()
    free, total = torch.cuda.mem_get_info()
    outside = total - free - others - torch.cuda.memory_reserved()
    return (torch.cuda.max_memory_allocated() + outside) / GIB


def main() -> int:
    """Measure all cases, or, with ``--case``, one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    from runner.fit.accelerators import ACCELERATORS
    from runner.train.devices.apply_fit import detect_accelerator

    accelerator = detect_accelerator() if torch.cuda.is_available() else ACCELERATORS["A100-80GB"]
    if options.case:
        print(json.dumps(measure(estimate(json.loads(options.case), accelerator)[1])))
        return 0
    results = []
    failures = 0
    if not options.json:
        print(f"{'model':32} {'adapter':7} {'rows x tokens':>13} {'':5} {'estimated GiB':>13} {'measured GiB':>12}")
    for case in cases(options.models):
        gib, _ = estimate(case, accelerator)
        result = {**case, "estimated_gib": gib, "measured_gib": None}
        if torch.cuda.is_available() and gib < accelerator.memory_gib:
            command = [sys.executable, __file__, "--case", json.dumps(case)]
            process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if process.returncode == 0:
                result["measured_gib"] = float(process.stdout.splitlines()[-1])
            else:  # it said why on standard error
                failures += 1
        results.append(result)
        if not options.json:
            print(_line(result), flush=True)
    errors = [row["estimated_gib"] / row["measured_gib"] - 1 for row in results if row["measured_gib"]]
    if options.json:
        print(json.dumps(results, indent=2))
    elif errors:
        low = min(errors)
        print(f"{accelerator.name}: median {statistics.median(errors):+.1%}, lowest {low:+.1%} of {len(errors)} cases")
    if failures:
        print(f"{failures} cases ended with an error", file=sys.stderr)
    elif not errors and not options.json:
        print(f"no GPU here: estimates only, for an {accelerator.name}")
    return 1 if failures else 0


def _line(row: dict[str, Any]) -> str:
    measured = "-" if row["measured_gib"] is None else f"{row['measured_gib']:.2f}"
    size = f"{row['micro_batch']} x {row['length']}"
    case = (
        f"{row['model'].rpartition('/')[2]:32} {row['adapter']:7} {size:>13} {'ckpt' if row['checkpointing'] else '':5}"
    )
    return f"{case} {row['estimated_gib']:>13.2f} {measured:>12}"


def _parameters(model: str) -> int:
    from runner.fit.model_shape import shape_of

    return shape_of(bundled_config(model) or {}).parameters


if __name__ == "__main__":
    sys.exit(main())

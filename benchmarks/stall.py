"""How long training stands still for a checkpoint: ours against the same trainer saving synchronously.

    python benchmarks/stall.py                 # a model of about 60M parameters, on whatever device there is
    python benchmarks/stall.py --model llama-3.2-1b   # the real architecture, random weights (wants a GPU)

Both train the same random-weight model on the same random tokens through TRL's `SFTTrainer`, in one process, one after
the other, saving every `--save-steps` steps: once with transformers' own `_save_checkpoint` to the local disk, once
through our `Checkpointer` into a folder store. *Blocked* is the time that the training thread spends in the save call
and in waiting for a snapshot; *whole run* is the wall time of all steps, so it also shows what the work beside training
takes from it on the same cores.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl import SFTConfig, SFTTrainer

from runner.recipe.recipe import Checkpoint
from runner.runs.attempts import claim_attempt, write_restored
from runner.runs.chunks import ChunkWriter
from runner.storage.open import open_store
from runner.train.agent.events import Events
from runner.train.agent.preemption import PreemptionNotice
from runner.train.checkpointing.checkpointer import Checkpointer
from runner.train.checkpointing.save_schedule import RunBinding
from runner.train.loggers.metrics_writer import Metrics
from runner.train.methods.sft import ResumableSFTTrainer

MODELS: dict[str, dict[str, Any]] = {
    "60m": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
    },
    # The published configurations, with random weights.
    "smollm2-135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    "llama-3.2-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
}


class Blocked:
    """Adds up the time spent in `_save_checkpoint`; goes in front of a trainer class."""

    blocked_seconds = 0.0

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        began = time.perf_counter()
        super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
        self.blocked_seconds += time.perf_counter() - began


class SynchronousTrainer(Blocked, SFTTrainer):
    """TRL's trainer as it is."""


class BesideTrainer(Blocked, ResumableSFTTrainer):
    """Ours."""


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """One that is never asked to tokenize: the data is tokens already."""
    words = {f"t{index}": index for index in range(vocabulary)}
    inner = Tokenizer(models.WordLevel(words, unk_token="t0"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="t0", eos_token="t1")


def run(kind: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train once; returns seconds blocked per checkpoint, and of the whole run."""
    torch.manual_seed(0)
    config = LlamaConfig(**MODELS[options.model], max_position_embeddings=options.length)
    model = LlamaForCausalLM(config)
    rows = torch.randint(2, config.vocab_size, (64, options.length)).tolist()
    data = Dataset.from_dict({"input_ids": rows})
    arguments = SFTConfig(
        output_dir=str(folder / kind),
        per_device_train_batch_size=options.batch,
        max_steps=options.steps,
        max_length=options.length,
        bf16=torch.cuda.is_available(),
        activation_checkpointing=False,
        save_strategy="steps" if kind == "synchronous" else "no",
        save_steps=options.save_steps,
        save_total_limit=1,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    common: dict[str, Any] = {
        "model": model,
        "args": arguments,
        "train_dataset": data,
        "processing_class": tokenizer(config.vocab_size),
    }
    trainer: Any
    if kind == "synchronous":
        trainer = SynchronousTrainer(**common)
    else:
        store = open_store(str(folder / "store"))
        claim = claim_attempt(store, "stall", {})
        write_restored(store, claim, None)
        events = Events(-1)
        metrics = Metrics(ChunkWriter(store, "stall", "metrics", claim.token), events, "sft")
        checkpointer = Checkpointer(
            store,
            claim,
            staging=folder / "staging",
            save_total_limit=1,
            before_manifest=metrics.flush,
            on_committed=lambda step: None,
            on_warning=print,
        )
        lineage = RunBinding(
            stage="sft",
            token=claim.token,
            checkpoint=Checkpoint(save_steps=options.save_steps if kind == "beside" else None, save_minutes=None),
            checkpointer=checkpointer,
            metrics=metrics,
            notice=PreemptionNotice(),
            tracks_best=False,
            save_each_epoch=False,
            logging_steps=10**6,
        )
        trainer = BesideTrainer(**common, lineage=lineage)
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    trainer.train()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    whole = time.perf_counter() - began
    blocked = trainer.blocked_seconds
    if kind != "synchronous":
        blocked += checkpointer.snapshot.waited_seconds
        checkpointer.finish(within_seconds=600)
    saves = max(1, options.steps // options.save_steps)
    del trainer, model, common
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {"blocked": blocked / saves, "whole": whole}


def main() -> None:
    """Measure, print a table, and the raw figures with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="60m")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--save-steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, list[dict[str, float]]] = {"synchronous": [], "beside": []}
    for _ in range(options.repeats):
        for kind, results in figures.items():
            with tempfile.TemporaryDirectory() as folder:
                results.append(run(kind, options, Path(folder)))
    medians = {
        kind: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for kind, results in figures.items()
    }
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"
    ratio = medians["beside"]["blocked"] / medians["synchronous"]["blocked"]
    report = {"device": device, "torch": torch.__version__, "options": vars(options), **medians, "blocked_ratio": ratio}
    if options.json:
        print(json.dumps({**report, "all": figures}))
        return
    print(f"{options.model} on {device}, a checkpoint every {options.save_steps} of {options.steps} steps")
    for kind, values in medians.items():
        print(f"  {kind:12} blocked {values['blocked']:.3f} s per checkpoint, whole run {values['whole']:.2f} s")
    print(f"  blocked, beside over synchronous: {ratio:.3f} (target: at most 0.1)")


if __name__ == "__main__":
    main()

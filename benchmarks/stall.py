"""How long training pauses for a checkpoint: ours against the same trainer saving synchronously.

    python benchmarks/stall.py                 # a model of about 60M parameters, on the device that this machine has
    python benchmarks/stall.py --model llama-3.2-1b   # the real architecture, random weights (needs a GPU)
    python benchmarks/stall.py --model tiny --steps 4 --save-steps 2 --repeats 1    # seconds: does it still run?

Both train the same model (random weights) on the same random tokens through TRL's `SFTTrainer`, in one process, one
after the other, saving every `--save-steps` steps: once with transformers' own `_save_checkpoint` to the local disk,
once through our `Checkpointer` into a folder store. *Blocked* is the time that the training thread spends in the save
call and in waiting for a snapshot. *Whole run* is the wall time of all steps: it includes what the work beside training
takes from the same cores. *To the last commit* adds the time until the last checkpoint is in the store.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
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
from runner.recipe.strategy import layout
from runner.runs.attempts import claim_attempt, write_restored
from runner.runs.chunks import ChunkWriter
from runner.storage.open import open_store
from runner.train.agent.events import Events
from runner.train.agent.preemption import PreemptionNotice
from runner.train.checkpointing.checkpointer import Checkpointer
from runner.train.checkpointing.save_schedule import RunBinding
from runner.train.devices.distributed import ProcessInfo
from runner.train.loggers.metrics_writer import Metrics
from runner.train.methods.sft import ResumableSFTTrainer

KINDS = ("synchronous", "beside")
STAGE = "sft"
TARGET_RATIO = 0.1
FINISH_SECONDS = 600.0
"""How long the last upload may take."""
NEVER_LOGGED = 1e6
"""`logging_steps` beyond any number of steps."""

MODELS: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 1000,
    },
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


class TimedSaves:
    """Adds up the time spent in `_save_checkpoint`; goes in front of a trainer class."""

    save_seconds = 0.0

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        wait_for_gpu()
        began = time.perf_counter()
        super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
        self.save_seconds += time.perf_counter() - began


class SynchronousTrainer(TimedSaves, SFTTrainer):
    """TRL's trainer as it is."""


class BesideTrainer(TimedSaves, ResumableSFTTrainer):
    """Ours, which saves beside training."""


def wait_for_gpu() -> None:
    """Wait until the GPU has done all work that it was given, so that a clock read next includes it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the right size. It never tokenizes: the data consist of tokens already."""
    words = {f"t{index}": index for index in range(vocabulary)}
    inner = Tokenizer(models.WordLevel(words, unk_token="t0"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="t0", eos_token="t1")


def trainer_settings(kind: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what both trainers are made from: model, arguments, data, tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(**MODELS[options.model], max_position_embeddings=options.length)
    rows = torch.randint(2, config.vocab_size, (64, options.length)).tolist()
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
    return {
        "model": LlamaForCausalLM(config),
        "args": arguments,
        "train_dataset": Dataset.from_dict({"input_ids": rows}),
        "processing_class": make_tokenizer(config.vocab_size),
    }


def bind_to_run(folder: Path, save_steps: int) -> RunBinding:
    """Begin an attempt at a run in a folder store, and return what ties a trainer to it."""
    store = open_store(str(folder / "store"))
    claim = claim_attempt(store, "stall", {})
    write_restored(store, claim, None)
    metrics = Metrics(ChunkWriter(store, "stall", "metrics", claim.token), Events(-1))
    metrics.stage = STAGE
    checkpointer = Checkpointer(
        store,
        claim,
        staging=folder / "staging",
        before_manifest=metrics.flush,
        on_committed=lambda step: None,
        on_warning=lambda text: print(text, file=sys.stderr),
    )
    checkpointer.save_total_limit = 1
    process_info = ProcessInfo()
    return RunBinding(
        stage=STAGE,
        token=claim.token,
        checkpoint=Checkpoint(save_steps=save_steps, save_minutes=None),
        checkpointer=checkpointer,
        metrics=metrics,
        notice=PreemptionNotice(),
        process_info=process_info,
        layout=layout({}, process_info.world_size),
        tracks_best=False,
        save_each_epoch=False,
        logging_steps=NEVER_LOGGED,
    )


def train(kind: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train once; returns seconds: blocked per checkpoint, all steps, and until the last checkpoint was stored."""
    settings = trainer_settings(kind, options, folder)
    trainer: Any
    binding: RunBinding | None = None
    if kind == "synchronous":
        trainer = SynchronousTrainer(**settings)
    else:
        binding = bind_to_run(folder, options.save_steps)
        trainer = BesideTrainer(**settings, binding=binding)
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the figures
        trainer.train()
    wait_for_gpu()
    whole = time.perf_counter() - began
    blocked = trainer.save_seconds
    if binding is not None:
        blocked += binding.checkpointer.snapshot.waited_seconds
        binding.checkpointer.finish(within_seconds=FINISH_SECONDS)
    committed = time.perf_counter() - began
    saves = options.steps // options.save_steps
    del trainer, settings
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {"blocked": blocked / saves, "whole": whole, "committed": committed}


def main() -> None:
    """Measure, and print a table, and with `--json` all figures in a last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="60m")
    parser.add_argument("--steps", type=int, default=20, help="a multiple of --save-steps")
    parser.add_argument("--save-steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print all figures too, in a last line")
    options = parser.parse_args()
    if options.steps < 1 or options.steps % options.save_steps:
        parser.error("--steps must be a multiple of --save-steps: ours also saves after the last step")
    figures: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(options.repeats):
        for kind, results in figures.items():
            with tempfile.TemporaryDirectory() as folder:
                results.append(train(kind, options, Path(folder)))
    medians = {
        kind: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for kind, results in figures.items()
    }
    cpu = f"CPU ({platform.machine()}, {os.cpu_count()} cores)"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    ratios = {name: value / medians["synchronous"][name] for name, value in medians["beside"].items()}
    print(f"{options.model} on {device}, a checkpoint every {options.save_steps} of {options.steps} steps")
    print(f"{'saving':<12}{'blocked s/checkpoint':>22}{'whole run s':>13}{'to the last commit s':>22}")
    for kind, values in medians.items():
        print(f"{kind:<12}{values['blocked']:>22.4f}{values['whole']:>13.2f}{values['committed']:>22.2f}")
    print(f"{'ratio':<12}{ratios['blocked']:>22.4f}{ratios['whole']:>13.2f}{ratios['committed']:>22.2f}")
    print(f"(target for blocked: at most {TARGET_RATIO})")
    if options.json:
        report = {"device": device, "torch": torch.__version__, "options": vars(options), **medians}
        print(json.dumps({**report, "ratios": ratios, "all": figures}))


if __name__ == "__main__":
    main()

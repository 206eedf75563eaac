"""Measure a model without changing the training around it.

An evaluation draws from torch's random stream (each pass over a data loader does), leaves the model in evaluation mode
and adds to the trainer's records. A run that is evaluated before its first step, and the same run resumed after it,
must go on alike; so all of that is restored.
"""

import copy
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, set_seed

from runner.errors import UserError

GENERATION_BATCH = 8
"""Prompts that are completed at a time by default."""

Prompt: TypeAlias = str | list[dict[str, Any]]
"""A text, or messages."""


def measure(trainer: Trainer, *, perplexity: bool = True) -> dict[str, float]:
    """Evaluate the trainer's model on its evaluation data, and leave the trainer as it was.

    Trackers and the trainer's `log` get the evaluation like any other.

    Args:
        trainer: any trainer with evaluation data.
        perplexity: whether to return the exponential of the loss too, which only makes sense for a mean over tokens.

    Returns:
        ``eval_loss``, the mean loss as the trainer reports it; ``samples_per_second``, rows evaluated per second; and
        ``perplexity``.

    Raises:
        UserError: there are no evaluation data.
    """
    if trainer.eval_dataset is None:
        raise UserError(
            "there are no evaluation data to measure on",
            where="evaluate.before_and_after",
            remedy="Write data.eval, for example eval: {from_train: 0.05}.",
        )
    with _preserve_records(trainer), preserve_state(trainer.model):
        # GRPO draws completions. An attempt that only measures has not trained, and must draw the same ones.
        set_seed(trainer.args.seed)
        metrics = trainer.evaluate()
    loss = float(metrics["eval_loss"])
    measured = {"eval_loss": loss, "samples_per_second": float(metrics["eval_samples_per_second"])}
    if perplexity:
        representable = loss < math.log(torch.finfo(torch.float64).max)
        measured["perplexity"] = math.exp(loss) if representable else math.inf
    return measured


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    conversational: bool,
    batch_size: int = GENERATION_BATCH,
) -> list[str]:
    """Return the model's most likely continuation of each prompt, without the prompt.

    Args:
        model: any causal language model, in training or not; is left as it was.
        tokenizer: its tokenizer.
        prompts: texts or messages; messages go through the tokenizer's chat template if it has one.
        max_new_tokens: the longest continuation, in tokens.
        conversational: whether a prompt that is a text is a user's message, and answered as such; otherwise it is
            continued.
        batch_size: prompts that are completed at a time.
    """
    with preserve_state(model), _pad_left(tokenizer), torch.no_grad():
        model.eval()
        continuations: list[str] = []
        for start in range(0, len(prompts), batch_size):
            batch = _encode(tokenizer, prompts[start : start + batch_size], conversational).to(model.device)
            tokens: Any = model.generate(  # type: ignore[operator]
                **batch,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                # A model made for sampling sets these; greedy search would warn about each.
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=tokenizer.pad_token_id,
            )
            new_tokens = tokens[:, batch["input_ids"].shape[1] :]
            continuations += [text.strip() for text in tokenizer.batch_decode(new_tokens, skip_special_tokens=True)]
    return continuations


def _encode(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], conversational: bool) -> Any:
    has_template = tokenizer.chat_template is not None
    texts, through_template = [], False
    for prompt in prompts:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) and conversational else prompt
        if isinstance(turns, str):
            texts.append(turns)
        elif has_template:
            through_template = True
            texts.append(str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)))
        else:
            texts.append("\n".join(str(turn.get("content") or "") for turn in turns))
    # A chat template writes the special tokens itself. Without `token_type_ids`, which many models refuse.
    encoded = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=not through_template)
    encoded.pop("token_type_ids", None)
    return encoded


@contextmanager
def preserve_state(model: Any) -> Iterator[None]:
    """At the end, restore the random streams (Python, NumPy, torch) and the mode of each module of the model."""
    python, numpys, cpu = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        random.setstate(python)
        numpy.random.set_state(numpys)
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)
        for module, was_training in modes:
            module.training = was_training


@contextmanager
def _preserve_records(trainer: Any) -> Iterator[None]:
    """At the end, restore what transformers' and TRL's trainers record while they evaluate."""
    before = {
        name: copy.deepcopy(getattr(trainer, name))
        for name in ("_metrics", "_total_train_tokens", "control")
        if hasattr(trainer, name)
    }
    history = len(trainer.state.log_history)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(trainer, name, value)
        del trainer.state.log_history[history:]
        # Set by the first evaluation outside training, and from then on part of every record.
        trainer.__dict__.pop("model_preparation_time", None)


@contextmanager
def _pad_left(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Within, pad on the left, so that the prompts of a batch end together; with the end token if there is no other."""
    side, token = tokenizer.padding_side, tokenizer.pad_token
    tokenizer.padding_side = "left"
    if token is None:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        yield
    finally:
        tokenizer.padding_side = side
        if token is None:
            tokenizer.pad_token = None

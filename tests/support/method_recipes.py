"""Small recipes of every method, which several test files run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from runner.recipe.recipe import Data, DataSource, Recipe
from runner.storage.atomic import atomic_write
from runner.train.builtin.catalog import materialize
from support.runs import recipe

TEXT = {"text": "{prompt}{completion}"}
PREFERENCE = {
    "prompt": [{"role": "system", "content": ""}, {"role": "user", "content": "{prompt}"}],
    "chosen": [{"role": "assistant", "content": "{completion}"}],
    "rejected": [{"role": "assistant", "content": "I do not know {prompt}"}],
}
REWARDS = '''
def vowels(completions, **kwargs):
    """Something that a model with random weights already does more or less of."""
    return [sum(text.count(letter) for letter in "aeiou") / 10 for text in completions]


def mentions(completions, answer, **kwargs):
    return [float(answer_[:2] in text) for text, answer_ in zip(completions, answer, strict=True)]
'''
SFT_STEP = "runner.train.methods.sft:ResumableSFTTrainer.training_step"
DPO_STEP = "runner.train.methods.dpo:ResumableDPOTrainer.training_step"
GRPO_STEP = "runner.train.methods.grpo:ResumableGRPOTrainer.training_step"


def on(data: Path, template: dict[str, Any]) -> Data:
    """The rows of `data` in the form that a method needs."""
    return Data(train=(DataSource(path=str(data), template=template),), eval_from_train=8)


def cpt(data: Path) -> Recipe:
    """Packed text, with the embeddings trained in full beside the adapter."""
    what = recipe(data, adapter=True, per_device_train_batch_size=1)
    assert what.adapter is not None
    adapter = {
        **what.adapter,
        "target_modules": ["q_proj", "v_proj"],
        "modules_to_save": ["embed_tokens"],
        "ensure_weight_tying": True,
    }
    return replace(what, method="cpt", adapter=adapter, data=on(data, TEXT))


def dpo(data: Path, *, adapter: bool) -> Recipe:
    """Preferences in messages."""
    what = recipe(data, adapter=adapter, max_length=96, learning_rate=1e-3)
    return replace(what, method="dpo", data=on(data, PREFERENCE))


def grpo(data: Path, *, adapter: bool, **training: Any) -> Recipe:
    """Prompts, with rewards from a file, and generations that last for several steps."""
    rewards = data.parent / "rewards.py"
    if not rewards.exists():
        with atomic_write(rewards) as part:  # another test process may be reading it
            part.write_text(REWARDS)
    settings = {
        "reward_funcs": [f"{rewards}:vowels", f"{rewards}:mentions", "builtin:length"],
        "num_generations": 2,
        "max_completion_length": 8,
        "metric_for_best_model": "reward",
        **training,
    }
    what = recipe(data, adapter=adapter, **settings)
    without_length = {key: value for key, value in what.training.items() if key != "max_length"}
    answered = {"prompt": "{prompt}", "answer": "{completion}"}
    return replace(what, method="grpo", training=without_length, data=on(data, answered))


def grpo_twice(data: Path) -> Recipe:
    """Four prompts are two generation batches, each for four micro-batches and, trained on twice, four updates.

    An epoch has eight, and the next draws another order.
    """
    what = grpo(data, adapter=False, steps_per_generation=4, num_iterations=2, per_device_train_batch_size=1)
    (source,) = what.data.train
    return replace(what, data=replace(what.data, train=(replace(source, sample=12),)))


def untied_model(folder: Path) -> str:
    """Write the builtin model into `folder` with a head of its own; returns its path."""
    target = folder / "untied"
    source = materialize("builtin:tiny-llama", folder)
    AutoModelForCausalLM.from_pretrained(source, tie_word_embeddings=False).save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    return str(target)


METHODS: dict[str, tuple[Callable[[Path], Recipe], str]] = {
    "cpt": (cpt, SFT_STEP),
    "dpo": (lambda data: dpo(data, adapter=False), DPO_STEP),
    "dpo-lora": (lambda data: dpo(data, adapter=True), DPO_STEP),
    "grpo": (grpo_twice, GRPO_STEP),
    "grpo-lora": (lambda data: grpo(data, adapter=True, steps_per_generation=6, beta=0.1), GRPO_STEP),
}
"""Every method but supervised fine-tuning: its recipe on some rows, and the method of its trainer that takes a step."""

"""Rules for `training:` and `checkpoint:`."""

import json
import re
from collections.abc import Iterator, Mapping

from runner.errors import UserError
from runner.recipe.batch import split_batch
from runner.recipe.formats.alpaca import ALPACA
from runner.recipe.problems import Problem, show
from runner.recipe.recipe import Json
from runner.recipe.rules.context import RuleContext, problem_at


def batch(context: RuleContext) -> Iterator[Problem]:
    """Require batch settings that match, on one device or on as many as `resources` asks for."""
    training = context.recipe.training
    if training.get("effective_batch_size") is None:
        return
    for devices in sorted({1, *_device_counts(context.recipe.resources)}):
        try:
            split_batch(training, devices)
            return
        except UserError as error:
            problem = Problem(("training", "effective_batch_size"), error.what, error.remedy)
    yield problem


def _device_counts(resources: Mapping[str, Json]) -> set[int]:
    """Return the numbers of accelerators per machine that `resources` allows."""
    counts: set[int] = set()
    for machine in (resources, *resources.get("any_of", ()), *resources.get("ordered", ())):
        accelerators = machine.get("accelerators", machine.get("gpus"))
        if isinstance(accelerators, dict):
            counts |= {int(count) for count in accelerators.values() if isinstance(count, int | float) and count >= 1}
        else:
            words = accelerators if isinstance(accelerators, list) else [accelerators]
            counts |= {int(match[1]) for word in words if (match := re.search(r":([1-9]\d{0,3})$", str(word)))}
    return counts


def steps_and_epochs(context: RuleContext) -> Iterator[Problem]:
    """Refuse `num_train_epochs` beside `max_steps`, which overrides it, and a run of 0 steps."""
    steps, epochs = context.settings["training.max_steps"], context.settings["training.num_train_epochs"]
    if steps.value == 0:
        yield problem_at(
            "training.max_steps", "0 trains nothing", "write a number of steps, or leave it out for epochs"
        )
    elif steps.value > 0 and epochs.source == steps.source != "default":
        yield problem_at("training.num_train_epochs", "`max_steps` overrides it", "keep one of the two")


def precision(context: RuleContext) -> Iterator[Problem]:
    """Refuse two types of mixed precision, and full training of float16 weights."""
    for suffix in ("", "_full_eval"):
        if context.value(f"training.bf16{suffix}") and context.value(f"training.fp16{suffix}"):
            yield problem_at(f"training.fp16{suffix}", f"`bf16{suffix}` is true as well", "keep one of the two")
    half = context.is_set("model.dtype") and context.value("model.dtype") == "float16"
    if half and context.value("training.fp16") and context.recipe.adapter is None:
        yield problem_at(
            "model.dtype",
            "float16 weights cannot be trained with `fp16: true`: torch refuses to unscale float16 gradients",
            "write `dtype: float32`, or train an adapter",
        )


def packing(context: RuleContext) -> Iterator[Problem]:
    """Require `max_length` for packing, and refuse it without padding and packing: TRL would not apply it."""
    packs = context.value("training.packing") or context.value("training.eval_packing")
    if packs and context.value("training.max_length") is None:
        yield problem_at("training.max_length", "null, and packing needs a length to fill", "write `max_length: 1024`")
    may_pack = "training.packing" in context.settings
    alone = may_pack and context.value("training.padding_free") and not context.value("training.packing")
    if alone and context.value("training.max_length") is not None:
        yield problem_at(
            "training.padding_free",
            "without packing, `max_length` would not be kept to",
            "write `packing: true`, or `max_length: null`",
        )


def loss(context: RuleContext) -> Iterator[Problem]:
    """Require data with completions, or assistant turns, for a loss on only these."""
    for key, ok, words in (
        ("completion_only_loss", lambda known: known.format in ("prompt_completion", *ALPACA), "no completions"),
        ("assistant_only_loss", lambda known: known.conversational, "no assistant's turns"),
        ("train_on_turns", lambda known: known.conversational, "no assistant's turns"),
    ):
        known = [source for source in context.sources if source.format and source.conversational is not None]
        without = [source for source in known if not ok(source)]
        if context.value(f"training.{key}") and known and len(without) == len(context.sources):
            what = f"the data ({', '.join(dict.fromkeys(str(source.format) for source in without))}) have {words}"
            yield problem_at(f"training.{key}", what, "leave it out")


def data_loader(context: RuleContext) -> Iterator[Problem]:
    """Refuse settings of data loader workers without any worker."""
    if context.value("training.dataloader_num_workers"):
        return
    for key in ("dataloader_prefetch_factor", "dataloader_persistent_workers", "dataloader_multiprocessing_context"):
        if context.value(f"training.{key}"):
            yield problem_at(
                f"training.{key}",
                "there are no workers: `dataloader_num_workers` is 0",
                "write `dataloader_num_workers: 2`",
            )


def checkpointing(context: RuleContext) -> Iterator[Problem]:
    """Refuse two names of one setting with different values, and a run that never saves."""
    for suffix in ("", "_kwargs"):
        old, new = f"training.gradient_checkpointing{suffix}", f"training.activation_checkpointing{suffix}"
        if context.is_set(old) and context.value(new) not in (None, context.value(old)):
            yield problem_at(
                old, f"`{new.removeprefix('training.')}`, its newer name, has another value", "keep the newer one"
            )
    saved = context.recipe.checkpoint
    if saved.save_steps is None and saved.save_minutes is None and context.value("training.save_strategy") != "epoch":
        yield problem_at("checkpoint.save_minutes", "null, and no `save_steps`: state would never be saved", "keep one")


def json_texts(context: RuleContext) -> Iterator[Problem]:
    """Require JSON where a setting that takes a mapping is text, as on transformers' command line."""
    for key in (
        "lr_scheduler_kwargs",
        "gradient_checkpointing_kwargs",
        "activation_checkpointing_kwargs",
        "dataset_kwargs",
    ):
        value = context.value(f"training.{key}")
        if not isinstance(value, str):
            continue
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            yield problem_at(
                f"training.{key}", f"{show(value)} is not a mapping", "write `{name: value}`, without quotes"
            )


def report_to(context: RuleContext) -> Iterator[Problem]:
    """Refuse `all`: the trackers must not depend on what is installed."""
    value = context.value("training.report_to")
    if value == "all" or (isinstance(value, list) and "all" in value):
        yield problem_at(
            "training.report_to", "`all` depends on what is installed", "name them: `[tensorboard, wandb]`"
        )


def fills_a_batch(context: RuleContext) -> Iterator[Problem]:
    """Refuse to drop the last batch where it is the only one, if all rows can be counted here."""
    if not context.value("training.dataloader_drop_last") or context.recipe.method == "grpo":
        return
    if context.value("training.packing") and context.value("training.packing_strategy") != "bfd":
        return  # pieces of long rows may be more than there are rows
    if context.value("training.effective_batch_size") is not None:
        return  # the device decides on its part of it
    sources = [source for source in context.sources if source.path[1] == "train"]
    rows, batch = sum(len(source.rows) for source in sources), context.value("training.per_device_train_batch_size")
    if sources and all(source.whole for source in sources) and rows < batch:
        yield problem_at(
            "training.dataloader_drop_last",
            f"the data have {rows} rows, which do not fill a batch of {batch} (per_device_train_batch_size): no step "
            "would be taken",
            f"leave it out, or write `per_device_train_batch_size: {max(rows, 1)}`",
        )


def epochs(context: RuleContext) -> Iterator[Problem]:
    """Refuse a number of epochs in which nothing is trained."""
    count = context.value("training.num_train_epochs")
    if context.value("training.max_steps") <= 0 and count <= 0:
        yield problem_at("training.num_train_epochs", f"{count:g} epochs train nothing", "write a number above 0")


def no_learning_rate(context: RuleContext) -> Iterator[Problem]:
    """Warn of a learning rate of 0."""
    if context.value("training.learning_rate") == 0:
        yield problem_at("training.learning_rate", "0 changes no weight", "write a rate above 0, such as 2e-5")

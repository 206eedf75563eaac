"""Settings that contradict each other, each rule with its reason.

The schema has accepted the recipe before; a rule looks at two or more of its settings together. A rule is a small
pure function from the facts to problems, and `RULES` is the list of them.
"""

import json
import re
from collections.abc import Iterator, Mapping

from runner.errors import UserError
from runner.recipe.batch import split_batch
from runner.recipe.inputs.references import is_local
from runner.recipe.inputs.row_formats import SUFFIXES
from runner.recipe.problems import Problem, shown
from runner.recipe.recipe import Json
from runner.recipe.rules.context import Facts, Rule, problem_at
from runner.recipe.rules.export import export
from runner.recipe.rules.methods import preferences, rewards
from runner.recipe.rules.reserved import BY_METHOD, SECTIONS
from runner.recipe.rules.strategy import strategy
from runner.spec.path import Path


def contradictions(facts: Facts) -> list[Problem]:
    """Everything that the rules say against a recipe."""
    return [problem for rule in RULES for problem in rule(facts)]


def owned_settings(facts: Facts) -> Iterator[Problem]:
    """What the runner answers for stays as it is."""
    tables = [*SECTIONS.items(), ("training", BY_METHOD.get(facts.recipe.method, {}))]
    for section, table in tables:
        for key, owned in table.items():
            name = f"{section}.{key}"
            value = facts.value(name)
            if facts.is_set(name) and not any(_same(value, harmless) for harmless in owned.harmless):
                yield problem_at(name, f"{shown(value)} is not taken: {owned.reason}", owned.remedy)


def _same(left: Json, right: Json) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def batch(facts: Facts) -> Iterator[Problem]:
    """The three batch settings have to multiply to each other, on one device or on as many as are asked for."""
    training = facts.recipe.training
    if training.get("effective_batch_size") is None:
        return
    for devices in sorted({1, *_device_counts(facts.recipe.resources)}):
        try:
            split_batch(training, devices)
            return
        except UserError as error:
            problem = Problem(("training", "effective_batch_size"), error.what, error.remedy)
    yield problem


def _device_counts(resources: Mapping[str, Json]) -> set[int]:
    """How many accelerators a machine may have, over all that would do."""
    counts: set[int] = set()
    for machine in (resources, *resources.get("any_of", ()), *resources.get("ordered", ())):
        accelerators = machine.get("accelerators", machine.get("gpus"))
        if isinstance(accelerators, dict):
            counts |= {int(count) for count in accelerators.values() if isinstance(count, int | float) and count >= 1}
        else:
            words = accelerators if isinstance(accelerators, list) else [accelerators]
            counts |= {int(found[1]) for word in words if (found := re.search(r":([1-9]\d{0,3})$", str(word)))}
    return counts


def steps_and_epochs(facts: Facts) -> Iterator[Problem]:
    """`max_steps` overrides `num_train_epochs`, so one of two that stand side by side means nothing."""
    steps, epochs = facts.settings["training.max_steps"], facts.settings["training.num_train_epochs"]
    if steps.value == 0:
        yield problem_at(
            "training.max_steps", "0 trains nothing", "write a number of steps, or leave it out for epochs"
        )
    elif steps.value > 0 and epochs.source == steps.source != "default":
        yield problem_at("training.num_train_epochs", "`max_steps` overrides it", "keep one of the two")


def precision(facts: Facts) -> Iterator[Problem]:
    """Mixed precision is of one type, and float16 needs float32 weights to scale its gradients into."""
    for suffix in ("", "_full_eval"):
        if facts.value(f"training.bf16{suffix}") and facts.value(f"training.fp16{suffix}"):
            yield problem_at(f"training.fp16{suffix}", f"`bf16{suffix}` is true as well", "keep one of the two")
    half = facts.is_set("model.dtype") and facts.value("model.dtype") == "float16"
    if half and facts.value("training.fp16") and facts.recipe.adapter is None:
        yield problem_at(
            "model.dtype",
            "float16 weights cannot be trained with `fp16: true`: torch refuses to unscale float16 gradients",
            "write `dtype: float32`, or train an adapter",
        )


def quantization(facts: Facts) -> Iterator[Problem]:
    """A quantized model trains through an adapter only, and what tunes quantization needs it switched on."""
    four, eight = facts.value("model.load_in_4bit"), facts.value("model.load_in_8bit")
    if four and eight:
        yield problem_at("model.load_in_8bit", "`load_in_4bit` is true as well", "keep one of the two")
    if (four or eight) and facts.recipe.adapter is None:
        name = "load_in_4bit" if four else "load_in_8bit"
        yield problem_at(f"model.{name}", "quantized weights cannot be trained", "write an `adapter:`, or load in full")
    for key in facts.recipe.model:
        if key.startswith(("bnb_4bit_", "use_bnb_")) and not four and facts.asks(f"model.{key}"):
            yield problem_at(
                f"model.{key}", "it has no effect without `load_in_4bit: true`", "write that too, or leave it out"
            )
        if key.startswith("llm_int8_") and not (four or eight) and facts.asks(f"model.{key}"):
            yield problem_at(
                f"model.{key}", "it has no effect without `load_in_8bit: true`", "write that too, or leave it out"
            )
    nested = {facts.recipe.model.get(key) for key in ("use_bnb_nested_quant", "bnb_4bit_use_double_quant")}
    if nested == {True, False}:
        yield problem_at(
            "model.use_bnb_nested_quant", "`bnb_4bit_use_double_quant` says otherwise", "keep one of the two"
        )


def adapter(facts: Facts) -> Iterator[Problem]:
    """What needs an adapter, and where TRL takes none."""
    if facts.recipe.adapter is None:
        if facts.recipe.export.merge:
            yield problem_at("export.merge", "there is no adapter to merge", "write an `adapter:`, or leave it out")
        return
    if facts.recipe.export.base is not None and not (facts.recipe.export.merge or facts.recipe.export.gguf):
        yield problem_at("export.base", "nothing is merged", "write `merge: true`, or leave it out")
    start = str(facts.recipe.adapter.get("init_lora_weights", True))
    if start.startswith(("eva", "corda", "lora_ga")):
        yield problem_at(
            "adapter.init_lora_weights",
            f"`{start}` needs a pass over the data before training, which is not there yet",
            "leave it out, or write `gaussian`, `pissa` or `olora`",
        )
    targets = facts.recipe.adapter.get("target_modules")
    if targets == "lm_head" or (isinstance(targets, list) and "lm_head" in targets):
        yield problem_at(
            "adapter.target_modules",
            "an adapter on `lm_head` would never be trained: TRL computes the loss from its weight directly",
            "take `lm_head` out; `modules_to_save: [lm_head]` trains it in full",
        )


def evaluation(facts: Facts) -> Iterator[Problem]:
    """Evaluating needs data, data for it need evaluating, and what depends on evaluations needs them."""
    needs = {
        "training.eval_strategy": facts.evaluates,
        "evaluate.before_and_after": facts.recipe.evaluate.before_and_after,
        "training.do_eval": facts.is_set("training.do_eval") and facts.value("training.do_eval"),
    }
    for name, needed in needs.items():
        if needed and not facts.has_eval_data:
            what = f"{shown(facts.value(name))}, and there is nothing to evaluate on"
            yield problem_at(name, what, "write `data: {eval: {from_train: 0.1}}`")
    if facts.has_eval_data and not facts.evaluates and not facts.recipe.evaluate.before_and_after:
        yield problem_at(
            "data.eval",
            "nothing evaluates on it",
            "write `training: {eval_strategy: epoch}` or `evaluate: {before_and_after: true}`, or leave it out",
        )
    if facts.recipe.evaluate.exact_match is not None:
        if not facts.recipe.evaluate.before_and_after:
            what = "nothing measures it: it is checked before and after training"
            yield problem_at("evaluate.exact_match", what, "write `before_and_after: true` too, or leave it out")
        if facts.recipe.method == "cpt":
            what = "plain text asks nothing that could be answered"
            yield problem_at("evaluate.exact_match", what, "leave it out")
    dependent = {
        "early_stopping_patience": facts.value("training.early_stopping_patience") is not None,
        "load_best_model_at_end": facts.value("training.load_best_model_at_end"),
        "metric_for_best_model": facts.value("training.metric_for_best_model") is not None,
        "lr_scheduler_type": facts.value("training.lr_scheduler_type") in ("reduce_lr_on_plateau", "greedy"),
        "save_strategy": facts.value("training.save_strategy") == "best",
    }
    for key, needed in dependent.items():
        if needed and not facts.evaluates:
            value = shown(facts.value(f"training.{key}"))
            yield problem_at(
                f"training.{key}", f"{value} needs evaluations on the way", "write `eval_strategy: epoch` too"
            )
    if facts.value("training.save_strategy") == "best" and not (
        dependent["metric_for_best_model"] or dependent["load_best_model_at_end"]
    ):
        yield problem_at("training.save_strategy", "`best` by which metric?", "write `metric_for_best_model: loss` too")
    if facts.value("training.early_stopping_threshold") and not dependent["early_stopping_patience"]:
        yield problem_at(
            "training.early_stopping_threshold",
            "it has no effect without `early_stopping_patience`",
            "write that too, or leave it out",
        )
    if facts.value("training.eval_steps") is not None and facts.value("training.eval_strategy") != "steps":
        what = f"{shown(facts.value('training.eval_steps'))} has no effect without `eval_strategy: steps`"
        yield problem_at("training.eval_steps", what, "write that too, or leave it out")


def packing(facts: Facts) -> Iterator[Problem]:
    """Packing fills sequences of `max_length`; without padding and packing, TRL cannot hold to it."""
    packs = facts.value("training.packing") or facts.value("training.eval_packing")
    if packs and facts.value("training.max_length") is None:
        yield problem_at("training.max_length", "null, and packing needs a length to fill", "write `max_length: 1024`")
    may_pack = "training.packing" in facts.settings
    alone = may_pack and facts.value("training.padding_free") and not facts.value("training.packing")
    if alone and facts.value("training.max_length") is not None:
        yield problem_at(
            "training.padding_free",
            "without packing, `max_length` would not be kept to",
            "write `packing: true`, or `max_length: null`",
        )


def loss(facts: Facts) -> Iterator[Problem]:
    """The loss on a part of each row needs rows that have this part."""
    for key, ok, words in (
        ("completion_only_loss", lambda known: known.format in ("prompt_completion", "alpaca"), "no completions"),
        ("assistant_only_loss", lambda known: known.conversational, "no assistant's turns"),
    ):
        known = [source for source in facts.sources if source.format and source.conversational is not None]
        without = [source for source in known if not ok(source)]
        if facts.value(f"training.{key}") and known and len(without) == len(facts.sources):
            what = f"the data ({', '.join(dict.fromkeys(str(source.format) for source in without))}) have {words}"
            yield problem_at(f"training.{key}", what, "leave it out")


def data_loader(facts: Facts) -> Iterator[Problem]:
    """Prefetching and persistence are those of worker processes."""
    if facts.value("training.dataloader_num_workers"):
        return
    for key in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
        if facts.value(f"training.{key}"):
            yield problem_at(
                f"training.{key}",
                "there are no workers: `dataloader_num_workers` is 0",
                "write `dataloader_num_workers: 2`",
            )


def checkpointing(facts: Facts) -> Iterator[Problem]:
    """Two names for one thing agree, and state is saved by something."""
    for suffix in ("", "_kwargs"):
        old, new = f"training.gradient_checkpointing{suffix}", f"training.activation_checkpointing{suffix}"
        if facts.is_set(old) and facts.value(new) not in (None, facts.value(old)):
            yield problem_at(
                old, f"`{new.removeprefix('training.')}`, its newer name, says otherwise", "keep the newer one"
            )
    saved = facts.recipe.checkpoint
    if saved.save_steps is None and saved.save_minutes is None and facts.value("training.save_strategy") != "epoch":
        yield problem_at("checkpoint.save_minutes", "null, and no `save_steps`: state would never be saved", "keep one")


def shares(facts: Facts) -> Iterator[Problem]:
    """1.0 is not all rows but no fraction below 1, and 1 is one row: neither is what anybody means by it."""
    amounts: dict[Path, float | int | None] = {("data", "eval", "from_train"): facts.recipe.data.eval_from_train}
    for section, entries in (("train", facts.recipe.data.train), ("eval", facts.recipe.data.eval)):
        amounts |= {("data", section, index, "sample"): entry.sample for index, entry in enumerate(entries)}
    for path, amount in amounts.items():
        if isinstance(amount, float) and amount >= 1:
            yield Problem(
                path,
                f"{amount} is neither a fraction below 1 nor a number of rows",
                "write 0.1 for a tenth, 100 for 100 rows",
            )


def local_names(facts: Facts) -> Iterator[Problem]:
    """Revisions, configurations and splits are the hub's; a file has one split, `train`."""
    model = facts.recipe.model
    here = is_local(model["model_name_or_path"]) or model["model_name_or_path"].startswith("builtin:")
    if here and facts.value("model.model_revision") != "main":
        yield problem_at("model.model_revision", "only models of the hub have revisions", "leave it out")
    for section, entries in (("train", facts.recipe.data.train), ("eval", facts.recipe.data.eval)):
        for index, entry in enumerate(entries):
            at: Path = ("data", section, index)
            if not (is_local(entry.path) or entry.path.startswith(("builtin:", "inputs/"))):
                yield from _split(at, entry.split)
                continue
            if entry.revision is not None:
                yield Problem((*at, "revision"), "only datasets of the hub have revisions", "leave it out")
            is_file = not is_local(entry.path) or entry.path.lower().endswith(SUFFIXES)
            if is_file and entry.name is not None:
                yield Problem((*at, "name"), "only datasets of the hub have configurations", "leave it out")
            if is_file and entry.split.partition("[")[0].strip() != "train":
                yield Problem((*at, "split"), f"{shown(entry.split)}: a file has one split, `train`", "leave it out")
            elif entry.path.startswith("builtin:") and entry.split != "train":
                yield Problem((*at, "split"), f"{shown(entry.split)}: it has only `train`", "draw a part with `sample`")
            else:
                yield from _split(at, entry.split)


_SPLIT = re.compile(r"\w[\w.-]*(\[(-?\d+%?)?:(-?\d+%?)?\](\((closest|pct1_dropremainder)\))?)?")


def _split(at: Path, split: str) -> Iterator[Problem]:
    if not all(_SPLIT.fullmatch(part.strip()) for part in split.split("+")):
        yield Problem((*at, "split"), f"{shown(split)} is no split", "write `train`, `train[:10%]` or `train[:500]`")


def json_texts(facts: Facts) -> Iterator[Problem]:
    """A text where a mapping may stand is JSON, as on transformers' command line."""
    for key in (
        "lr_scheduler_kwargs",
        "gradient_checkpointing_kwargs",
        "activation_checkpointing_kwargs",
        "dataset_kwargs",
    ):
        value = facts.value(f"training.{key}")
        if not isinstance(value, str):
            continue
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            yield problem_at(
                f"training.{key}", f"{shown(value)} is no mapping", "write `{name: value}`, without quotes"
            )


def report_to(facts: Facts) -> Iterator[Problem]:
    """What is installed must not decide what is reported to."""
    value = facts.value("training.report_to")
    if value == "all" or (isinstance(value, list) and "all" in value):
        yield problem_at(
            "training.report_to", "`all` depends on what is installed there", "name them: `[tensorboard, wandb]`"
        )


def resources(facts: Facts) -> Iterator[Problem]:
    """SkyPilot takes one of each pair."""
    for one, other in (("any_of", "ordered"), ("accelerators", "gpus"), ("infra", "cloud")):
        if one in facts.recipe.resources and other in facts.recipe.resources:
            yield problem_at(f"resources.{other}", f"`{one}` is there as well", "keep one of the two")


RULES: tuple[Rule, ...] = (
    owned_settings,
    batch,
    steps_and_epochs,
    precision,
    quantization,
    strategy,
    adapter,
    evaluation,
    packing,
    loss,
    preferences,
    rewards,
    data_loader,
    checkpointing,
    shares,
    local_names,
    json_texts,
    report_to,
    export,
    resources,
)
"""Every rule, in the order in which a recipe's sections stand."""

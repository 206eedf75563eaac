"""Check that each name in an adapter's settings is the name of something in the model.

peft takes a list of names as long as one of them matches, and never looks at the keys of its patterns: a name that is
spelled wrongly is trained without. Names are matched here as peft matches them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from peft.utils.other import AuxiliaryTrainingWrapper, match_target_against_key
from transformers.pytorch_utils import Conv1D

from runner.errors import UserError

_ALL_LINEAR = "all-linear"
"""peft's word for every linear layer but the head."""
_MOST_SHOWN = 20
"""An error lists at most this many names."""


def check_targets(model: Any, config: LoraConfig) -> None:
    """Check the names, patterns and numbers of layers in an adapter's settings against the model that gets it.

    Args:
        model: the model, not wrapped by peft yet.
        config: peft's settings, as the recipe writes them.

    Raises:
        UserError: one of them matches nothing in the model.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    linear = _last_words(name for name, module in modules.items() if _is_linear(module, model))
    _check_target_modules(config, str(getattr(model.config, "model_type", "")), modules, linear)
    if isinstance(config.exclude_modules, str):
        _require("exclude_modules", [config.exclude_modules], modules, match_target_against_key, linear, pattern=True)
    else:
        _require("exclude_modules", config.exclude_modules or (), modules, _is_or_ends_with, linear)
    _require("modules_to_save", config.modules_to_save or (), modules, _ends_with, linear)
    for key in ("rank_pattern", "alpha_pattern"):
        _require(key, getattr(config, key) or (), modules, _matches_pattern_key, linear, pattern=True)
    parameters = [name for name, _ in model.named_parameters()]
    _require("target_parameters", config.target_parameters or (), parameters, _is_or_ends_with, linear, of="parameter")
    _check_layers(config, list(modules), linear)
    _check_token_indices(config, model, modules, linear)
    _check_what_is_left(config, modules, linear)


def _check_target_modules(config: LoraConfig, model_type: str, modules: dict[str, Any], linear: Sequence[str]) -> None:
    targets, where = config.target_modules, "adapter.target_modules"
    if targets == _ALL_LINEAR:
        return
    if targets is None:
        if not config.target_parameters and model_type not in TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING:
            what = f"it is missing, and peft has no default for a model of type `{model_type}`"
            raise UserError(what, where=where, remedy=_linear_layers(linear))
        return
    if isinstance(targets, str):
        _require("target_modules", [targets], modules, match_target_against_key, linear, pattern=True)
    else:
        _require("target_modules", sorted(targets), modules, _is_or_ends_with, linear)


def _check_what_is_left(config: LoraConfig, modules: dict[str, Any], linear: Sequence[str]) -> None:
    """Check that what all settings together select is there, and can be adapted."""
    where = "adapter.target_modules"
    if not config.target_modules or config.target_modules == _ALL_LINEAR:
        return
    matched = [name for name in modules if check_target_module_exists(config, name)]
    if not matched:
        raise UserError("no module of the model is left to adapt", where=where, remedy="Write less exclude_modules.")
    for key in ("rank_pattern", "alpha_pattern"):
        _require(key, getattr(config, key) or (), matched, _matches_pattern_key, linear, of="adapted module")
    others = _last_words(name for name in matched if not _can_be_adapted(modules[name]))
    if others:
        words = ", ".join(f"`{name}`" for name in others[:_MOST_SHOWN])
        raise UserError(f"LoRA cannot adapt {words}: not a linear layer", where=where, remedy=_linear_layers(linear))


def _can_be_adapted(module: Any) -> bool:
    """Whether a module is a single layer with a matrix; a block of layers or a norm is not."""
    weight = getattr(module, "weight", None)
    shape = getattr(weight, "ds_shape", getattr(weight, "shape", None))  # ZeRO-3 leaves an empty tensor
    return not any(True for _ in module.children()) and (shape is None or len(shape) >= 2)


def _require(
    key: str,
    names: Iterable[str],
    candidates: Iterable[str],
    matches: Callable[[str, str], Any],
    linear: Sequence[str],
    *,
    pattern: bool = False,
    of: str = "module",
) -> None:
    """Raise unless each of `names` matches one of `candidates`."""
    candidates = list(candidates)
    try:
        missing = [name for name in names if not any(matches(name, candidate) for candidate in candidates)]
    except re.error as error:
        raise UserError(f"not a regular expression: {error}", where=f"adapter.{key}") from error
    if not missing:
        return
    kind = "matches" if len(missing) == 1 else "match"
    words = ", ".join(f"`{name}`" for name in missing)
    remedy = _linear_layers(linear)
    if of == "adapted module":
        remedy = f"Those that target_modules selects: {_listed(_last_words(candidates))}."
    elif of == "parameter":
        remedy = f"The model's parameters end in: {_listed(_last_words(candidates, 2))}."
    elif key in ("modules_to_save", "exclude_modules"):
        remedy = f"The model's modules are: {_listed(_last_words(candidates))}."
    if pattern and key in ("target_modules", "exclude_modules"):
        remedy += " A text is a regular expression for the whole path of a module; write a list for names."
    raise UserError(f"{words} {kind} no {of} of the model", where=f"adapter.{key}", remedy=remedy)


def _check_layers(config: LoraConfig, modules: Sequence[str], linear: Sequence[str]) -> None:
    """Check `layers_pattern` and the numbers of `layers_to_transform`."""
    patterns = [config.layers_pattern] if isinstance(config.layers_pattern, str) else list(config.layers_pattern or ())
    wanted = config.layers_to_transform
    numbers = [wanted] if isinstance(wanted, int) else list(wanted or ())
    _require("layers_pattern", patterns, modules, lambda p, name: _layer_number(p, name) is not None, linear)
    there = {_layer_number(pattern, name) for pattern in patterns or [r"[^.]*"] for name in modules} - {None}
    missing = [str(number) for number in numbers if number not in there]
    if missing:
        highest = max((number for number in there if number is not None), default=None)
        raise UserError(
            f"the model has no layer {', '.join(missing)}",
            where="adapter.layers_to_transform",
            remedy="It has no numbered layers." if highest is None else f"Its layers are numbered 0 to {highest}.",
        )


def _layer_number(pattern: str, name: str) -> int | None:
    """Return the number of the layer that a module is in, as peft reads it from the module's name."""
    match = re.match(rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)(?:\.|$)", name)
    return None if match is None else int(match["idx"])


def _check_token_indices(config: LoraConfig, model: Any, modules: dict[str, Any], linear: Sequence[str]) -> None:
    """Check the embeddings that `trainable_token_indices` names, and that they have the rows."""
    indices = config.trainable_token_indices
    key = "trainable_token_indices"
    if not indices:
        return
    embeddings = model.get_input_embeddings()
    by_module = [(embeddings, indices)] if isinstance(indices, list) else []
    if isinstance(indices, dict):
        _require(key, indices, modules, _ends_with, linear)
        for name, rows in indices.items():
            by_module += [(module, rows) for path, module in modules.items() if _ends_with(name, path)]
    for module, rows in by_module:
        count = embedding_rows(module)
        beyond = [str(row) for row in rows if count is not None and not 0 <= row < count]
        if beyond:
            raise UserError(
                f"the embeddings have no row {', '.join(beyond)}",
                where=f"adapter.{key}",
                remedy=f"Their rows are numbered 0 to {(count or 0) - 1}.",
            )


def check_can_be_merged(model: Any, config: LoraConfig) -> None:
    """Check that an adapter that will be merged does not change embeddings that the head shares.

    Merged, it would change the head too, with which it was not trained; also with `ensure_weight_tying`.

    Args:
        model: the model, not wrapped by peft yet.
        config: peft's settings.

    Raises:
        UserError: it does.
    """
    tokens, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or getattr(head, "weight", None) is not tokens.weight:
        return
    name = next((name for name, module in model.named_modules() if module is tokens), "")
    if config.target_modules and check_target_module_exists(config, name):
        raise UserError(
            f"a LoRA of `{name.rpartition('.')[2]}` cannot be merged: this model's head is tied to its embeddings",
            where="adapter.target_modules",
            remedy="Write modules_to_save: [embed_tokens] and ensure_weight_tying: true instead, or leave out what "
            "merges it (export.merge, export.gguf, another adapter in the next stage).",
        )


def base_module(module: Any) -> Any:
    """Return the module of the model that peft has wrapped, or the module itself."""
    while isinstance(module, AuxiliaryTrainingWrapper | BaseTunerLayer):
        module = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module.original_module
    return module


def embedding_rows(module: Any) -> int | None:
    """Return how many rows an embedding or a head has, also if ZeRO-3 has partitioned it; None if it does not say.

    What peft has wrapped is looked at without: the `out_features` of a LoRA of an embedding is the length of its rows.
    """
    module = base_module(module)
    for name in ("num_embeddings", "out_features"):
        if isinstance(count := getattr(module, name, None), int):
            return count
    return None


def _is_linear(module: Any, model: Any) -> bool:
    return isinstance(module, torch.nn.Linear | Conv1D) and module is not model.get_output_embeddings()


def _ends_with(name: str, candidate: str) -> bool:
    """Whether peft trains this module in full, or rows of it: here it takes parts of words."""
    return candidate.endswith(name)


def _is_or_ends_with(name: str, candidate: str) -> bool:
    return candidate == name or candidate.endswith(f".{name}")


def _matches_pattern_key(pattern: str, candidate: str) -> bool:
    """Whether peft's `get_pattern_key` finds the pattern of a rank or an alpha for this module."""
    return re.match(rf"(.*\.)?({pattern})$", candidate) is not None


def _last_words(names: Iterable[str], count: int = 1) -> list[str]:
    """Return the distinct ends of dotted names, without those that are numbers."""

    def ends() -> Iterator[str]:
        for name in names:
            end = ".".join(name.split(".")[-count:])
            if not end.split(".")[-1].isdigit():
                yield end

    return list(dict.fromkeys(ends()))


def _linear_layers(linear: Sequence[str]) -> str:
    return f"The model's linear layers are: {_listed(linear)}; `{_ALL_LINEAR}` names them all."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more

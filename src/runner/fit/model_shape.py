"""Read a language model's shape from its `config.json`: which matrices it has and how large they are.

Pure arithmetic on the config's own names, without weights or torch. Facts that only the model's code knows (biases,
norms) are listed here by `model_type`; a test counts the real classes' parameters.
"""

import json
import math
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.fit.families import COMPARED, UNGATED, Dimensions, Linear, attention, key_heads, mlp, others
from runner.recipe.recipe import Json

if TYPE_CHECKING:
    import jsonschema_rs

_LONGEST_PATTERN = 10_000
_MOST_BACKTRACKING = 100_000
_MOST_LAYERS = 10_000
_LARGEST = 2**40

BUNDLED = pathlib.Path(__file__).with_name("models.json")
UNSLOTH_SHARE = 0.15
"""Assumed share of the linear layers' weights that Unsloth's `…-unsloth-bnb-4bit` models keep in 16 bits, if the config
that lists these layers is not available. For an 8B model these are 0.9 B weights."""

_QK_NORM = {"qwen3", "qwen3_moe", "gemma3", "gemma3_text", "olmo2", "olmo3"}
"""Model types that normalize queries and keys, each head by itself."""
_FOUR_NORMS = {"gemma2", "gemma3", "gemma3_text", "gemma4_text"}
"""Model types with norms also after attention and MLP."""
_FORMER = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "num_layers", "n_layers"),
    "num_attention_heads": ("n_head", "num_heads", "n_heads"),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size"),
    "max_position_embeddings": ("n_positions", "n_ctx", "max_seq_len"),
}
"""Older names of the same facts."""
_DERIVED = {"gpt2", "gpt_bigcode", "bloom", "falcon", "gptj", "gpt_neo", "codegen", "mpt"}
"""Model types whose MLP is four times as wide as the model if the config does not say otherwise."""
_TIED_BY_DEFAULT = {
    "gpt2",
    "gpt_bigcode",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "bloom",
    "opt",
    "falcon",
    "gpt_neo",
    "mpt",
    "gemma4_text",
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What decides a model's memory and speed."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    """The MLP's width; for a mixture of experts, the width of all experts that one token uses."""
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    longest: int
    """`max_position_embeddings`."""
    tied: bool
    """Whether the head shares the embedding's weights."""
    linears: tuple[Linear, ...]
    """The linear layers of one block."""
    experts: int
    """Weights of the experts of all blocks. They are 3-dimensional parameters, neither quantized nor adapted."""
    experts_active: int
    """How many of these one token uses."""
    norms: int
    """Weights of one block's norms."""
    gated: bool = True
    """Whether the MLP has a gate, and so three products."""
    other_weights: int = 0
    """Weights elsewhere: positions, embeddings of single blocks, convolutions."""
    qk_norm: bool
    quantization: Mapping[str, Json]
    """The config's own `quantization_config`; empty: none."""
    share_not_quantized: float
    """The share of the linear layers' weights that stays in 16 bits in a quantized model."""

    @property
    def linear_weights(self) -> int:
        """Weights of all linear layers, without the head."""
        return sum(linear.weights * self.blocks(linear) for linear in self.linears)

    def blocks(self, linear: Linear) -> int:
        """Return how many blocks have a linear layer."""
        return self.layers if linear.blocks is None else linear.blocks

    @property
    def is_compared(self) -> bool:
        """Whether a test has counted models of this type."""
        return self.model_type in COMPARED

    @property
    def embedding_weights(self) -> int:
        """Weights of embedding and head, which count once if tied."""
        return self.vocab_size * self.hidden_size * (1 if self.tied else 2)

    @property
    def small_weights(self) -> int:
        """Weights of norms and biases."""
        biases = sum(linear.out * self.blocks(linear) for linear in self.linears if linear.bias)
        return self.layers * self.norms + biases + self.hidden_size + self.other_weights

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.linear_weights + self.experts + self.embedding_weights + self.small_weights

    @property
    def billions(self) -> str:
        """All weights in words: ``8.03 B``."""
        return f"{self.parameters / 1e9:.3g} B"

    @property
    def active_parameters(self) -> int:
        """Weights that compute with one token: without the embedding, which is only looked up."""
        computing = self.linear_weights + self.experts_active + self.small_weights - self.other_weights
        return computing + self.vocab_size * self.hidden_size

    @property
    def query_width(self) -> int:
        """Width of all heads' queries."""
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all heads' keys."""
        return self.key_value_heads * self.head_dim

    def targets(self, adapter: Mapping[str, Json]) -> list[tuple[Linear, int]]:
        """Return the linear layers that an adapter targets, each with its number of blocks.

        Args:
            adapter: the recipe's, in peft's names. Limits on layers (`layers_to_transform`) are ignored.

        Raises:
            UserError: no layer of the model matches.
        """
        wanted = adapter.get("target_modules")
        excluded = adapter.get("exclude_modules") or ()
        layers = []
        for linear in self.linears:
            names = [f"model.layers.{index}.{linear.name}" for index in range(self.blocks(linear))]
            count = sum(_is_target(name, wanted) and not _matches(name, excluded) for name in names)
            if count:
                layers.append((linear, count))
        if not layers and not adapter.get("target_parameters"):
            known = ", ".join(linear.name.rpartition(".")[2] for linear in self.linears)
            raise UserError(
                f"no layer of this model ({self.model_type}) is called {wanted!r}",
                where="adapter.target_modules",
                remedy=f"write `all-linear`, or some of: {known}",
            )
        return layers


def shape_of(config: Mapping[str, Json], *, name: str = "the model") -> Shape:
    """Read a `config.json`.

    Args:
        config: its contents. For a model of images and text, the part of the language model counts.
        name: the model's, for errors.

    Raises:
        UserError: it is not a language model's, or lacks what a plan needs.
    """
    if isinstance(config.get("text_config"), Mapping):
        config = {**config, **config["text_config"]}
    kind = str(config.get("model_type", "unknown"))

    def number(key: str, default: int | None = None) -> int:
        for candidate in (key, *_FORMER.get(key, ())):
            value = config.get(candidate)
            if isinstance(value, int | float) and value:
                if not 0 < value < (_MOST_LAYERS if key == "num_hidden_layers" else _LARGEST):
                    raise UserError(
                        f"{name} cannot be planned: the `{candidate}` in its config is not that of a model",
                        where="model.model_name_or_path",
                    )
                return int(value)
        if default is None:
            raise UserError(
                f"{name} cannot be planned: its config has no `{key}`",
                where="model.model_name_or_path",
                remedy="a causal language model is needed, in transformers' format",
            )
        return default

    hidden = number("hidden_size")
    heads = number("num_attention_heads")
    keys = key_heads(kind, config, heads)
    has_experts = any(config.get(key) for key in ("moe_intermediate_size", "n_routed_experts"))
    width = 4 * hidden if kind in _DERIVED else hidden if has_experts else None
    of = Dimensions(
        kind=kind,
        config=config,
        hidden=hidden,
        width=number("intermediate_size", width),
        layers=number("num_hidden_layers"),
        heads=heads,
        key_heads=keys if keys != heads else number("num_key_value_heads", heads),
        head_dim=number("head_dim", hidden // heads),
    )
    dense, experts = mlp(of)
    linears = (*attention(of), *dense)
    vocabulary, longest = number("vocab_size"), number("max_position_embeddings", 32768)
    layers, head_dim = of.layers, of.head_dim
    ups = sum(
        linear.out * (of.layers if linear.blocks is None else linear.blocks)
        for linear in dense
        if linear.name.endswith(("up_proj", "fc_in", "c_fc", "fc1", "dense_h_to_4h", "w3"))
    )
    if kind == "phi3":
        ups //= 2
    qk_norm = kind in _QK_NORM or bool(config.get("use_qk_norm"))
    quantization = config.get("quantization_config") or {}
    shape = Shape(
        model_type=kind,
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=(ups + experts.active // (3 * hidden)) // layers,
        layers=layers,
        heads=heads,
        key_value_heads=of.key_heads,
        head_dim=head_dim,
        longest=longest,
        tied=bool(config.get("tie_word_embeddings", kind in _TIED_BY_DEFAULT)),
        linears=linears,
        experts=experts.weights,
        experts_active=experts.active,
        gated=kind not in UNGATED,
        other_weights=others(of, vocabulary, longest),
        norms=(4 if kind in _FOUR_NORMS else 2) * hidden + (2 * head_dim if qk_norm else 0),
        qk_norm=qk_norm,
        quantization=quantization,
        share_not_quantized=0.0,
    )
    return _with_skipped(shape, quantization, name)


def bundled_config(name: str) -> Mapping[str, Json] | None:
    """Return the config of a model if it ships with the package, else None."""
    models = _bundled()
    config: Mapping[str, Json] | None = models["configs"].get(models["same_as"].get(name, name))
    return config


@cache
def _bundled() -> Mapping[str, Any]:
    models: Mapping[str, Any] = json.loads(BUNDLED.read_text())
    return models


def _with_skipped(shape: Shape, quantization: Mapping[str, Json], name: str) -> Shape:
    """Set the share of linear weights that are not quantized by the config (`llm_int8_skip_modules`)."""
    if not quantization:
        return shape
    skipped = quantization.get("llm_int8_skip_modules")
    if skipped is None:
        share = UNSLOTH_SHARE if "unsloth-bnb-4bit" in name.lower() else 0.0
    else:
        skipped_weights = sum(
            linear.weights
            for linear in shape.linears
            for index in range(shape.blocks(linear))
            if any(_under(f"model.layers.{index}.{linear.name}", str(module)) for module in skipped)
        )
        share = skipped_weights / max(1, shape.linear_weights)
    return Shape(**{**vars(shape), "share_not_quantized": share})


def _under(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.") or f".{module}." in f".{name}."


def _is_target(name: str, wanted: Json) -> bool:
    if wanted == "all-linear":
        return True
    if wanted is None:
        return name.endswith((".q_proj", ".v_proj", ".c_attn", ".qkv_proj"))  # peft's defaults for these families
    return _matches(name, wanted)


def _matches(name: str, wanted: Json) -> bool:
    """Match as peft does: a string is a regular expression for the whole name; a list has names or their ends."""
    if isinstance(wanted, str):
        pattern = _pattern(wanted)
        return pattern is None or pattern.is_valid(name) or pattern.is_valid(f"base_model.{name}")
    return any(name == ending or name.endswith(f".{ending}") for ending in wanted)


@cache
def _pattern(wanted: str) -> "jsonschema_rs.Validator | None":
    """Compile a regular expression for whole names; None if it is none, or none that can be matched in bounded time.

    Python's own engine takes for ever over some expressions, and a recipe may be a stranger's. This one counts its
    backtracking, and gives up.
    """
    import jsonschema_rs  # here: lists of names need no pattern

    if len(wanted) > _LONGEST_PATTERN:
        return None
    try:
        re.compile(wanted)
        return jsonschema_rs.validator_for(
            {"pattern": f"^(?:{wanted})$"},
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_MOST_BACKTRACKING, size_limit=1 << 20),
        )
    except (re.error, jsonschema_rs.ValidationError, RecursionError, OverflowError):
        return None


def lora_parameters(shape: Shape, adapter: Mapping[str, Json]) -> int:
    """Return the number of an adapter's weights: r x (in + out) per target layer (Hu et al. 2021, section 4).

    The largest rank in `r` and `rank_pattern` counts for all layers; DoRA has one more weight per row.
    """
    rank = max([int(adapter.get("r", 8)), *(int(r) for r in (adapter.get("rank_pattern") or {}).values())])
    dora = bool(adapter.get("use_dora"))
    weights = sum(
        count * (rank * (linear.inner + linear.out) + (linear.out if dora else 0))
        for linear, count in shape.targets(adapter)
    )
    if adapter.get("target_parameters"):
        weights += math.ceil(rank * shape.experts / max(1, min(shape.hidden_size, 512)))
    return weights


def fully_trained(shape: Shape, adapter: Mapping[str, Json]) -> int:
    """Return the number of weights that peft trains beside an adapter: embedding and head in `modules_to_save`."""
    saved = adapter.get("modules_to_save") or ()
    named = sum(any(str(module).endswith(kind) for module in saved) for kind in ("embed_tokens", "lm_head", "wte"))
    return named * shape.vocab_size * shape.hidden_size

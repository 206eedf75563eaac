"""Read a language model's shape from its `config.json`: which matrices it has and how large they are.

Pure arithmetic on the config's own names, without weights or torch. Facts that only the model's code knows (biases,
norms) are listed here by `model_type`; a test counts the real classes' parameters.
"""

import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
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

_QKV_BIAS = {"qwen2", "qwen2_moe", "starcoder2"}
"""Model types whose code gives the query, key and value projections a bias, whatever the config says."""
_QK_NORM = {"qwen3", "qwen3_moe", "gemma3", "gemma3_text", "olmo2", "olmo3"}
"""Model types that normalize queries and keys, each head by itself."""
_FOUR_NORMS = {"gemma2", "gemma3", "gemma3_text"}
"""Model types with norms also after attention and MLP."""
_UNGATED = {"gpt2", "gpt_neox", "opt", "bloom", "falcon", "phi", "starcoder2", "gpt_bigcode"}
"""Model types whose MLP is two matrices instead of three."""
_FORMER = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head",),
    "intermediate_size": ("n_inner", "ffn_dim"),
    "max_position_embeddings": ("n_positions", "n_ctx"),
}
"""Older names of the same facts."""
_TIED_BY_DEFAULT = {"gpt2", "gpt_bigcode", "gemma", "gemma2", "gemma3", "gemma3_text", "bloom", "opt"}


@dataclass(frozen=True)
class Linear:
    """One linear layer: ``out`` rows of ``inner`` weights."""

    name: str
    """Its name in the model, below the layer: ``self_attn.q_proj``."""
    inner: int
    out: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """How many weights the matrix has."""
        return self.inner * self.out


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
    """Weights of one block's experts. They are 3-dimensional parameters, neither quantized nor adapted."""
    experts_active: int
    """How many of these one token uses."""
    norms: int
    """Weights of one block's norms."""
    qk_norm: bool
    quantization: Mapping[str, Json]
    """The config's own `quantization_config`; empty: none."""
    share_not_quantized: float
    """The share of the linear layers' weights that stays in 16 bits in a quantized model."""

    @property
    def linear_weights(self) -> int:
        """Weights of all linear layers, without the head."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def embedding_weights(self) -> int:
        """Weights of embedding and head, which count once if tied."""
        return self.vocab_size * self.hidden_size * (1 if self.tied else 2)

    @property
    def small_weights(self) -> int:
        """Weights of norms and biases."""
        biases = sum(linear.out for linear in self.linears if linear.bias)
        return self.layers * (self.norms + biases) + self.hidden_size

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.linear_weights + self.layers * self.experts + self.embedding_weights + self.small_weights

    @property
    def active_parameters(self) -> int:
        """Weights that compute with one token: without the embedding, which is only looked up."""
        experts = self.layers * self.experts_active
        return self.linear_weights + experts + self.small_weights + self.vocab_size * self.hidden_size

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
            names = [f"model.layers.{index}.{linear.name}" for index in range(self.layers)]
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
    key_heads = number("num_key_value_heads", heads)
    head_dim = number("head_dim", hidden // heads)
    layers = number("num_hidden_layers")
    active, widths, experts = _mlp(config, kind, number, hidden)
    bias = bool(config.get("attention_bias"))
    linears = tuple(_linears(kind, hidden, heads * head_dim, key_heads * head_dim, widths, bias))
    qk_norm = kind in _QK_NORM or bool(config.get("use_qk_norm"))
    quantization = config.get("quantization_config") or {}
    shape = Shape(
        model_type=kind,
        vocab_size=number("vocab_size"),
        hidden_size=hidden,
        intermediate_size=sum(widths) + active // (3 * hidden) if experts else sum(widths),
        layers=layers,
        heads=heads,
        key_value_heads=key_heads,
        head_dim=head_dim,
        longest=number("max_position_embeddings", 32768),
        tied=bool(config.get("tie_word_embeddings", kind in _TIED_BY_DEFAULT)),
        linears=linears,
        experts=experts,
        experts_active=active,
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


def _linears(kind: str, hidden: int, queries: int, keys: int, widths: Sequence[int], bias: bool) -> Iterator[Linear]:
    if kind in ("gpt2", "gpt_bigcode"):
        yield Linear("attn.c_attn", hidden, queries + 2 * keys, True)
        yield Linear("attn.c_proj", queries, hidden, True)
        for width in widths:
            yield Linear("mlp.c_fc", hidden, width, True)
            yield Linear("mlp.c_proj", width, hidden, True)
        return
    if kind == "phi3":
        yield Linear("self_attn.qkv_proj", hidden, queries + 2 * keys)
        yield Linear("self_attn.o_proj", queries, hidden)
        for width in widths:
            yield Linear("mlp.gate_up_proj", hidden, 2 * width)
            yield Linear("mlp.down_proj", width, hidden)
        return
    qkv_bias = bias or kind in _QKV_BIAS
    yield Linear("self_attn.q_proj", hidden, queries, qkv_bias)
    yield Linear("self_attn.k_proj", hidden, keys, qkv_bias)
    yield Linear("self_attn.v_proj", hidden, keys, qkv_bias)
    yield Linear("self_attn.o_proj", queries, hidden, bias)
    for width in widths:
        if kind not in _UNGATED:
            yield Linear("mlp.gate_proj", hidden, width)
        yield Linear("mlp.up_proj", hidden, width)
        yield Linear("mlp.down_proj", width, hidden)


def _mlp(config: Mapping[str, Json], kind: str, number: Any, hidden: int) -> tuple[int, list[int], int]:
    """Return a block's (weights of the experts that a token uses, widths of dense MLPs, weights of all experts)."""
    experts = config.get("num_experts") or config.get("num_local_experts") or config.get("n_routed_experts") or 0
    default = 4 * hidden if kind in ("gpt2", "gpt_bigcode") else None
    if not experts:
        return 0, [number("intermediate_size", default)], 0
    width = int(config.get("moe_intermediate_size") or number("intermediate_size"))
    expert = 3 * hidden * width
    shared = int(config.get("shared_expert_intermediate_size") or 0)
    chosen = int(config.get("num_experts_per_tok") or 1)
    router = hidden * int(experts)
    return chosen * expert + router, [shared] if shared else [], int(experts) * expert + router


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
            for index in range(shape.layers)
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
        weights += shape.layers * math.ceil(rank * shape.experts / max(1, min(shape.hidden_size, 512)))
    return weights


def fully_trained(shape: Shape, adapter: Mapping[str, Json]) -> int:
    """Return the number of weights that peft trains beside an adapter: embedding and head in `modules_to_save`."""
    saved = adapter.get("modules_to_save") or ()
    named = sum(any(str(module).endswith(kind) for module in saved) for kind in ("embed_tokens", "lm_head", "wte"))
    return named * shape.vocab_size * shape.hidden_size

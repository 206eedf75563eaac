"""The matrices of a model's blocks, by family: what only the model's code says, read off transformers' classes.

A test counts the default config of every causal architecture of transformers against this.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.recipe.recipe import Json

UNGATED = frozenset(
    [
        "apertus",
        "arcee",
        "bloom",
        "codegen",
        "falcon",
        "fuyu",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gpt_neox_japanese",
        "gptj",
        "jais2",
        "mpt",
        "nanochat",
        "nemotron",
        "opt",
        "persimmon",
        "phi",
        "starcoder2",
        "xglm",
        "biogpt",
    ]
)
"""Model types whose MLP is two matrices instead of three."""
COMPARED = frozenset(
    [
        "apertus",
        "arcee",
        "aria_text",
        "axk2",
        "biogpt",
        "bitnet",
        "bloom",
        "codegen",
        "cohere",
        "cohere2",
        "cohere2_moe",
        "cwm",
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "diffllama",
        "emu3",
        "ernie4_5",
        "ernie4_5_moe",
        "exaone4",
        "falcon",
        "flex_olmo",
        "fuyu",
        "gemma",
        "gemma2",
        "gemma3_text",
        "gemma4",
        "gemma4_text",
        "glm",
        "glm4",
        "glm4_moe",
        "glm_moe_dsa",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gpt_oss",
        "gptj",
        "granite",
        "granite_swa",
        "granitemoe",
        "granitemoe_swa",
        "granitemoeshared",
        "helium",
        "hy_v3",
        "hyperclovax",
        "inkling2_text",
        "inkling_text",
        "internlm3",
        "iquestcoder",
        "jais2",
        "jamba",
        "kolibri1",
        "lfm2",
        "llama",
        "llama4",
        "llama4_text",
        "mellum",
        "minicpm3",
        "minimax_m2",
        "minimax_m3_vl_text",
        "ministral3",
        "mistral",
        "mixtral",
        "mllama",
        "modernbert-decoder",
        "mpt",
        "nanochat",
        "olmo",
        "olmo2",
        "olmo3",
        "olmoe",
        "opt",
        "persimmon",
        "phi",
        "phi3",
        "phimoe",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_5",
        "qwen3_5_moe",
        "qwen3_5_moe_text",
        "qwen3_5_text",
        "qwen3_moe",
        "qwen3_next",
        "seed_oss",
        "smollm3",
        "solar_open",
        "stablelm",
        "starcoder2",
        "vaultgemma",
        "youtu",
        "zaya",
    ]
)
"""Model types that a test has counted: of any other the plan says that nothing has checked its size."""
_QKV_BIAS = frozenset({"qwen2", "qwen2_moe", "starcoder2"})
"""Model types whose code gives the query, key and value projections a bias, whatever the config says."""
_FUSED = {
    "gpt2": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "gpt_bigcode": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "gpt_neox": ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "bloom": ("self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "falcon": ("self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "persimmon": ("self_attn.query_key_value", "self_attn.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "mpt": ("attn.Wqkv", "attn.out_proj", "ffn.up_proj", "ffn.down_proj"),
}
"""Names where one matrix makes queries, keys and values: (attention in, out, MLP up, down)."""
_WITH_BIAS = frozenset({"gpt2", "gpt_bigcode", "gpt_neox", "bloom", "persimmon"})
_OLD_NAMES = {
    "gptj": ("attn.{}_proj", "attn.out_proj", "mlp.fc_in", "mlp.fc_out"),
    "gpt_neo": ("attn.attention.{}_proj", "attn.attention.out_proj", "mlp.c_fc", "mlp.c_proj"),
    "opt": ("self_attn.{}_proj", "self_attn.out_proj", "fc1", "fc2"),
}


@dataclass(frozen=True)
class Linear:
    """One linear layer: ``out`` rows of ``inner`` weights."""

    name: str
    """Its name in the model, below the layer: ``self_attn.q_proj``."""
    inner: int
    out: int
    bias: bool = False
    blocks: int | None = None
    """How many of the model's blocks have it; None: all."""

    @property
    def weights(self) -> int:
        """How many weights the matrix has."""
        return self.inner * self.out


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """What a config says of every family."""

    kind: str
    config: Mapping[str, Json]
    hidden: int
    width: int
    """The dense MLP's."""
    layers: int
    heads: int
    key_heads: int
    head_dim: int

    def get(self, key: str, default: int = 0) -> int:
        """Return a whole number of the config."""
        value = self.config.get(key)
        return int(value) if isinstance(value, int | float) else default

    def count(self, kind: str) -> int:
        """Return how many blocks `layer_types` says are of a kind; all if it does not say."""
        types = self.config.get("layer_types")
        return sum(each == kind for each in types) if isinstance(types, list) and types else self.layers


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The experts of all blocks: 3-dimensional parameters."""

    weights: int = 0
    active: int = 0
    """How many of these one token uses, with the router."""
    blocks: int = 0


def key_heads(kind: str, config: Mapping[str, Json], heads: int) -> int:
    """Return the number of key heads if the config has another name for it, else `heads`."""
    if kind == "gpt_bigcode":
        return 1 if config.get("multi_query", True) else heads
    if kind == "falcon":
        if config.get("new_decoder_architecture"):
            return int(config.get("num_kv_heads") or heads)
        return 1 if config.get("multi_query", True) else heads
    return heads


def attention(of: Dimensions) -> Iterator[Linear]:
    """Yield the matrices that mix tokens."""
    kind, hidden = of.kind, of.hidden
    queries, keys = of.heads * of.head_dim, of.key_heads * of.head_dim
    bias = bool(of.config.get("attention_bias"))
    if kind in _FUSED:
        into, out, *_ = _FUSED[kind]
        bias = kind in _WITH_BIAS or bool(of.config.get("bias"))
        yield Linear(into, hidden, queries + 2 * keys, bias)
        yield Linear(out, queries, hidden, bias)
    elif kind == "phi3":
        yield Linear("self_attn.qkv_proj", hidden, queries + 2 * keys)
        yield Linear("self_attn.o_proj", queries, hidden)
    elif kind in _OLD_NAMES:
        into, out, *_ = _OLD_NAMES[kind]
        for name, width in (("q", queries), ("k", keys), ("v", keys)):
            yield Linear(into.format(name), hidden, width, kind == "opt")
        yield Linear(out, queries, hidden, kind != "gptj")
    elif of.get("kv_lora_rank"):
        yield from _latent(of)
    elif kind == "gemma4_text":
        yield from _two_widths(of)
    elif kind in ("qwen3_5_text", "qwen3_5_moe_text", "qwen3_next"):
        yield from _gated_delta(of, keys)
    elif kind == "jamba":
        yield from _jamba(of, queries, keys)
    else:
        yield from _plain(of, queries, keys, bias)


def _plain(of: Dimensions, queries: int, keys: int, bias: bool) -> Iterator[Linear]:
    blocks = None
    if of.kind in ("lfm2", "lfm2_moe"):
        blocks = of.count("full_attention")
        yield Linear("conv.in_proj", of.hidden, 3 * of.hidden, blocks=of.layers - blocks)
        yield Linear("conv.out_proj", of.hidden, of.hidden, blocks=of.layers - blocks)
    out = "self_attn.out_proj" if blocks is not None else "self_attn.o_proj"
    qkv_bias = bias or of.kind in _QKV_BIAS
    yield Linear("self_attn.q_proj", of.hidden, queries, qkv_bias, blocks)
    yield Linear("self_attn.k_proj", of.hidden, keys, qkv_bias, blocks)
    yield Linear("self_attn.v_proj", of.hidden, keys, qkv_bias, blocks)
    yield Linear(out, queries, of.hidden, bias, blocks)


def _latent(of: Dimensions) -> Iterator[Linear]:
    """Yield DeepSeek's latent attention (DeepSeek-AI 2024, section 2.1)."""
    rope, nope, value = of.get("qk_rope_head_dim", 64), of.get("qk_nope_head_dim", 128), of.get("v_head_dim", 128)
    latent, of_queries = of.get("kv_lora_rank"), of.get("q_lora_rank")
    if of_queries:
        yield Linear("self_attn.q_a_proj", of.hidden, of_queries)
        yield Linear("self_attn.q_b_proj", of_queries, of.heads * (nope + rope))
    else:
        yield Linear("self_attn.q_proj", of.hidden, of.heads * (nope + rope))
    yield Linear("self_attn.kv_a_proj_with_mqa", of.hidden, latent + rope)
    yield Linear("self_attn.kv_b_proj", latent, of.heads * (nope + value))
    yield Linear("self_attn.o_proj", of.heads * value, of.hidden)


def _two_widths(of: Dimensions) -> Iterator[Linear]:
    """Yield Gemma 4's attention, whose heads are wider where it looks at all tokens."""
    sliding = of.count("sliding_attention")
    for blocks, width, keys in (
        (sliding, of.head_dim, of.key_heads),
        (of.layers - sliding, of.get("global_head_dim", 512), of.get("num_global_key_value_heads") or of.key_heads),
    ):
        yield Linear("self_attn.q_proj", of.hidden, of.heads * width, blocks=blocks)
        yield Linear("self_attn.k_proj", of.hidden, keys * width, blocks=blocks)
        if blocks == sliding or not of.config.get("attention_k_eq_v"):
            yield Linear("self_attn.v_proj", of.hidden, keys * width, blocks=blocks)
        yield Linear("self_attn.o_proj", of.heads * width, of.hidden, blocks=blocks)
    if each := of.get("hidden_size_per_layer_input"):
        yield Linear("per_layer_input_gate", of.hidden, each)
        yield Linear("per_layer_projection", each, of.hidden)


def _gated_delta(of: Dimensions, keys: int) -> Iterator[Linear]:
    """Yield Qwen 3.5's blocks: some with gated attention, the others with a gated delta rule."""
    full = of.count("full_attention")
    queries = of.heads * of.head_dim
    yield Linear("self_attn.q_proj", of.hidden, 2 * queries, blocks=full)
    yield Linear("self_attn.k_proj", of.hidden, keys, blocks=full)
    yield Linear("self_attn.v_proj", of.hidden, keys, blocks=full)
    yield Linear("self_attn.o_proj", queries, of.hidden, blocks=full)
    key = of.get("linear_num_key_heads") * of.get("linear_key_head_dim")
    values = of.get("linear_num_value_heads")
    value, rest = values * of.get("linear_value_head_dim"), of.layers - full
    yield Linear("linear_attn.in_proj_qkv", of.hidden, 2 * key + value, blocks=rest)
    yield Linear("linear_attn.in_proj_z", of.hidden, value, blocks=rest)
    yield Linear("linear_attn.in_proj_b", of.hidden, values, blocks=rest)
    yield Linear("linear_attn.in_proj_a", of.hidden, values, blocks=rest)
    yield Linear("linear_attn.out_proj", value, of.hidden, blocks=rest)


def _jamba(of: Dimensions, queries: int, keys: int) -> Iterator[Linear]:
    """Yield Jamba's blocks: one of some with attention, the others with Mamba."""
    attending = _every(of, "attn_layer_period", "attn_layer_offset")
    inner, rank, state = of.get("mamba_expand", 2) * of.hidden, of.get("mamba_dt_rank"), of.get("mamba_d_state", 16)
    rank = rank or -(-of.hidden // 16)
    yield Linear("self_attn.q_proj", of.hidden, queries, blocks=attending)
    yield Linear("self_attn.k_proj", of.hidden, keys, blocks=attending)
    yield Linear("self_attn.v_proj", of.hidden, keys, blocks=attending)
    yield Linear("self_attn.o_proj", queries, of.hidden, blocks=attending)
    rest = of.layers - attending
    yield Linear("mamba.in_proj", of.hidden, 2 * inner, blocks=rest)
    yield Linear("mamba.x_proj", inner, rank + 2 * state, blocks=rest)
    yield Linear("mamba.dt_proj", rank, inner, True, blocks=rest)
    yield Linear("mamba.out_proj", inner, of.hidden, blocks=rest)


def _every(of: Dimensions, period: str, offset: str) -> int:
    return sum(block % max(1, of.get(period, 1)) == of.get(offset) for block in range(of.layers))


def mlp(of: Dimensions) -> tuple[list[Linear], Experts]:
    """Return the matrices of the MLPs, and the experts."""
    counts = (of.get(key) for key in ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"))
    number = next((count for count in counts if count), 0)
    if of.kind == "gemma4_text" and not of.config.get("enable_moe_block"):
        number = 0
    if not number:
        return list(_dense(of, of.width, None)), Experts()
    width = of.get("moe_intermediate_size") or of.width
    blocks = _blocks_with_experts(of)
    chosen = next((n for key in ("num_experts_per_tok", "moe_k", "num_experts_per_token") if (n := of.get(key))), 1)
    router, expert = of.hidden * number, 3 * of.hidden * width
    found = Experts(
        weights=blocks * (number * expert + router), active=blocks * (chosen * expert + router), blocks=blocks
    )
    shared = of.get("shared_expert_intermediate_size") or of.get("shared_intermediate_size")
    shared = shared or width * (of.get("n_shared_experts") or of.get("moe_num_shared_experts"))
    dense = of.width
    if of.kind == "llama4_text":
        shared, dense = of.width, of.get("intermediate_size_mlp", of.width)
    linears = list(_dense(of, dense, of.layers - blocks)) if blocks < of.layers else []
    if shared:
        linears += _dense(of, shared, blocks, below="mlp.shared_experts.")
    return linears, found


def _blocks_with_experts(of: Dimensions) -> int:
    if of.kind == "jamba":
        return _every(of, "expert_layer_period", "expert_layer_offset")
    if of.kind == "ernie4_5_moe":
        first, last = of.get("moe_layer_start_index"), of.get("moe_layer_end_index", of.layers - 1)
        last = of.layers - 1 if last < 0 else last
        step = max(1, of.get("moe_layer_interval", 1))
        return sum((block + 1) % step == 0 and first <= block <= last for block in range(of.layers))
    if of.kind == "llama4_text":
        listed = of.config.get("moe_layers")
        step = max(1, of.get("interleave_moe_layer_step", 1))
        return len(listed) if isinstance(listed, list) else of.layers // step
    if of.kind in ("qwen2_moe", "qwen3_moe"):
        only = of.config.get("mlp_only_layers")
        step = max(1, of.get("decoder_sparse_step", 1))
        listed = only if isinstance(only, list) else []
        return sum(block not in listed and (block + 1) % step == 0 for block in range(of.layers))
    return of.layers - min(of.layers, of.get("first_k_dense_replace") or of.get("num_dense_layers"))


def _dense(of: Dimensions, width: int, blocks: int | None, *, below: str = "mlp.") -> Iterator[Linear]:
    kind, hidden = of.kind, of.hidden
    if kind == "phi3":
        yield Linear("mlp.gate_up_proj", hidden, 2 * width)
        yield Linear("mlp.down_proj", width, hidden)
        return
    if names := _FUSED.get(kind) or _OLD_NAMES.get(kind):
        bias = kind in _WITH_BIAS or kind in _OLD_NAMES
        yield Linear(names[2], hidden, width, bias)
        yield Linear(names[3], width, hidden, bias)
        return
    gate, up, down = "gate_proj", "up_proj", "down_proj"
    if kind in ("lfm2", "lfm2_moe"):
        below, gate, up, down = "feed_forward.", "w1", "w3", "w2"
        if of.config.get("block_auto_adjust_ff_dim", True):
            width = int(2 * width / 3)
            multiple = of.get("block_multiple_of", 256)
            width = -(-width // multiple) * multiple
    if kind not in UNGATED:
        yield Linear(below + gate, hidden, width, blocks=blocks)
    yield Linear(below + up, hidden, width, blocks=blocks)
    yield Linear(below + down, width, hidden, blocks=blocks)


def others(of: Dimensions, vocabulary: int, longest: int) -> int:
    """Return the weights that are neither in a linear layer of a block, nor its norms, nor embedding or head."""
    if of.kind in ("gpt2", "gpt_bigcode", "opt", "gpt_neo"):
        return (longest + (2 if of.kind == "opt" else 0)) * of.hidden  # positions
    if of.kind == "mpt":
        return 0
    if of.kind == "gemma4_text" and (each := of.get("hidden_size_per_layer_input")):
        width = of.layers * each
        return of.get("vocab_size_per_layer_input", vocabulary) * width + width * of.hidden
    if of.kind == "jamba":
        inner = of.get("mamba_expand", 2) * of.hidden
        each = inner * (of.get("mamba_d_state", 16) + of.get("mamba_d_conv", 4) + 2)
        return each * (of.layers - _every(of, "attn_layer_period", "attn_layer_offset"))
    return 0

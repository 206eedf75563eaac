"""Estimate the GPU memory of a training: one term for each purpose, each with its source.

Pure arithmetic on a model's `Shape` and a `Setup`. The activation terms count, tensor by tensor, what autograd keeps in
transformers' and peft's own code; a test measures this with torch's saved-tensor hooks. See docs/plan.md.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from runner.fit.accelerators import GIB
from runner.fit.model_shape import Shape
from runner.fit.optimizers import Optimizer
from runner.recipe.strategy import Strategy

Attention: TypeAlias = Literal["sdpa", "eager", "flash_attention_2"]

CONTEXT_BYTES = 0.5 * GIB
"""CUDA's context with its loaded kernels, and cuBLAS' workspaces: 0.3 to 0.5 GiB by GPU and driver."""
NCCL_BYTES = 0.4 * GIB
"""NCCL's buffers and channels, with several GPUs."""
FRAGMENTATION = 0.05
"""What torch's caching allocator holds but cannot use, as a share of the memory that a step allocates and frees."""
FOUR_BIT = 0.5 + 4 / 64
"""Bytes of a 4-bit weight: half a byte, and a float32 scale for each block of 64 (Dettmers et al. 2023, section 3)."""
FOUR_BIT_DOUBLE = 0.5 + 1 / 64 + 4 / (64 * 256)
"""The same with double quantization: scales of 8 bits, with a float32 for each 256 of them: 0.127 bits a weight."""
EIGHT_BIT = 1.0
"""Bytes of an LLM.int8() weight; the scale of each row is negligible."""
TILE_TOKENS, TILE_VOCABULARY = 4096, 32768
"""Tokens and vocabulary entries per tile of TRL's fused head for log-probabilities (trl.kernels.chunked_logprob)."""
ZERO_BUCKET = 5e8
"""DeepSpeed's default `reduce_bucket_size` and `allgather_bucket_size`, in numbers."""
ZERO3_LIVE = 1e9
"""DeepSpeed's default `stage3_max_live_parameters`: how many gathered weights are kept before they are released."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training as one GPU sees it."""

    shape: Shape
    """The model."""
    method: Literal["sft", "cpt", "dpo", "grpo"] = "sft"
    micro_batch: int
    """Rows in one forward pass: pairs for DPO, completions for GRPO."""
    length: int
    """Tokens per row, with padding; for GRPO prompt plus completion."""
    checkpointing: bool
    """Whether activations are recomputed in the backward pass."""
    adapter_weights: int = 0
    """Weights of the adapter; 0: none."""
    adapter_inputs: tuple[int, ...] = ()
    """Input widths of one block's adapted layers."""
    adapter_dropout: bool = False
    rank: int = 0
    fully_trained: int = 0
    """Weights trained directly: all of them, or `modules_to_save`."""
    quantized_bits: Literal[0, 4, 8] = 0
    double_quantization: bool = False
    weight_bytes: float = 4
    """Bytes of a weight that is not quantized, as loaded; the residual stream has the same type."""
    compute_bytes: float = 2
    """Bytes of a number in matrix arithmetic: 2 in mixed precision."""
    adapter_bytes: float = 4
    """Bytes of an adapter's weight: peft makes them float32, TRL bfloat16 on a quantized base."""
    optimizer: Optimizer
    reference: bool = False
    """Whether there is a second, frozen copy of the model (DPO and GRPO without an adapter)."""
    attention: Attention = "sdpa"
    padded: bool = True
    """Whether attention needs a mask, because rows are padded, or packed and separated by the mask."""
    packed: bool = False
    """Whether a micro-batch is one long packed row (packing, padding-free)."""
    fused_head: bool = True
    """Whether log-probabilities come from TRL's fused head, in tiles, or from the whole logits, as before TRL 1.10."""
    evaluation_batch: int = 0
    """Rows of one evaluation pass; 0: no evaluation."""
    generated: int = 0
    """Completions generated at a time; 0: none."""
    completion: int = 0
    """Tokens of a completion."""
    devices: int = 1
    """Number of GPUs on all machines."""
    strategy: Strategy = "ddp"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one GPU at the peak, by purpose."""

    weights: float
    """The model's weights, as loaded or as ZeRO holds them."""
    reference: float
    """The frozen copy that DPO and GRPO compare with."""
    adapter: float
    gradients: float
    optimizer: float
    """The optimizer's state, and ZeRO's float32 copy of the trained weights."""
    buckets: float
    """Communication buffers of DDP and ZeRO."""
    activations: float
    """Kept for the backward pass."""
    head: float
    """Log-probabilities: tiles of logits, or all of them."""
    working: float
    """Temporary memory of one block's backward pass, beyond what the head used and has freed by then."""
    besides: float
    """What generation or evaluation needs beyond training."""
    context: float
    """CUDA and NCCL."""
    fragmentation: float

    @property
    def total(self) -> float:
        """Bytes."""
        return float(sum(vars(self).values()))

    @property
    def gib(self) -> float:
        """GiB."""
        return self.total / GIB


def estimate(setup: Setup) -> Memory:
    """Estimate the peak memory of one GPU.

    The permanent part, plus the largest temporary part of training, evaluation and generation.
    """
    weights, reference = _weights(setup), _reference(setup)
    adapter, gradients, optimizer, buckets = _trained(setup)
    head = _head(setup)
    activations, temporary = _activations(setup)
    training = activations + max(head, temporary)
    besides = max(0.0, _evaluating(setup) - training, _generating(setup) - training)
    return Memory(
        weights=weights,
        reference=reference,
        adapter=adapter,
        gradients=gradients,
        optimizer=optimizer,
        buckets=buckets,
        activations=activations,
        head=head,
        working=max(0.0, temporary - head),
        besides=besides,
        context=CONTEXT_BYTES + (NCCL_BYTES if setup.devices > 1 else 0),
        fragmentation=FRAGMENTATION * (training + besides + gradients),
    )


def base_bytes(setup: Setup) -> float:
    """Return the bytes of the model's weights on one GPU that holds all of them."""
    shape = setup.shape
    per_linear = setup.weight_bytes
    if setup.quantized_bits == 4:
        per_linear = FOUR_BIT_DOUBLE if setup.double_quantization else FOUR_BIT
    elif setup.quantized_bits == 8:
        per_linear = EIGHT_BIT
    skipped = shape.share_not_quantized if setup.quantized_bits else 0.0
    linear = shape.linear_weights * (skipped * setup.weight_bytes + (1 - skipped) * per_linear)
    rest = shape.layers * shape.experts + shape.embedding_weights + shape.small_weights
    return linear + rest * setup.weight_bytes


def _weights(setup: Setup) -> float:
    """Return the bytes of the weights: as loaded; with ZeRO in 16 bits; with ZeRO-3 a shard plus the gathered ones.

    ZeRO: Rajbhandari et al. 2020, figure 1.
    """
    if setup.strategy == "ddp" or (setup.devices == 1 and "offload" not in setup.strategy):
        return base_bytes(setup)
    whole = min(base_bytes(setup), setup.shape.parameters * max(2.0, min(setup.weight_bytes, setup.compute_bytes)))
    if not setup.strategy.startswith("zero3"):
        return whole
    live = min(whole, ZERO3_LIVE * 2)
    return live + (0 if setup.strategy == "zero3_offload" else whole / setup.devices)


def _reference(setup: Setup) -> float:
    if not setup.reference:
        return 0.0
    whole = base_bytes(setup)
    return whole / setup.devices if setup.strategy.startswith("zero3") else whole


def _trained(setup: Setup) -> tuple[float, float, float, float]:
    """Return the bytes of (adapter, gradients, optimizer, buckets).

    Without ZeRO, gradients and states have the weight's type; DDP holds gradients a second time, in buckets. With ZeRO
    (Rajbhandari et al. 2020, section 5) there are 16-bit weights, and a shard of the 16-bit gradients, of float32
    weights and gradients, and of the states. With offloading that shard is in main memory.
    """
    adapter_weights, full, n = setup.adapter_weights, setup.fully_trained, setup.devices
    trained = adapter_weights + full
    copies = full * setup.weight_bytes if adapter_weights else 0.0  # `modules_to_save` are copies
    if setup.strategy == "ddp" or (n == 1 and "offload" not in setup.strategy):
        adapter = adapter_weights * setup.adapter_bytes + copies
        gradients = adapter_weights * setup.adapter_bytes + full * setup.weight_bytes
        states = setup.optimizer.state_bytes(adapter_weights, setup.adapter_bytes)
        states += setup.optimizer.state_bytes(full, setup.weight_bytes)
        return adapter, gradients, states, gradients if n > 1 else 0.0
    adapter = adapter_weights * 2.0 + copies
    buckets = 2 * 2 * min(trained, ZERO_BUCKET)
    if "offload" in setup.strategy:
        return adapter, 2.0 * trained / n, 0.0, buckets
    states = (4 * trained + setup.optimizer.state_bytes(trained, 4)) / n
    gradients = (2 + 4) * trained / n
    return adapter, gradients, states, buckets


def tokens(setup: Setup) -> int:
    """Return the tokens of one forward pass. DPO puts chosen and rejected answers into one pass."""
    return setup.micro_batch * setup.length * (2 if setup.method == "dpo" else 1)


def layer_bytes_per_token(setup: Setup) -> float:
    """Return the bytes that autograd keeps of one block per token, without checkpointing.

    Counted in transformers' Llama, Qwen 2 and Qwen 3 under autocast and in peft's `Linear`. A norm works in float32. A
    linear layer keeps its input if its own weight or an adapter's is trained, as a copy if autocast or peft has to
    change its type. Attention keeps queries, keys, values (repeated for each query head) and its output. A gated MLP
    keeps three products.
    """
    shape, c, e = setup.shape, setup.compute_bytes, setup.weight_bytes
    h, i, q, k = shape.hidden_size, shape.intermediate_size, shape.query_width, shape.key_width
    everything_trained = setup.fully_trained > 0 and not setup.adapter_weights
    norms = max(2, round((shape.norms - (2 * shape.head_dim if shape.qk_norm else 0)) / h))
    total = norms * (4 * h + 4 + (e * h if everything_trained else 0))
    if shape.qk_norm:
        total += 4 * (q + k) + 4 * (shape.heads + shape.key_value_heads) + (c * (q + k) if everything_trained else 0)
    total += c * 4 * q + 4 * shape.heads
    row = tokens(setup) if setup.packed else setup.length
    if setup.attention == "eager":
        total += (4 + 2 * c) * shape.heads * row
    elif setup.padded:
        total += c * row  # the additive mask, created again in each layer
    total += c * 3 * i
    if everything_trained:
        total += c * ((3 + 2) * h if e != c else 2 * h) + c * i
    elif setup.adapter_weights:
        a = setup.adapter_bytes
        inputs = setup.adapter_inputs
        if e != c or a != e or setup.adapter_dropout:
            total += c * sum(inputs)
        else:
            total += c * (2 * h + i)  # queries, keys and values share their input, and so do gate and up
        total += c * setup.rank * len(inputs) + (sum(inputs) if setup.adapter_dropout else 0)
    return total


def _layer_copies(setup: Setup) -> float:
    """Return the bytes of the 16-bit copies of one block's float32 weights that autocast makes and autograd keeps."""
    copies = 0.0
    if setup.weight_bytes > setup.compute_bytes and not setup.quantized_bits:
        copies += setup.compute_bytes * (setup.shape.linear_weights / setup.shape.layers + setup.shape.experts)
    if setup.adapter_bytes > setup.compute_bytes:
        copies += setup.compute_bytes * setup.adapter_weights / setup.shape.layers
    return copies


def _backward_temporary(setup: Setup) -> float:
    """Return temporary bytes of one block's backward pass: gradients of its MLP, and of its largest trained matrix."""
    shape, c = setup.shape, setup.compute_bytes
    each = c * 3 * shape.intermediate_size + (setup.weight_bytes + 4) * shape.hidden_size
    if setup.adapter_weights and setup.adapter_bytes > c:
        each += 4 * shape.intermediate_size
    largest = max(linear.weights for linear in shape.linears)
    matrix = 0.0
    if setup.fully_trained and not setup.adapter_weights:
        matrix = largest * (c + setup.weight_bytes)
    elif setup.quantized_bits:
        matrix = largest * c  # converted back to 16 bits for the product
    return tokens(setup) * each + matrix


def _activations(setup: Setup) -> tuple[float, float]:
    """Return the bytes (kept until the backward pass, temporary in one block's backward pass).

    All blocks' activations; with checkpointing each block's input, and one block's activations at a time (Chen et al.
    2016).
    """
    shape, t = setup.shape, tokens(setup)
    layer = t * layer_bytes_per_token(setup) + _layer_copies(setup)
    ends = t * shape.hidden_size * (4 + setup.weight_bytes)  # the last norm
    if not setup.checkpointing:
        return shape.layers * layer + ends, _backward_temporary(setup)
    inputs = shape.layers * t * shape.hidden_size * setup.weight_bytes
    cached = 0.0
    if setup.fully_trained and not setup.adapter_weights:
        cached = (shape.layers - 1) * _layer_copies(setup)  # autocast keeps copies of trained weights until its end
    return inputs + cached + ends, layer + _backward_temporary(setup)


def _head(setup: Setup) -> float:
    """Return the bytes between the last hidden states and the log-probabilities.

    TRL's fused head needs one tile of logits, the hidden states with their float32 gradient, and a float32 gradient of
    the head if that is trained. Otherwise: the logits in 16 bits, in float32 for the loss, and their gradient.
    """
    shape, t, c = setup.shape, tokens(setup), setup.compute_bytes
    if not setup.fused_head:
        passes = 2 if setup.method == "dpo" else 1  # plus the reference's log-probabilities
        return t * shape.vocab_size * (c + 4 + 4) + (passes - 1) * t * shape.vocab_size * (c + 4)
    fused = min(t, TILE_TOKENS) * TILE_VOCABULARY * c + t * shape.hidden_size * (c + 4 + setup.weight_bytes)
    if setup.fully_trained:
        fused += shape.vocab_size * shape.hidden_size * 4
    if setup.weight_bytes > c:
        fused += min(TILE_VOCABULARY, shape.vocab_size) * shape.hidden_size * c
    return fused


def _forward_per_token(setup: Setup) -> float:
    """Return temporary bytes per token of one block's forward pass when autograd keeps nothing."""
    shape, c = setup.shape, setup.compute_bytes
    each = (2 * setup.weight_bytes + 4) * shape.hidden_size + c * (4 * shape.query_width + 3 * shape.intermediate_size)
    return each + (4 * shape.intermediate_size if setup.adapter_weights and setup.adapter_bytes > c else 0)


def _evaluating(setup: Setup) -> float:
    """Return temporary bytes of one evaluation pass."""
    rows = setup.evaluation_batch * (2 if setup.method == "dpo" else 1)
    if not rows:
        return 0.0
    t = rows * setup.length
    head = min(t, TILE_TOKENS) * TILE_VOCABULARY * setup.compute_bytes
    if not setup.fused_head:
        head = t * setup.shape.vocab_size * (setup.compute_bytes + 4)
    return t * _forward_per_token(setup) + head


def _generating(setup: Setup) -> float:
    """Return temporary bytes of generating GRPO's completions: key-value cache, the prompts' forward pass, logits.

    The cache has two vectors of all key heads per token and block. Sampling needs the logits in 16 and 32 bits, sorted,
    and as probabilities. With ZeRO-3 TRL gathers all weights to generate (`ds3_gather_for_generation`).
    """
    if not setup.generated:
        return 0.0
    shape, c = setup.shape, setup.compute_bytes
    gathered = base_bytes(setup) if setup.strategy.startswith("zero3") else 0.0
    cache = setup.generated * setup.length * shape.layers * 2 * shape.key_width * c
    prompts = setup.generated * max(0, setup.length - setup.completion) * _forward_per_token(setup)
    return gathered + cache + prompts + setup.generated * shape.vocab_size * (c + 4 * 4)

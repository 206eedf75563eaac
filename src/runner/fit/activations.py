"""Memory of a pass through the model: what autograd keeps, what is temporary, and the head's log-probabilities.

The terms count, tensor by tensor, what autograd keeps in transformers' and peft's own code; a test measures this with
torch's saved-tensor hooks.
"""

from runner.fit.setup import Setup
from runner.fit.states import base_bytes

TILE_TOKENS, TILE_VOCABULARY = 512, 32768
"""Tokens and vocabulary entries per tile of TRL's fused head (trl.kernels.chunked_logprob); runner sets the tokens
where there is no Triton (`runner.train.devices.triton`)."""
TILE_BYTES = 31
"""Bytes of an entry of a tile in the backward pass of TRL's torch fallback: the tile (2), five float32 numbers, and of
the target's gradient a boolean and two float32 numbers (`_backward_tile`)."""
TRITON_TILE = 4096 * 32768 * 2
"""Bytes of a tile in 16 bits with Triton, which works in place on tiles of TRL's own size."""
WHOLE_LOGITS = 12
"""Bytes of an entry of whole logits in the backward pass of a cross-entropy: its log-softmax, and the gradients of the
loss by it and by the logits, in float32."""


def layer_bytes_per_token(setup: Setup) -> float:
    """Return the bytes that autograd keeps of one block per token, without checkpointing.

    Counted in transformers' Llama, Qwen 2 and Qwen 3 under autocast and in peft's `Linear`. A norm works in float32. A
    linear layer keeps its input if its own weight or an adapter's is trained, as a copy if autocast or peft has to
    change its type. Attention keeps queries, keys, values (repeated for each query head) and its output. A gated MLP
    keeps three products.
    """
    shape, c, e = setup.shape, setup.compute_bytes, setup.weight_bytes
    h, i, q, k = shape.hidden_size, shape.intermediate_size, shape.query_width, shape.key_width
    everything_trained = setup.trains_all
    norms = max(2, round((shape.norms - (2 * shape.head_dim if shape.qk_norm else 0)) / h))
    total = norms * (4 * h + 4 + (e * h if everything_trained else 0))
    if shape.qk_norm:
        total += 4 * (q + k) + 4 * (shape.heads + shape.key_value_heads) + (c * (q + k) if everything_trained else 0)
    total += c * 4 * q + 4 * shape.heads
    row = setup.tokens if setup.packed else setup.length
    if setup.attention == "eager":
        total += (4 + 2 * c) * shape.heads * row
    elif setup.padded:
        total += c * row  # the additive mask, created again in each layer
    total += c * (3 if shape.gated else 2) * i
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


def layer_copies(setup: Setup) -> float:
    """Return the bytes of the 16-bit copies of one block's float32 weights that autocast makes and autograd keeps."""
    copies = 0.0
    if setup.weight_bytes > setup.compute_bytes and not setup.quantized_bits:
        copies += setup.compute_bytes * (setup.shape.linear_weights + setup.shape.experts) / setup.shape.layers
    if setup.adapter_bytes > setup.compute_bytes:
        copies += setup.compute_bytes * setup.adapter_weights / setup.shape.layers
    return copies


def backward_temporary(setup: Setup) -> float:
    """Return temporary bytes of one block's backward pass: gradients of its MLP, and of its largest trained matrix."""
    shape, c = setup.shape, setup.compute_bytes
    each = c * (3 if shape.gated else 2) * shape.intermediate_size + (setup.weight_bytes + 4) * shape.hidden_size
    if setup.adapter_weights and setup.adapter_bytes > c:
        each += 4 * shape.intermediate_size
    largest = max(linear.weights for linear in shape.linears)
    matrix = 0.0
    if setup.trains_all:
        matrix = largest * (c + setup.weight_bytes)
    elif setup.quantized_bits:
        matrix = largest * c  # converted back to 16 bits for the product
    return setup.tokens * each + matrix


def kept(setup: Setup) -> tuple[float, float]:
    """Return the bytes that autograd keeps of (all blocks until the backward pass, one block recomputed in it).

    With checkpointing each block's input, and one block's activations at a time (Chen et al. 2016).
    """
    shape, t = setup.shape, setup.tokens
    layer = t * layer_bytes_per_token(setup) + layer_copies(setup)
    if not setup.checkpointing:
        return shape.layers * layer, 0.0
    return shape.layers * t * shape.hidden_size * setup.weight_bytes, layer


def last_norm(setup: Setup) -> float:
    """Return the bytes that autograd keeps between the last block and the head."""
    return setup.tokens * setup.shape.hidden_size * (4 + setup.weight_bytes)


def forward_copies(setup: Setup) -> float:
    """Return the 16-bit copies of trained float32 weights that autocast keeps until the forward pass ends.

    Without checkpointing autograd keeps them as well, and they count with the activations.
    """
    if not setup.checkpointing or not setup.trains_all:
        return 0.0
    return setup.shape.layers * layer_copies(setup)


def head_forward(setup: Setup) -> float:
    """Return the bytes of the head in the forward pass: a tile, or logits in 16 bits, in float32, and a log-softmax."""
    shape, t, c = setup.shape, setup.tokens, setup.compute_bytes
    if setup.fused_head:
        return _tile(setup, t) + t * shape.hidden_size * c
    return t * shape.vocab_size * (c + 4 + 4)


def head_backward(setup: Setup) -> float:
    """Return the bytes between the last hidden states and the log-probabilities in the backward pass.

    TRL's fused head needs one tile of logits, the hidden states with their float32 gradient, and a float32 gradient of
    the head if that is trained.
    """
    shape, t, c = setup.shape, setup.tokens, setup.compute_bytes
    if not setup.fused_head:
        return t * (shape.vocab_size * WHOLE_LOGITS + shape.hidden_size * c)
    fused = _tile(setup, t) + t * shape.hidden_size * (c + 4 + setup.weight_bytes)
    if setup.fully_trained:
        fused += shape.vocab_size * shape.hidden_size * 4
    if setup.weight_bytes > c:
        fused += min(TILE_VOCABULARY, shape.vocab_size) * shape.hidden_size * c
    return fused


def _tile(setup: Setup, tokens: int) -> float:
    width = min(TILE_VOCABULARY, setup.shape.vocab_size)
    return max(min(tokens, TILE_TOKENS) * width * TILE_BYTES, min(TRITON_TILE, tokens * width * 2))


def _forward_per_token(setup: Setup) -> float:
    """Return temporary bytes per token of one block's forward pass when autograd keeps nothing."""
    shape, c = setup.shape, setup.compute_bytes
    each = (2 * setup.weight_bytes + 4) * shape.hidden_size + c * (4 * shape.query_width + 3 * shape.intermediate_size)
    return each + (4 * shape.intermediate_size if setup.adapter_weights and setup.adapter_bytes > c else 0)


def evaluating(setup: Setup) -> float:
    """Return temporary bytes of one evaluation pass."""
    rows = setup.evaluation_batch * (2 if setup.method == "dpo" else 1)
    if not rows:
        return 0.0
    t = rows * setup.length
    head = _tile(setup, t)
    if not setup.fused_head:
        head = t * setup.shape.vocab_size * (setup.compute_bytes + 4)
    return t * _forward_per_token(setup) + head


def generating(setup: Setup) -> float:
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

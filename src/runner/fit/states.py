"""Memory of what a training holds from step to step: weights, gradients, the optimizer's states, buffers."""

from dataclasses import dataclass

from runner.fit.setup import Setup

FOUR_BIT = 0.5 + 4 / 64
"""Bytes of a 4-bit weight: half a byte, and a float32 scale for each block of 64 (Dettmers et al. 2023, section 3)."""
FOUR_BIT_DOUBLE = 0.5 + 1 / 64 + 4 / (64 * 256)
"""The same with double quantization: scales of 8 bits, with a float32 for each 256 of them: 0.127 bits a weight."""
EIGHT_BIT = 1.0
"""Bytes of an LLM.int8() weight; the scale of each row is negligible."""
ZERO2_BUCKETS = 2 * 5e8 * 2
"""Bytes of DeepSpeed's `reduce_bucket_size`, 5e8 numbers of 16 bits, twice with `overlap_comm`; they are allocated
whole, however little is trained (`DeepSpeedZeroOptimizer.setup_buckets`)."""
ZERO3_LIVE = 1e9
"""DeepSpeed's default `stage3_max_live_parameters`: how many gathered weights are kept before they are released."""
ZERO3_SUB_GROUP = 1e9
"""DeepSpeed's default `sub_group_size`: ZeRO-3 steps so many of a GPU's weights at a time."""


@dataclass(frozen=True, kw_only=True)
class States:
    """Bytes of the trained part on one GPU."""

    adapter: float
    gradients: float
    """Of all trained weights, once the backward pass has made them."""
    always: float
    """What of the gradients exists all the time, as a buffer."""
    optimizer: float
    """The optimizer's state, and ZeRO's float32 copy of the trained weights."""
    buckets: float
    """Communication buffers."""
    stepping: float
    """Temporary memory of the optimizer's step, beside gradients and state."""


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
    rest = shape.experts + shape.embedding_weights + shape.small_weights
    return linear + rest * setup.weight_bytes


def weights(setup: Setup) -> tuple[float, float]:
    """Return the bytes of the weights (held from step to step, gathered while a pass runs).

    ZeRO-3 holds a shard and gathers a limited number (Rajbhandari et al. 2020, figure 1), and the module in use, which
    may be larger than the limit.
    """
    whole, shape = base_bytes(setup), setup.shape
    if not setup.strategy.startswith("zero3"):
        return whole, 0.0
    held = 0.0 if setup.strategy == "zero3_offload" else whole / setup.devices
    in_use = max(shape.vocab_size * shape.hidden_size, shape.parameters // max(1, shape.layers) // 2)
    return held, min(whole - held, (ZERO3_LIVE + in_use) * setup.weight_bytes)


def reference(setup: Setup) -> float:
    """Return the bytes of the frozen copy that DPO and GRPO compare with."""
    if not setup.reference:
        return 0.0
    whole = base_bytes(setup)
    return whole / setup.devices if setup.strategy.startswith("zero3") else whole


def states(setup: Setup) -> States:
    """Return what the trained weights need beside themselves.

    Without ZeRO, gradients and states have the weight's type; DDP holds gradients a second time, in buckets. With ZeRO
    (Rajbhandari et al. 2020, section 5) there is a shard of the 16-bit gradients, of float32 weights, and of the
    states. ZeRO-2 makes float32 gradients of the whole shard for its step, ZeRO-3 of one sub-group at a time. With
    offloading that shard is in main memory.
    """
    adapter_weights, full, n = setup.adapter_weights, setup.fully_trained, setup.devices
    trained, optimizer = setup.trained, setup.optimizer
    copies = full * setup.weight_bytes if adapter_weights else 0.0  # `modules_to_save` are copies
    adapter = adapter_weights * setup.adapter_bytes + copies
    if setup.strategy.startswith("zero3"):
        adapter /= n
    if not setup.zero:
        gradients = adapter_weights * setup.adapter_bytes + full * setup.weight_bytes
        kept = optimizer.state_bytes(adapter_weights, setup.adapter_bytes)
        kept += optimizer.state_bytes(full, setup.weight_bytes)
        return States(
            adapter=adapter,
            gradients=gradients,
            always=0.0,
            optimizer=kept,
            buckets=gradients if n > 1 else 0.0,
            stepping=gradients * optimizer.temporaries,
        )
    third = setup.strategy.startswith("zero3")
    shard, gradients = trained / n, 2.0 * trained / n
    buckets = 2.0 * 2 * setup.shape.hidden_size**2 if third else ZERO2_BUCKETS
    if "offload" in setup.strategy:
        return States(adapter=adapter, gradients=gradients, always=0.0, optimizer=0.0, buckets=buckets, stepping=0.0)
    at_a_time = min(shard, ZERO3_SUB_GROUP) if third else shard
    return States(
        adapter=adapter,
        gradients=gradients,
        always=gradients if third else 0.0,
        optimizer=4 * shard + optimizer.state_bytes(shard, 4),
        buckets=buckets,
        stepping=at_a_time * (4 + 4 * optimizer.temporaries),
    )

"""A training as one GPU sees it: what `runner.fit.memory` estimates the memory of."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from runner.fit.model_shape import Shape
from runner.fit.optimizers import Optimizer
from runner.recipe.strategy import Strategy

Attention: TypeAlias = Literal["sdpa", "eager", "flash_attention_2"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training as one GPU sees it."""

    shape: Shape
    """The model."""
    method: Literal["sft", "cpt", "dpo", "grpo"] = "sft"
    micro_batch: int
    """Rows in one forward pass: pairs for DPO, completions for GRPO."""
    accumulation: int = 1
    """Passes before a step of the optimizer. With one, gradients and all activations never exist at the same time."""
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

    @property
    def zero(self) -> bool:
        """Whether DeepSpeed's ZeRO trains it, on one GPU too if the recipe says so."""
        return self.strategy != "ddp"

    @property
    def trains_all(self) -> bool:
        """Whether all of the model's weights are trained."""
        return self.fully_trained > 0 and not self.adapter_weights

    @property
    def trained(self) -> int:
        """Number of trained weights."""
        return self.adapter_weights + self.fully_trained

    @property
    def tokens(self) -> int:
        """Tokens of one forward pass. DPO puts chosen and rejected answers into one pass."""
        return self.micro_batch * self.length * (2 if self.method == "dpo" else 1)


def as_held(setup: Setup) -> Setup:
    """Return the setup with the types that its weights have in training.

    DeepSpeed casts the whole model, adapters too, to the type of the computation (`DeepSpeedEngine` calls `bfloat16()`
    or `half()`), and accelerate does not autocast under it: there are no copies in 16 bits, and the residual stream has
    16 bits. It keeps float32 copies of the trained weights itself.
    """
    if not setup.zero:
        return setup
    return replace(
        setup,
        weight_bytes=min(setup.weight_bytes, setup.compute_bytes),
        adapter_bytes=min(setup.adapter_bytes, setup.compute_bytes),
    )

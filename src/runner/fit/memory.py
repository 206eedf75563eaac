"""Estimate the GPU memory of a training: one term for each purpose, at the moment when most is held.

Pure arithmetic on a model's `Shape` and a `Setup`. See docs/plan.md.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from runner.fit.accelerators import GIB
from runner.fit.activations import (
    backward_temporary,
    evaluating,
    forward_copies,
    generating,
    head_backward,
    head_forward,
    kept,
    last_norm,
)
from runner.fit.setup import Setup, as_held
from runner.fit.states import reference, states, weights

CONTEXT_BYTES = 0.5 * GIB
"""CUDA's context with its loaded kernels, and cuBLAS' workspaces: 0.3 to 0.5 GiB by GPU and driver."""
NCCL_BYTES = 0.4 * GIB
"""NCCL's buffers and channels, with several GPUs."""
SLACK = 0.10
"""What torch's caching allocator reserves beyond what is allocated at the peak, as a share of the memory that a step
allocates and frees, while the GPU has room for it: empirical, see benchmarks/results."""
SLACK_OF_LENGTHS = 0.30
"""The same of activations where each batch is as long as its longest row: blocks of one length do not fit the next."""
FRAGMENTATION = 0.03
"""The part of it that cannot be had back: before the allocator gives up it returns all cached blocks and asks again."""


TERMS: Mapping[str, str] = {
    "weights": "the model's weights",
    "reference": "the frozen copy that it is compared with",
    "adapter": "the adapter's weights",
    "gradients": "gradients",
    "optimizer": "the optimizer's states",
    "buckets": "communication buffers",
    "activations": "kept for the backward pass",
    "head": "logits and log-probabilities",
    "working": "temporary, of a block or of the optimizer's step",
    "besides": "evaluating or generating",
    "context": "CUDA and NCCL",
    "fragmentation": "reserved by torch's allocator beyond that",
}
"""What each term of `Memory` is."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one GPU at the peak, by purpose."""

    weights: float
    """The model's weights, as loaded or as ZeRO holds them, and what ZeRO-3 has gathered of them."""
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
    """Temporary memory of one block's backward pass, or of the optimizer's step."""
    besides: float
    """What generation or evaluation needs, if that is the peak."""
    context: float
    """CUDA and NCCL."""
    fragmentation: float
    """Reserved by torch's allocator beyond that."""

    @property
    def total(self) -> float:
        """Bytes."""
        return float(sum(vars(self).values()))

    @property
    def gib(self) -> float:
        """GiB."""
        return self.total / GIB

    @property
    def allocated_gib(self) -> float:
        """GiB without what the allocator caches."""
        return (self.total - self.fragmentation) / GIB

    @property
    def terms(self) -> Mapping[str, str]:
        """What is held in each term that is not zero here, in words."""
        return {term: words for term, words in TERMS.items() if getattr(self, term) > 0}

    def as_gib(self) -> Mapping[str, float]:
        """Return every term in GiB."""
        return {term: round(number / GIB, 3) for term, number in asdict(self).items()}


def estimate(setup: Setup, capacity_gib: float | None = None) -> Memory:
    """Estimate the peak memory of one GPU: that of the moment of a step that holds most.

    Args:
        setup: the training.
        capacity_gib: how much may be used. The allocator caches less where there is no room for more.
    """
    moments = _moments(as_held(setup))
    peak = max((memory for memory, _ in moments), key=lambda memory: memory.total)
    least = FRAGMENTATION * max(
        memory.activations + memory.head + memory.working + memory.besides for memory, _ in moments
    )
    most = max(least, *(slack for _, slack in moments))
    if capacity_gib is not None:
        most = max(least, min(most, capacity_gib * GIB - peak.total))
    return replace(peak, fragmentation=most)


def _moments(setup: Setup) -> list[tuple[Memory, float]]:
    """Return what is held at each moment of a step that can be the peak, and what the allocator reserves beyond it.

    With one pass to a step, gradients are made while activations are used up, and are gone after it: the head has all
    activations and no gradients, the first block all gradients and hardly any activations. With more passes, the
    gradients of the first ones are there all the time. The optimizer's step has no activations.
    """
    held, gathered = weights(setup)
    trained = states(setup)
    before = trained.gradients if setup.accumulation > 1 else trained.always
    blocks, recomputed = kept(setup)
    working = recomputed + backward_temporary(setup)
    ends = last_norm(setup)

    share = SLACK if setup.packed else SLACK_OF_LENGTHS

    def moment(slack: float = share, **terms: float) -> tuple[Memory, float]:
        always = Memory(
            weights=held + gathered,
            reference=reference(setup),
            adapter=trained.adapter,
            gradients=before,
            optimizer=trained.optimizer,
            buckets=trained.buckets,
            activations=0.0,
            head=0.0,
            working=0.0,
            besides=0.0,
            context=CONTEXT_BYTES + (NCCL_BYTES if setup.devices > 1 else 0),
            fragmentation=0.0,
        )
        found = replace(always, **terms)
        return found, slack * (found.activations + found.working + found.besides) + SLACK * found.head

    first_block = 0.0 if setup.checkpointing else blocks / setup.shape.layers
    found = [
        moment(activations=blocks + ends + forward_copies(setup), head=head_forward(setup)),
        moment(activations=blocks + ends, head=head_backward(setup)),
        moment(activations=blocks, working=working),
        moment(activations=first_block, working=working, gradients=trained.gradients),
        moment(weights=held, gradients=trained.gradients, working=trained.stepping, slack=SLACK),
    ]
    others = (evaluating(setup), generating(setup))
    return [*found, *(moment(besides=each, gradients=trained.always) for each in others if each)]

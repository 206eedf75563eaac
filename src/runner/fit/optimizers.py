"""Memory of each optimizer that transformers' `optim` names, per trained weight."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Optimizer:
    """The memory of one optimizer."""

    states: float
    """Numbers per trained weight, in the weight's own type or of `bytes_each`."""
    bytes_each: float | None = None
    """Bytes per number. None: the weight's type (torch's optimizers follow the parameter)."""
    temporaries: float = 0
    """Numbers per trained weight, of its type, that a step allocates for all weights at once. Torch's `foreach`
    implementations, which are the default on a GPU, do so; fused ones and bitsandbytes' kernels do not."""
    paged: bool = False
    """Kept in unified memory that moves to the host under pressure (bitsandbytes' paged ones)."""

    def state_bytes(self, weights: float, weight_bytes: float) -> float:
        """Return the bytes for this many weights. Paged state counts in full: it stays on the GPU while it fits."""
        return weights * self.states * (self.bytes_each if self.bytes_each is not None else weight_bytes)


_BLOCKWISE = 1 + 4 / 256
"""bitsandbytes' 8-bit states: a byte each and a float32 maximum for each block of 256 (Dettmers et al. 2022)."""
_ADAM = Optimizer(2)
_ADAM_FOREACH = Optimizer(2, temporaries=1)
"""Torch's own: `exp_avg_sq_sqrt` is a tensor for each weight (`torch.optim.adam._multi_tensor_adam`)."""
_ADAM_32 = Optimizer(2, 4)
_ADAM_8 = Optimizer(2, _BLOCKWISE)

OPTIMIZERS: Mapping[str, Optimizer] = {
    # torch's, whose state follows the parameter's type: 8 bytes for a float32 weight.
    "adamw_torch": _ADAM_FOREACH,
    "adamw_torch_fused": _ADAM,
    "adamw_torch_xla": _ADAM,
    "adamw_torch_npu_fused": _ADAM,
    "adamw_anyprecision": Optimizer(2, 4),
    "stable_adamw": _ADAM_32,
    "schedule_free_adamw": _ADAM_FOREACH,
    "schedule_free_radam": _ADAM_FOREACH,
    "schedule_free_sgd": Optimizer(1),
    "grokadamw": Optimizer(3, 4),
    "adagrad": Optimizer(1, temporaries=2),
    "rmsprop": Optimizer(1, temporaries=1),
    "sgd": Optimizer(1),  # none without momentum, which `optim_args` may set
    # One row and one column for each matrix instead of the matrix (Shazeer and Stern 2018).
    "adafactor": Optimizer(0.05, 4),
    # torchao's.
    "adamw_torch_8bit": _ADAM_8,
    "adamw_torch_4bit": Optimizer(2, 0.5 + 4 / 128),
    # bitsandbytes', 32-bit whatever the parameter's type, or 8-bit.
    "adamw_bnb_8bit": _ADAM_8,
    "adamw_8bit": _ADAM_8,
    "paged_adamw": Optimizer(2, 4, paged=True),
    "paged_adamw_32bit": Optimizer(2, 4, paged=True),
    "paged_adamw_8bit": Optimizer(2, _BLOCKWISE, paged=True),
    "ademamix": Optimizer(3, 4),
    "ademamix_8bit": Optimizer(3, _BLOCKWISE),
    "paged_ademamix_32bit": Optimizer(3, 4, paged=True),
    "paged_ademamix_8bit": Optimizer(3, _BLOCKWISE, paged=True),
    "lion_32bit": Optimizer(1, 4),
    "lion_8bit": Optimizer(1, _BLOCKWISE),
    "paged_lion_32bit": Optimizer(1, 4, paged=True),
    "paged_lion_8bit": Optimizer(1, _BLOCKWISE, paged=True),
    "rmsprop_bnb": Optimizer(1, 4),
    "rmsprop_bnb_32bit": Optimizer(1, 4),
    "rmsprop_bnb_8bit": Optimizer(1, _BLOCKWISE),
    # States of a low rank, and their projections: what they save depends on `optim_args`, so the full size is taken.
    "galore_adamw": _ADAM_32,
    "galore_adamw_8bit": Optimizer(2, 4),
    "galore_adafactor": Optimizer(1, 4),
    "galore_adamw_layerwise": _ADAM_32,
    "galore_adamw_8bit_layerwise": Optimizer(2, 4),
    "galore_adafactor_layerwise": Optimizer(1, 4),
    "apollo_adamw": _ADAM_32,
    "apollo_adamw_layerwise": _ADAM_32,
    # Updates fused into the backward pass (Lv et al. 2023); AdaLomo keeps rows and columns.
    "lomo": Optimizer(0),
    "adalomo": Optimizer(0.05, 4),
}
"""Every name that transformers' `optim` takes; a test holds it to the installed version."""

UNKNOWN = Optimizer(3, 4, temporaries=1)
"""For a name that is not listed: as much as the largest."""


def optimizer(name: str) -> Optimizer:
    """Return the memory of the optimizer with this name."""
    return OPTIMIZERS.get(name, UNKNOWN)

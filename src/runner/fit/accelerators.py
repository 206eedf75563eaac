"""GPUs by SkyPilot's names, with the facts that decide whether a recipe fits and how fast it trains."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner.errors import UserError
from runner.recipe.suggestions import closest

BF16_CAPABILITY = (8, 0)
"""The first compute capability with bfloat16 arithmetic (NVIDIA, CUDA C++ Programming Guide, "Arithmetic
Instructions"). torch emulates it before that, many times slower, and `torch.cuda.is_bf16_supported()` says yes."""
FLASH_CAPABILITY = (8, 0)
"""The first compute capability that FlashAttention-2 and torch's own flash kernel run on (Dao-AILab/flash-attention,
README; torch's `scaled_dot_product_attention` takes its memory-efficient kernel before that)."""

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One kind of GPU."""

    name: str
    """SkyPilot's name, as under `resources: accelerators:`."""
    memory_gib: float
    """Usable memory in GiB: `total_memory` of torch's device properties, the lowest seen. The label says
    more: ECC and the driver take some."""
    capability: tuple[int, int]
    """CUDA's compute capability."""
    tflops: float
    """Peak of dense 16-bit matrix arithmetic with 32-bit sums, in TFLOP/s: bfloat16 if it has it, else float16."""
    bandwidth_gb_s: float
    """Peak memory bandwidth in GB/s (10^9 bytes)."""
    device_name: str
    """Part of the device name that torch and nvidia-smi report."""
    catalog_names: tuple[str, ...] = ()
    """Other names in SkyPilot's catalogs."""
    source: str
    """Source of the peaks."""

    @property
    def bf16(self) -> bool:
        """Whether it computes in bfloat16."""
        return self.capability >= BF16_CAPABILITY

    @property
    def flash_attention(self) -> bool:
        """Whether FlashAttention-2 runs on it."""
        return self.capability >= FLASH_CAPABILITY


_TABLE = (
    Accelerator(
        name="T4",
        memory_gib=14.56,
        capability=(7, 5),
        tflops=65,
        bandwidth_gb_s=320,
        device_name="T4",
        source="NVIDIA T4 datasheet: mixed precision (FP16/FP32) 65 TFLOPS, 320 GB/s",
    ),
    Accelerator(
        name="V100",
        memory_gib=15.77,
        capability=(7, 0),
        tflops=125,
        bandwidth_gb_s=900,
        device_name="V100",
        source="NVIDIA V100 datasheet, SXM2 16 GB: 125 tensor TFLOPS (PCIe 112), 900 GB/s",
    ),
    Accelerator(
        name="L4",
        memory_gib=21.95,
        capability=(8, 9),
        tflops=121,
        bandwidth_gb_s=300,
        device_name="L4",
        source="NVIDIA L4 datasheet: BF16 242 TFLOPS with sparsity, half of it dense, 300 GB/s",
    ),
    Accelerator(
        name="A10G",
        memory_gib=21.95,
        capability=(8, 6),
        tflops=70,
        bandwidth_gb_s=600,
        device_name="A10G",
        source="NVIDIA A10G datasheet: FP16 tensor 70 TFLOPS dense, 600 GB/s",
    ),
    Accelerator(
        name="L40S",
        memory_gib=44.3,
        capability=(8, 9),
        tflops=362,
        bandwidth_gb_s=864,
        device_name="L40S",
        source="NVIDIA L40S datasheet: BF16 362 TFLOPS dense, 864 GB/s",
    ),
    Accelerator(
        name="RTX4090",
        memory_gib=23.5,
        capability=(8, 9),
        tflops=165,
        bandwidth_gb_s=1008,
        device_name="RTX 4090",
        catalog_names=("RTX4090-24GB",),
        source="NVIDIA Ada architecture whitepaper: FP16 tensor with FP32 accumulate 165.2 TFLOPS dense, 1008 GB/s",
    ),
    Accelerator(
        name="A100",
        memory_gib=39.38,
        capability=(8, 0),
        tflops=312,
        bandwidth_gb_s=1555,
        device_name="A100",
        catalog_names=("A100-40GB", "A100-40GB-SXM"),
        source="NVIDIA A100 datasheet, 40 GB: BF16 312 TFLOPS dense, 1555 GB/s",
    ),
    Accelerator(
        name="A100-80GB",
        memory_gib=79.1,
        capability=(8, 0),
        tflops=312,
        bandwidth_gb_s=1935,
        device_name="A100",
        catalog_names=("A100-80GB-SXM",),
        source="NVIDIA A100 datasheet, 80 GB: BF16 312 TFLOPS dense, 1935 GB/s (PCIe; SXM 2039)",
    ),
    Accelerator(
        name="H100",
        memory_gib=79.1,
        capability=(9, 0),
        tflops=989,
        bandwidth_gb_s=3350,
        device_name="H100",
        catalog_names=("H100-SXM", "H100-80GB", "H100-80GB-SXM", "H100-MEGA"),
        source="NVIDIA H100 datasheet, SXM: BF16 1979 TFLOPS with sparsity, half of it dense, 3.35 TB/s",
    ),
    Accelerator(
        name="H200",
        memory_gib=139.7,
        capability=(9, 0),
        tflops=989,
        bandwidth_gb_s=4800,
        device_name="H200",
        catalog_names=("H200-SXM",),
        source="NVIDIA H200 datasheet: BF16 1979 TFLOPS with sparsity, half of it dense, 4.8 TB/s",
    ),
    Accelerator(
        name="B200",
        memory_gib=178.3,
        capability=(10, 0),
        tflops=2250,
        bandwidth_gb_s=7700,
        device_name="B200",
        catalog_names=("B200-SXM",),
        source="NVIDIA HGX B200 datasheet: BF16 36 PFLOPS with sparsity over 8 GPUs, half of it dense, 62 TB/s over 8",
    ),
)

ACCELERATORS: Mapping[str, Accelerator] = {accelerator.name: accelerator for accelerator in _TABLE}
"""Every GPU that runner knows, by SkyPilot's name, the smallest first."""

_BY_ANY_NAME = {
    name.lower(): accelerator for accelerator in _TABLE for name in (accelerator.name, *accelerator.catalog_names)
}


def find_accelerator(name: str, *, where: str | None = None) -> Accelerator:
    """Return the GPU of this name, in any case, as SkyPilot or one of its catalogs writes it.

    Args:
        name: ``a100``, ``RTX4090``, ``A100-80GB-SXM``.
        where: for errors: the option, or the path in the recipe.

    Raises:
        UserError: there is no such GPU; the remedy suggests the most similar name.
    """
    accelerator = _BY_ANY_NAME.get(name.strip().lower()) or _BY_ANY_NAME.get(re.sub(r"[\s_]", "", name).lower())
    if accelerator is not None:
        return accelerator
    by_name = {known.lower(): known for known in ACCELERATORS}
    meant = closest(re.sub(r"[\s_]", "", name).lower(), by_name)
    known = f"known here: {', '.join(ACCELERATORS)}"
    raise UserError(
        f"{name!r} is not a GPU that runner knows",
        where=where,
        remedy=f"did you mean `{by_name[meant]}`? {known[0].upper()}{known[1:]}" if meant else known,
    )


def parse_accelerators(text: str, *, where: str | None = None) -> tuple[Accelerator, int]:
    """Parse a GPU and its number per machine: ``a100:8``, or ``a100`` for one, in any case.

    Args:
        text: SkyPilot's form.
        where: for errors: the option, or the path in the recipe.

    Raises:
        UserError: there is no such GPU, or the number is not valid.
    """
    name, colon, number = text.partition(":")
    accelerator = find_accelerator(name, where=where)
    if not colon:
        return accelerator, 1
    if not re.fullmatch(r"[1-9]\d{0,2}", number.strip()):
        raise UserError(
            f"{number.strip()!r} is not a number of GPUs", where=where, remedy=f"write `{accelerator.name}:1`, or more"
        )
    return accelerator, int(number)


def identify_accelerator(device_name: str, memory_gib: float, capability: tuple[int, int] | None = None) -> Accelerator:
    """Return the GPU that torch or nvidia-smi reports, with its real memory.

    For a kind that is not in the table (a workstation's card, a MIG slice's parent), name, memory and capability decide
    the fit; its peaks are unknown (0).

    Args:
        device_name: ``torch.cuda.get_device_name()``, or nvidia-smi's ``name``: ``NVIDIA A100-SXM4-80GB``.
        memory_gib: its `total_memory` in GiB; nvidia-smi's ``memory.total`` is slightly more.
        capability: its compute capability, if known.
    """
    words = re.sub(r"[^A-Z0-9]+", " ", device_name.upper()).split()
    same_name = [known for known in _TABLE if _contains(words, known.device_name.upper().split())]
    if same_name:
        nearest = min(same_name, key=lambda known: abs(known.memory_gib - memory_gib))
        return replace(nearest, memory_gib=memory_gib, capability=capability or nearest.capability)
    return Accelerator(
        name=device_name.removeprefix("NVIDIA ").strip() or "GPU",
        memory_gib=memory_gib,
        capability=capability or (0, 0),
        tflops=0,
        bandwidth_gb_s=0,
        device_name=device_name,
        source="the device itself",
    )


def _contains(words: list[str], name: list[str]) -> bool:
    return any(words[start : start + len(name)] == name for start in range(len(words)))

"""GPUs by SkyPilot's names, with the facts that decide whether a recipe fits and how fast it trains."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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
        name="A10",
        memory_gib=21.95,
        capability=(8, 6),
        tflops=125,
        bandwidth_gb_s=600,
        device_name="A10",
        source="NVIDIA A10 datasheet: FP16 tensor 125 TFLOPS dense, 600 GB/s",
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
        name="RTX3090",
        memory_gib=23.5,
        capability=(8, 6),
        tflops=71,
        bandwidth_gb_s=936,
        device_name="RTX 3090",
        catalog_names=("RTX3090-24GB",),
        source="NVIDIA Ampere GA102 whitepaper: FP16 tensor with FP32 accumulate 71 TFLOPS dense, 936 GB/s",
    ),
    Accelerator(
        name="L40",
        memory_gib=44.3,
        capability=(8, 9),
        tflops=181,
        bandwidth_gb_s=864,
        device_name="L40",
        source="NVIDIA L40 datasheet: BF16 181 TFLOPS dense, 864 GB/s",
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
        name="RTX5090",
        memory_gib=31.3,
        capability=(12, 0),
        tflops=209,
        bandwidth_gb_s=1792,
        device_name="RTX 5090",
        catalog_names=("RTX5090-32GB",),
        source="NVIDIA RTX Blackwell whitepaper: FP16 tensor with FP32 accumulate 209.5 TFLOPS dense, 1792 GB/s",
    ),
    Accelerator(
        name="A6000",
        memory_gib=47.4,
        capability=(8, 6),
        tflops=154,
        bandwidth_gb_s=768,
        device_name="A6000",
        source="NVIDIA Ampere GA102 whitepaper, RTX A6000: FP16 tensor 154.8 TFLOPS dense, 768 GB/s",
    ),
    Accelerator(
        name="RTX6000-Ada",
        memory_gib=47.3,
        capability=(8, 9),
        tflops=364,
        bandwidth_gb_s=960,
        device_name="RTX 6000 Ada",
        catalog_names=("RTX6000Ada",),
        source="NVIDIA RTX 6000 Ada datasheet: FP8 1457 TFLOPS with sparsity, a quarter of it in FP16 dense, 960 GB/s",
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
        name="RTXPRO6000",
        memory_gib=94.9,
        capability=(12, 0),
        tflops=500,
        bandwidth_gb_s=1597,
        device_name="RTX PRO 6000",
        source="NVIDIA RTX PRO 6000 Blackwell Server Edition datasheet: FP4 4 PFLOPS with sparsity, 1597 GB/s",
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
    Accelerator(
        name="B300",
        memory_gib=266,
        capability=(10, 3),
        tflops=2250,
        bandwidth_gb_s=7700,
        device_name="B300",
        source="NVIDIA HGX B300 datasheet: BF16 36 PFLOPS with sparsity over 8 GPUs, half of it dense, 8 TB/s",
    ),
)

ACCELERATORS: Mapping[str, Accelerator] = {accelerator.name: accelerator for accelerator in _TABLE}
"""Every GPU that runner knows, by SkyPilot's name, the smallest first."""

_BY_ANY_NAME = {
    name.lower(): accelerator for accelerator in _TABLE for name in (accelerator.name, *accelerator.catalog_names)
}

_CATALOG = """
    A2 A16 A30 A40 A4000 A4500 A5000 GB200 GB300 GH200 H100-NVL K80 M60 M4000 P4 P40 P100 P4000 P5000 P6000
    RTX2000-Ada RTX3060 RTX3070 RTX3080 RTX3090-Ti RTX4000 RTX4000-Ada RTX4070 RTX4070-Ti RTX4080 RTX5000
    RTX5000-Ada RTX5080 RTX6000 RTXA2000 RTXA4000 RTXA4500 RTXA5000 RTXA6000 RTXPRO4500 T4g V100-32GB
"""
CATALOG_NAMES = tuple(_CATALOG.split())
"""NVIDIA GPUs in SkyPilot's catalogs about which runner has no facts: they go to SkyPilot as they stand."""

_OTHER_MAKERS = re.compile(r"(mi\d{2,3}x?|radeon.*|tpu.*|gaudi.*|inferentia\d?|trainium\d?)", re.IGNORECASE)
_MAKERS = frozenset({"NVIDIA", "TESLA", "GEFORCE", "QUADRO", "GPU", "AMPERE", "HOPPER", "ADA-LOVELACE"})
_FORMS = frozenset({"PCIE", "SXM", "SXM2", "SXM3", "SXM4", "SXM5", "SXM6", "HBM2", "HBM2E", "HBM3", "HBM3E", "GDDR6"})
_MEMORY = re.compile(r"(\d{1,3})(GB|GIB|G)")
_COUNT_FIRST = re.compile(r"(\d{1,3})\s*[x*\u00d7]\s*(?=[A-Za-z])(.+)", re.IGNORECASE)
_COUNT_LAST = re.compile(r"(.*[A-Za-z\d])\s*(?:[*\u00d7]|(?<=[\d\sA-Za-wyz])x)\s*(\d{1,3})", re.IGNORECASE)


def find_accelerator(name: str, *, where: str | None = None) -> Accelerator:
    """Return the GPU of this name, in any case, as SkyPilot, one of its catalogs or a datasheet writes it.

    Args:
        name: ``a100``, ``RTX4090``, ``A100-80GB-SXM``, ``NVIDIA L4``, ``Tesla T4``, ``A100 80GB``.
        where: for errors: the option, or the path in the recipe.

    Raises:
        UserError: there is no such GPU, or nothing is known about it; the remedy suggests the most similar name.
    """
    accelerator = _BY_ANY_NAME.get(name.strip().lower()) or _BY_ANY_NAME.get(_plain(name)) or _by_words(name)
    if accelerator is not None:
        return accelerator
    if (listed := catalog_name(name)) is not None:
        raise UserError(
            f"runner has no facts about {listed}, one of SkyPilot's GPUs",
            where=where,
            remedy=f"a launch takes it as it stands; known here: {', '.join(ACCELERATORS)}",
        )
    if _OTHER_MAKERS.fullmatch(_plain(name)):
        raise UserError(
            f"{name!r} is not a GPU of NVIDIA, for which runner's environment is built",
            where=where,
            remedy=f"known here: {', '.join(ACCELERATORS)}",
        )
    by_name = {known.lower(): known for known in (*ACCELERATORS, *CATALOG_NAMES)}
    meant = closest(_plain(name), {known.lower(): known for known in ACCELERATORS}) or closest(_plain(name), by_name)
    known = f"known here: {', '.join(ACCELERATORS)}"
    raise UserError(
        f"{name!r} is not a GPU that runner knows",
        where=where,
        remedy=f"did you mean `{by_name[meant]}`? {known[0].upper()}{known[1:]}" if meant else known,
    )


def catalog_name(name: str) -> str | None:
    """Return SkyPilot's spelling of a GPU that is in its catalogs and not in the table here; None for any other."""
    words = [word for word in re.split(r"[^A-Z0-9]+", name.upper()) if word and word not in _MAKERS | _FORMS]
    without_memory = [word for word in words if not _MEMORY.fullmatch(word)]
    for written in ("".join(words), "".join(without_memory)):
        for known in CATALOG_NAMES:
            if written and written == known.upper().replace("-", ""):
                return known
    return None


def accelerator_name(name: str, *, where: str | None = None) -> str:
    """Return SkyPilot's spelling of a GPU, whether or not there are facts about it here.

    Raises:
        UserError: it is not one.
    """
    try:
        return find_accelerator(name, where=where).name
    except UserError:
        if (listed := catalog_name(name)) is not None:
            return listed
        raise


def split_count(text: str, *, where: str | None = None) -> tuple[str, int]:
    """Split a GPU and its number per machine: ``a100:8``, ``8xA100``, ``A100 x8``, or ``a100`` for one.

    Raises:
        UserError: the number is not valid.
    """
    name, colon, number = text.partition(":")
    if not colon:
        if first := _COUNT_FIRST.fullmatch(text.strip()):
            number, name = first.groups()
        elif (last := _COUNT_LAST.fullmatch(text.strip())) and _is_name(last[1]) and not _is_name(text):
            name, number = last.groups()
        else:
            return text.strip(), 1
    if not re.fullmatch(r"[1-9]\d{0,2}", number.strip()):
        spelled = accelerator_name(name, where=where)
        raise UserError(
            f"{number.strip()!r} is not a number of GPUs", where=where, remedy=f"write `{spelled}:1`, or more"
        )
    return name.strip(), int(number)


def accelerator_warnings(resources: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each GPU under a recipe's `resources` that looks like a slip of a known name.

    Others go to SkyPilot as they stand: a Kubernetes cluster has names of its own.
    """
    sentences: dict[str, str] = {}
    for machine in (resources, *resources.get("any_of", ()), *resources.get("ordered", ())):
        written = machine.get("accelerators", machine.get("gpus")) or ()
        for text in [written] if isinstance(written, str) else written:
            name = str(text).partition(":")[0]
            try:
                accelerator_name(split_count(name)[0])
            except UserError as error:
                if error.remedy and error.remedy.startswith("did you mean"):
                    meant = error.remedy.partition("?")[0]
                    sentences[name] = f"warning: resources.accelerators: {error.what}\n  {meant}?"
    return list(sentences.values())


def parse_accelerators(text: str, *, where: str | None = None) -> tuple[Accelerator, int]:
    """Parse a GPU and its number per machine: ``a100:8``, or ``a100`` for one, in any case.

    Args:
        text: SkyPilot's form, or ``8xA100``.
        where: for errors: the option, or the path in the recipe.

    Raises:
        UserError: there is no such GPU, or the number is not valid.
    """
    name, count = split_count(text, where=where)
    return find_accelerator(name, where=where), count


def _plain(name: str) -> str:
    return re.sub(r"[\s_]", "", name).lower()


def _is_name(text: str) -> bool:
    known = _BY_ANY_NAME.get(_plain(text)) or _by_words(text) or catalog_name(text)
    return known is not None


def _by_words(name: str) -> Accelerator | None:
    """Return the GPU that a name with its maker, form or memory means: ``Tesla V100-SXM2-16GB``."""
    words = [word for word in re.split(r"[^A-Z0-9]+", name.upper()) if word and word not in _MAKERS | _FORMS]
    sizes = [int(match[1]) for word in words if (match := _MEMORY.fullmatch(word))]
    model = "".join(word for word in words if not _MEMORY.fullmatch(word))
    found = [known for known in _TABLE if known.device_name.upper().replace(" ", "") == model]
    if not found:
        return None
    if not sizes:
        return found[0]
    nearest = min(found, key=lambda known: abs(known.memory_gib - sizes[0]))
    return nearest if abs(nearest.memory_gib - sizes[0]) <= 0.2 * sizes[0] else None


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

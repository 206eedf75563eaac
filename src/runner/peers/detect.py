"""Whose config a file is, by the keys that it has."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Peer: TypeAlias = Literal["axolotl", "llamafactory", "oumi", "torchtune", "trl"]

PEERS: dict[Peer, str] = {
    "axolotl": "Axolotl",
    "llamafactory": "LLaMA-Factory",
    "oumi": "Oumi",
    "torchtune": "torchtune",
    "trl": "TRL",
}
"""The tools whose configs can be converted, and how they write their names."""


def detect(content: Mapping[str, Any]) -> Peer | None:
    """Return whose config a mapping is; None: it is nobody's that is known here.

    A recipe of runner's is nobody's: it has `method` and `data`.
    """
    if "method" in content and "data" in content or "stages" in content:
        return None
    if any(isinstance(section, Mapping) and "_component_" in section for section in content.values()):
        return "torchtune"
    if "base_model" in content:
        return "axolotl"
    model = content.get("model")
    if isinstance(model, Mapping) and "model_name" in model:
        return "oumi"
    if content.keys() & {"stage", "finetuning_type", "cutoff_len", "dataset_dir"}:
        return "llamafactory"
    if "model_name_or_path" in content:
        return "trl"
    return None

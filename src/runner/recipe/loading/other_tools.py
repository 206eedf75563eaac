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

    What has sections of a recipe is nobody's, even if there are mistakes in it.
    """
    axolotl = "base_model" in content  # it has an `adapter:` too
    if not axolotl and content.keys() & {"method", "stages", "adapter"}:
        return None
    if any(isinstance(section, Mapping) and "_component_" in section for section in content.values()):
        return "torchtune"
    if axolotl:
        return "axolotl"
    model = content.get("model")
    if isinstance(model, Mapping) and "model_name" in model:
        return "oumi"
    if content.keys() & {"finetuning_type", "cutoff_len", "dataset_dir"}:
        return "llamafactory"
    if "model_name_or_path" in content and not content.keys() & {"data", "training"}:
        return "trl"
    return None

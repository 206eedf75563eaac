"""Rotary embeddings that remember nothing from one batch to the next.

Where a model stretches its positions to the length of the text (``rope_type: dynamic``), transformers stretches them to
the longest text so far. An evaluation with a longer text would change the training after it, and a resumed run, which
has not seen the texts before its checkpoint, would differ from one that was never interrupted.
"""

from collections.abc import Mapping
from typing import Any

_FREQUENCIES = "inv_freq"
"""The buffer that is stretched. A model with several kinds of layers has one for each: ``<kind>_inv_freq``."""


def forget_lengths(model: Any) -> None:
    """Have each forward pass of `model` stretch its positions by its own batch alone.

    A model whose positions do not depend on the length stays as it is. So does code that comes with a model.
    """
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        if any("dynamic" in str(kind) for kind in (kinds.values() if isinstance(kinds, Mapping) else [kinds])):
            module.register_forward_pre_hook(_forget)


def _forget(module: Any, *_: Any) -> None:
    for name, frequencies in list(module.named_buffers(recurse=False)):
        original = getattr(module, f"{name.removesuffix(_FREQUENCIES)}original_{_FREQUENCIES}", None)
        longest = f"{name.removesuffix(_FREQUENCIES)}max_seq_len_cached"
        if not name.endswith(_FREQUENCIES) or original is None:
            continue  # the originals themselves, for example
        if getattr(module, longest, 0) > module.original_max_seq_len:
            module.register_buffer(name, original.to(frequencies.device), persistent=False)
            setattr(module, longest, module.original_max_seq_len)

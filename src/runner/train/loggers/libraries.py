"""Leave out what libraries say in every log, and that no reader can act on."""

import logging
import re
import warnings

_UNHEARD = {
    # bitsandbytes looks for a kernel on the hub for 4-bit weights on a CPU, and has its own where there is none.
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
    # DeepSpeed is imported by accelerate wherever it is installed; the fit says what is trained on.
    "DeepSpeed": "Setting accelerator to CPU",
}
"""By logger: the beginning of the message."""

_UNSEEN = "`is_gradient_checkpointing` is deprecated"
"""The beginning of a warning of transformers about a call that peft makes."""


def quiet_libraries() -> None:
    """Drop `_UNHEARD` and `_UNSEEN`. Call it before the libraries are imported; a second call changes nothing."""
    warnings.filterwarnings("ignore", message=re.escape(_UNSEEN), category=FutureWarning)
    for name, beginning in _UNHEARD.items():
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Drops) for known in logger.filters):
            logger.addFilter(_Drops(beginning))


class _Drops(logging.Filter):
    """Drops the records whose message begins with a text."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._beginning)

"""Leave out what libraries say in every log, and that no reader can act on."""

import logging

_UNHEARD = {
    # bitsandbytes looks for a kernel on the hub for 4-bit weights on a CPU, and has its own where there is none.
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
    # DeepSpeed is imported by accelerate wherever it is installed; the fit says what is trained on.
    "DeepSpeed": "Setting accelerator to CPU",
}
"""By logger: the beginning of the message."""


def quiet_libraries() -> None:
    """Drop the messages of `_UNHEARD`. Call it before the libraries are imported; a second call changes nothing."""
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

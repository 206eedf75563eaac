"""A stand-in for the module `pynvml`: two GPUs that do nothing but answer, or not.

It has the names and units of NVML's documentation; that a real driver answers so is not proven by it.
"""

import threading
from types import SimpleNamespace
from typing import Any

GIB = 1 << 30
NVML_TEMPERATURE_GPU = 0
UUIDS = ("GPU-11aa", "GPU-22bb")


class NVMLError(Exception):
    """What NVML raises."""


class FakeNvml:
    """The module, with what a test wants of it.

    Args:
        init_fails: whether there is no driver.
        power_fails: whether power is not told, as for a part of a GPU.
        hang: nothing answers until it is set.
    """

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = NVML_TEMPERATURE_GPU

    def __init__(
        self, *, init_fails: bool = False, power_fails: bool = False, hang: threading.Event | None = None
    ) -> None:
        self._init_fails, self._power_fails, self._hang = init_fails, power_fails, hang
        self.inits = 0

    def nvmlInit(self) -> None:  # noqa: N802 (NVML's name, as those below)
        self.inits += 1
        if self._init_fails:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return UUIDS[handle]

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"NVIDIA Stand-in {handle}"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        if self._hang is not None:
            self._hang.wait(20)
        return SimpleNamespace(gpu=40 + handle, memory=3)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(total=24 * GIB, used=(6 + handle) * GIB)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        if self._power_fails:
            raise NVMLError("Not Supported")
        return 150_500

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        return 61

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.12"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 13020

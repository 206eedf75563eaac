"""The GPUs that the attempt sees, by NVML: what they are, and what they do now. No CUDA context is made.

Numbers are NVML's units in ours: percent, GiB, watts, degrees Celsius. NVML is loaded at the first look; a machine
without it has no GPUs. Nothing here raises, and nothing here waits longer than it says: a driver can hang.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from runner.runs.record_types.measured import GpuOfMachine, GpuSample

T = TypeVar("T")

_GIB = 1 << 30
LOOK_SECONDS = 2.0
"""How long a look waits for NVML."""


@dataclass(frozen=True, kw_only=True)
class GpuDescription:
    """The GPUs of a machine and what drives them."""

    gpus: list[GpuOfMachine]
    """Those that the attempt sees, in its order."""
    driver: str | None = None
    """The driver's version; None without NVML."""
    cuda: str | None = None
    """The newest CUDA version that it knows."""


class GpuMeter:
    """Looks at the GPUs, each time in a thread that is left alone if NVML hangs.

    Args:
        environ: its ``CUDA_VISIBLE_DEVICES`` says which GPUs are looked at. Numbers count as NVML does, by PCI address:
            on a machine of different GPUs CUDA may count otherwise, unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
        within_seconds: how long a look waits for NVML.
    """

    def __init__(self, environ: Mapping[str, str], *, within_seconds: float = LOOK_SECONDS) -> None:
        self._visible = environ.get("CUDA_VISIBLE_DEVICES")
        self._within_seconds = within_seconds
        self._looking: threading.Thread | None = None
        self._handles: list[Any] | None = None
        self._absent = False

    def samples(self) -> list[GpuSample] | None:
        """What the GPUs do now; None without NVML, without GPUs, or while it does not answer."""
        return self._bounded(self._samples) or None

    def describe(self) -> GpuDescription:
        """What the GPUs are; none without NVML, or if it does not answer."""
        return self._bounded(self._describe) or GpuDescription(gpus=[])

    def _bounded(self, call: Callable[[], T]) -> T | None:
        if self._absent or (self._looking is not None and self._looking.is_alive()):
            return None
        results: list[T] = []

        def look() -> None:
            try:
                results.append(call())
            except Exception:  # noqa: BLE001 (NVML's own, and whatever a driver makes of it)
                return

        self._looking = threading.Thread(target=look, name="nvml", daemon=True)
        self._looking.start()
        self._looking.join(self._within_seconds)
        return results[0] if results else None

    def _opened(self) -> list[Any]:
        import pynvml  # here, so that a machine without it has no GPUs

        if self._handles is None:
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError:
                self._absent = True
                raise
            self._handles = visible_handles(pynvml, self._visible)
        return self._handles

    def _samples(self) -> list[GpuSample]:
        handles = self._opened()
        return [_sample(index, handle) for index, handle in enumerate(handles)]

    def _describe(self) -> GpuDescription:
        import pynvml

        handles = self._opened()
        gpus = [_description(handle) for handle in handles]
        version = _asked(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        return GpuDescription(
            gpus=gpus,
            driver=_asked(lambda: str(pynvml.nvmlSystemGetDriverVersion())),
            cuda=None if version is None else f"{version // 1000}.{version % 1000 // 10}",
        )


def visible_handles(nvml: Any, visible: str | None) -> list[Any]:
    """Return NVML's handles of the GPUs that CUDA shows, in CUDA's order.

    Args:
        nvml: the module ``pynvml``, set up.
        visible: ``CUDA_VISIBLE_DEVICES``: numbers, or the beginnings of UUIDs. As in CUDA, those from the first one on
            that is not there are not shown. None: all are.
    """
    count = nvml.nvmlDeviceGetCount()
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    handles: list[Any] = []
    for part in (word.strip() for word in visible.split(",")):
        if part.isdigit() and int(part) < count:
            handles.append(nvml.nvmlDeviceGetHandleByIndex(int(part)))
        elif part.startswith("MIG-"):
            handles.append(nvml.nvmlDeviceGetHandleByUUID(part))
        elif part.startswith("GPU-"):
            every = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            found = [handle for handle in every if str(nvml.nvmlDeviceGetUUID(handle)).startswith(part)]
            if len(found) != 1:
                break
            handles += found
        else:
            break
    return handles


def _description(handle: Any) -> GpuOfMachine:
    import pynvml

    memory = _asked(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    name = _asked(lambda: str(pynvml.nvmlDeviceGetName(handle)))
    return {"name": name or "GPU", "memory_gib": 0.0 if memory is None else round(memory.total / _GIB, 2)}


def _sample(index: int, handle: Any) -> GpuSample:
    import pynvml

    sample: GpuSample = {"index": index}
    utilization = _asked(lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
    if utilization is not None:
        sample["utilization_percent"] = utilization
    memory = _asked(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    if memory is not None:
        sample["memory_gib"] = round(memory.used / _GIB, 3)
        sample["memory_total_gib"] = round(memory.total / _GIB, 3)
    watts = _asked(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)
    if watts is not None:
        sample["power_watts"] = round(watts, 1)
    celsius = _asked(lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)))
    if celsius is not None:
        sample["temperature_celsius"] = celsius
    return sample


def _asked(call: Callable[[], T]) -> T | None:
    """What NVML says; None if it does not know, as for a part of a GPU (MIG)."""
    import pynvml

    try:
        return call()
    except (pynvml.NVMLError, UnicodeDecodeError):
        return None

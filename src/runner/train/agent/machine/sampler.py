"""Samples of the machine while an attempt runs, into the store. Neither holds the attempt up nor ends it."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from runner.runs.chunks import ChunkWriter
from runner.runs.measured.system import mean_of
from runner.runs.record_types.measured import SystemRecord
from runner.storage.retry import STORE_ERRORS
from runner.storage.store import Store
from runner.train.agent.machine.gpus import GpuMeter

_log = logging.getLogger(__name__)

SAMPLE_SECONDS = 5.0
"""Pause between two samples."""
_PARTS = 200
"""A record stands for at most this part of the time so far: a week takes some 1,500 records, most of them early."""
_FLUSH_SECONDS = 15.0
"""Pause between two writes to the store, at least."""
_END_SECONDS = 3.0
"""How long the end of an attempt waits for the last write."""
_KEPT_BYTES = 4 << 20
"""What is kept while the store does not take it."""
_CHUNKS_OF_A_MACHINE = 1_000_000
_GIB = 1 << 30


class MachineMeter:
    """Takes one sample of this machine.

    Args:
        node: its rank.
        folder: where the run works, whose disk counts.
        gpus: looks at the GPUs.
    """

    def __init__(self, node: int, folder: Path, gpus: GpuMeter) -> None:
        self._node = node
        self._folder = folder
        self._gpus = gpus
        psutil.cpu_percent()  # the first has nothing to compare with
        self._before = psutil.net_io_counters()

    def look(self) -> SystemRecord:
        """Take a sample.

        Raises:
            psutil.Error, OSError: the system does not say.
        """
        memory = psutil.virtual_memory()
        record: SystemRecord = {
            "time": round(time.time(), 2),
            "node": self._node,
            "cpu_percent": psutil.cpu_percent(),
            "memory_gib": round((memory.total - memory.available) / _GIB, 3),
            "memory_percent": memory.percent,
        }
        if self._folder.exists():
            record["disk_gib_free"] = round(psutil.disk_usage(str(self._folder)).free / _GIB, 2)
        network = psutil.net_io_counters()
        if network is not None and self._before is not None:
            record["network_sent_gib"] = round(max(0, network.bytes_sent - self._before.bytes_sent) / _GIB, 4)
            record["network_received_gib"] = round(max(0, network.bytes_recv - self._before.bytes_recv) / _GIB, 4)
        gpus = self._gpus.samples()
        if gpus:
            record["gpus"] = gpus
        return record


class Thinning:
    """Makes fewer records of samples as time goes on: each is the mean of the samples since the one before.

    Args:
        parts: a record stands for at most the time so far divided by this, and at least for one sample.
    """

    def __init__(self, parts: float = _PARTS) -> None:
        self._parts = parts
        self._began: float | None = None
        self._written = 0.0
        self._held: list[SystemRecord] = []

    def add(self, sample: SystemRecord) -> SystemRecord | None:
        """Take a sample in; return the record that it completes."""
        now = sample["time"]
        if self._began is None:
            self._began = self._written = now
            return sample
        self._held.append(sample)
        if now - self._written < (now - self._began) / self._parts:
            if len(self._held) > 1:  # memory stays small: a week has 120,000 samples
                self._held = [mean_of(self._held)]
            return None
        self._written = now
        return self.rest()

    def rest(self) -> SystemRecord | None:
        """Return the mean of the samples that no record has yet."""
        held, self._held = self._held, []
        return mean_of(held) if held else None


@contextmanager
def sampled(
    store: Store, run_id: str, token: str, *, node: int, folder: Path, every_seconds: float = SAMPLE_SECONDS
) -> Iterator[None]:
    """Within, samples of this machine go into the store, from threads of their own.

    Args:
        store: where the run lives.
        run_id: the run.
        token: the attempt that is made.
        node: this machine's rank in it.
        folder: where the run works.
        every_seconds: pause between two samples.
    """
    chunks = ChunkWriter(store, run_id, "system", token, most_bytes=_KEPT_BYTES, first=node * _CHUNKS_OF_A_MACHINE + 1)
    over = threading.Event()
    sampled_last = threading.Event()

    def sample() -> None:
        thinning = Thinning()
        meter: MachineMeter | None = None

        def append(record: SystemRecord | None) -> None:
            if record is not None:
                chunks.append(json.dumps(record) + "\n")

        pause = min(1.0, every_seconds)  # short runs have a sample too
        while not over.wait(pause):
            try:
                if meter is None:
                    meter = MachineMeter(node, folder, GpuMeter(os.environ))
                    continue
                append(thinning.add(meter.look()))
            except Exception as error:  # noqa: BLE001 (whatever a driver or /proc does: the training goes on)
                _log.debug("no sample of the machine: %s", error)
            pause = every_seconds
        append(thinning.rest())
        sampled_last.set()

    def flush() -> None:
        while not over.wait(_FLUSH_SECONDS):
            _quietly(chunks.flush)
        sampled_last.wait(_END_SECONDS)
        _quietly(chunks.flush)

    threads = [
        threading.Thread(target=target, name=name, daemon=True)
        for name, target in (("samples", sample), ("system", flush))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        threads[1].join(_END_SECONDS)


def _quietly(call: Callable[[], None]) -> None:
    try:
        call()
    except (*STORE_ERRORS, RuntimeError) as error:
        _log.debug("samples of the machine wait: %s", error)

"""The record of the machine that an attempt runs on, made and written beside the training."""

import json
import logging
import os
import platform
import socket
import threading
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from typing import Any

import psutil

from runner.runs.attempts import Claim
from runner.runs.layout import IMAGE_VARIABLE
from runner.runs.measured.machine import write_machine
from runner.runs.record_types.measured import MachineRecord
from runner.storage.retry import after, retry_store_call
from runner.storage.store import Store
from runner.train.agent.machine.gpus import GpuMeter

_log = logging.getLogger(__name__)

CLUSTER_INFO = "SKYPILOT_CLUSTER_INFO"
"""SkyPilot's variable: JSON with ``cloud``, ``region`` and ``zone`` of the machine."""
_GIB = 1 << 30
_WRITE_SECONDS = 120.0


@cache
def installed_versions() -> dict[str, str]:
    """The version of every installed distribution by its name; of one that is there twice, the one that is imported."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name, version = distribution.metadata["Name"], distribution.version
        if name and version:
            found.setdefault(name, version)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def machine_record(token: str, environ: Mapping[str, str]) -> MachineRecord:
    """Return the record of this machine.

    Args:
        token: the attempt's.
        environ: the variables that say where SkyPilot found the machine, and which GPUs are seen.
    """
    described = GpuMeter(environ).describe()
    place = _place(environ)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "token": token,
        "host": socket.gethostname(),
        "infra": place.get("cloud"),
        "region": place.get("region"),
        "zone": place.get("zone"),
        "instance_type": place.get("instance_type"),
        "cpus": cpus,
        "memory_gib": round(psutil.virtual_memory().total / _GIB, 2),
        "gpus": described.gpus,
        "driver": described.driver,
        "cuda": described.cuda,
        "python": platform.python_version(),
        "versions": installed_versions(),
        "image": environ.get(IMAGE_VARIABLE) or None,
    }


class MachineWriter:
    """Writes the record of an attempt's machine from a thread. The attempt goes on without it.

    Args:
        store: where the run lives.
        claim: the attempt.
    """

    def __init__(self, store: Store, claim: Claim) -> None:
        self._store = store
        self._claim = claim
        self.record: MachineRecord | None = None
        """The record, as soon as it is known."""
        self._thread = threading.Thread(target=self._write, name="machine", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until it is written, for at most so long."""
        self._thread.join(seconds)

    def result_fields(self) -> dict[str, Any]:
        """What the run's result says of the machine; nothing while it is not known."""
        if self.record is None:
            return {}
        names = [gpu["name"] for gpu in self.record["gpus"]]
        device = ", ".join(
            name if names.count(name) == 1 else f"{names.count(name)} x {name}" for name in dict.fromkeys(names)
        )
        return {
            "device": device or "cpu",
            "driver": self.record.get("driver"),
            "versions": self.record["versions"],
        }

    def _write(self) -> None:
        claim = self._claim
        try:
            self.record = record = machine_record(claim.token, os.environ)
            retry_store_call(
                lambda: write_machine(self._store, claim.run_id, claim.number, record), until=after(_WRITE_SECONDS)
            )
        except Exception as error:  # noqa: BLE001 (a record for people: no attempt ends because of it)
            _log.debug("no record of the machine: %s", error)


def _place(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        place = json.loads(environ.get(CLUSTER_INFO, "{}"))
    except ValueError:
        return {}
    return (
        {name: value for name, value in place.items() if isinstance(value, str) and value}
        if isinstance(place, dict)
        else {}
    )

"""What a run's machines did (`SystemRecord`), for people and spreadsheets."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runner.reports.tables import number, text_table

_COLUMNS = {
    "node": "MACHINE",
    "cpu_percent": "CPU %",
    "memory_gib": "MEMORY GIB",
    "memory_percent": "MEMORY %",
    "disk_gib_free": "DISK FREE GIB",
    "network_sent_gib": "SENT GIB",
    "network_received_gib": "RECEIVED GIB",
}
_GPU_COLUMNS = {
    "utilization_percent": "GPU %",
    "memory_gib": "GPU GIB",
    "memory_total_gib": "OF GIB",
    "power_watts": "WATTS",
    "temperature_celsius": "°C",
}


def system_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as a table with the columns that have a value; of several GPUs, the values one after the other."""
    columns = {
        name: title for name, title in _COLUMNS.items() if any(record.get(name) is not None for record in records)
    }
    if len({record.get("node") for record in records}) == 1:
        columns.pop("node", None)
    gpu_columns = {
        name: title
        for name, title in _GPU_COLUMNS.items()
        if any(gpu.get(name) is not None for record in records for gpu in record.get("gpus", ()))
    }
    rows = []
    for record in records:
        gpus = [[_cell(gpu.get(name), 2) for gpu in record.get("gpus", ())] for name in gpu_columns]
        cells = [_cell(record.get(name), 2) for name in columns]
        rows.append([_time(record), *cells, *(" ".join(values) for values in gpus)])
    titles = ["TIME (UTC)", *columns.values(), *gpu_columns.values()]
    return text_table(titles, rows, right=range(1, len(titles)))


def flat_system(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with a field for each of a GPU's values: ``gpu0_utilization_percent``."""
    flat = {name: value for name, value in record.items() if name != "gpus"}
    for gpu in record.get("gpus", ()):
        prefix = f"gpu{gpu.get('index', 0)}_"
        flat |= {prefix + name: value for name, value in gpu.items() if name != "index"}
    return flat


def _time(record: Mapping[str, Any]) -> str:
    return f"{datetime.fromtimestamp(record['time'], UTC):%m-%d %H:%M:%S}"


def _cell(value: Any, digits: int) -> str:
    return "" if value is None else number(value, digits)

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
    columns, gpu_columns = _columns(records)
    titles = ["TIME (UTC)", *columns.values(), *gpu_columns.values()]
    return text_table(titles, [_cells(record, columns, gpu_columns) for record in records], right=range(1, len(titles)))


class SystemLines:
    """Records as lines of equal columns, which can be printed before the next record is known.

    Args:
        records: the first ones, which say which columns there will be.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._columns, self._gpu_columns = _columns(records)
        gpus = max((len(record.get("gpus", ())) for record in records), default=0)
        wide = dict.fromkeys(self._columns.values(), 8) | dict.fromkeys(self._gpu_columns.values(), 7 * gpus)
        self._widths = [len("01-01 00:00:00"), *(max(len(title), width) for title, width in wide.items())]

    def header(self) -> str:
        """Return the line above the others."""
        return self._join(["TIME (UTC)", *self._columns.values(), *self._gpu_columns.values()])

    def line(self, record: Mapping[str, Any]) -> str:
        """Return a record's line."""
        return self._join(_cells(record, self._columns, self._gpu_columns))

    def _join(self, cells: Sequence[str]) -> str:
        time, *others = zip(cells, self._widths, strict=True)
        return "  ".join([time[0].ljust(time[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def _columns(records: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the titles of the columns that have a value, by field: of the machine, and of its GPUs."""
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
    return columns, gpu_columns


def _cells(record: Mapping[str, Any], columns: Mapping[str, str], gpu_columns: Mapping[str, str]) -> list[str]:
    gpus = [[_cell(gpu.get(name), 2) for gpu in record.get("gpus", ())] for name in gpu_columns]
    return [
        _time(record),
        *(_cell(record.get(name), 2) for name in columns),
        *(" ".join(values) for values in gpus),
    ]


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

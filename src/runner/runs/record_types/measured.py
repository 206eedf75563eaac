"""The records of what attempts have measured of their machines, and of what their data and model resolved to."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from runner.runs.record_types.rules import Count, Line, Token


class GpuSample(TypedDict):
    """One GPU in a sample. What NVML does not tell of it is left out."""

    index: Count
    """Its place among the GPUs that the attempt sees, from 0."""
    utilization_percent: NotRequired[float]
    """Share of the time in which a kernel ran."""
    memory_gib: NotRequired[float]
    """Taken by all processes on it."""
    memory_total_gib: NotRequired[float]
    """What it has."""
    power_watts: NotRequired[float]
    """Drawn."""
    temperature_celsius: NotRequired[float]
    """Of the chip."""


class SystemRecord(TypedDict):
    """A line of ``system/…jsonl``: a sample of one machine, or the mean of several."""

    time: float
    """Seconds since 1970."""
    node: Count
    """The machine's rank; 0: the head."""
    cpu_percent: float
    """Of all its processors together: 100 is all of them."""
    memory_gib: float
    """Main memory that is not available."""
    memory_percent: float
    """The same as a share."""
    disk_gib_free: NotRequired[float]
    """Where the run works."""
    network_sent_gib: NotRequired[float]
    """Sent by the machine since the attempt began there."""
    network_received_gib: NotRequired[float]
    """Received since then."""
    gpus: NotRequired[list[GpuSample]]
    """Those that the attempt sees; absent where NVML is not there or did not answer."""
    samples: NotRequired[Count]
    """How many samples this is the mean of; absent: one."""


class GpuOfMachine(TypedDict):
    """A GPU of a machine."""

    name: Line
    """NVML's name of it."""
    memory_gib: float
    """What it has."""


class MachineRecord(TypedDict):
    """``attempts/<n>.machine.json``: the head's machine. Written once."""

    token: Token
    """The attempt's."""
    host: Line
    """Its host name."""
    infra: NotRequired[Line | None]
    """Where it was found, in SkyPilot's words."""
    region: NotRequired[Line | None]
    """The cloud's."""
    zone: NotRequired[Line | None]
    """The cloud's."""
    instance_type: NotRequired[Line | None]
    """The cloud's."""
    cpus: Count
    """Processors that the process may use."""
    memory_gib: float
    """Main memory."""
    gpus: list[GpuOfMachine]
    """Those that the attempt sees."""
    driver: NotRequired[Line | None]
    """NVIDIA's."""
    cuda: NotRequired[Line | None]
    """The newest CUDA that the driver knows."""
    python: Line
    """Its version."""
    versions: Mapping[Line, Line]
    """Every installed distribution's version by its name."""
    image: NotRequired[Line | None]
    """The container's image, where it is known."""


class DatasetInputs(TypedDict):
    """What one entry of the data was when a stage was trained."""

    entry: Line
    """The entry (``data.train.0``)."""
    commit: Line | None
    """The hub's commit; None: not from the hub, or unknown."""
    rows: NotRequired[Count | None]
    """How many were read of it."""
    fingerprint: NotRequired[Line | None]
    """BLAKE3 of its contents; None: its commit says it."""


class LengthsRecord(TypedDict):
    """How long the examples are that a stage is trained on, in tokens, after `max_length`."""

    examples: Count
    """How many there are."""
    tokens: Count
    """Of all together."""
    least: Count
    """Of the shortest."""
    median: Count
    """Half of the examples have no more."""
    greatest: Count
    """Of the longest."""
    width: Count
    """How many lengths each of `counts` is of."""
    counts: list[Count]
    """How many examples are shorter than `width`, than twice that, and so on."""


class InputsRecord(TypedDict):
    """``attempts/<n>.inputs-<stage>.json``: what model and data a stage of an attempt was trained with."""

    token: NotRequired[Token]
    """The attempt's."""
    model: Line
    """As the recipe names it."""
    model_commit: Line | None
    """The hub's commit of its files; None: a local folder or a builtin model."""
    tokenizer: Line
    """BLAKE3 of its vocabulary and chat template."""
    rows: Line
    """BLAKE3 of the rows that are trained on, in their order."""
    row_count: Count
    """How many those are."""
    datasets: list[DatasetInputs]
    """The entries of the data."""
    lengths: NotRequired[LengthsRecord | None]
    """How long the examples are; None: they are tokenized as they are trained on."""

"""The records of what a run costs: prices that a launch found, and what its owner is willing to pay."""

from typing import NotRequired, TypedDict

from runner.runs.record_types.rules import Count, Line, Token


class PriceRecord(TypedDict):
    """What an hour of one machine costs."""

    dollars_per_hour: float
    """US dollars; of a machine that several workers of a sweep share, this worker's share."""
    source: Line
    """Whose price it is, in words: ``SkyPilot's catalog of 2026-11-02: aws us-east-1a, L4:1, spot``."""


class AttemptPrice(PriceRecord):
    """``attempts/<n>.price.json``: written once, by the attempt; absent where a machine has no price."""

    token: Token
    """The attempt's."""


class PriceOffer(TypedDict):
    """A machine that a launch may be given, and its price."""

    infra: Line
    """SkyPilot's name of the cloud."""
    region: NotRequired[Line | None]
    """The region; None: any."""
    zone: NotRequired[Line | None]
    """The zone; None: any of the region."""
    accelerators: Line
    """``L4:1``."""
    instance_type: NotRequired[Line | None]
    """The cloud's name of the machine."""
    cpus: NotRequired[float]
    """How many virtual CPUs it has."""
    use_spot: NotRequired[bool]
    """Whether the price is that of a spot machine."""
    dollars_per_hour: float
    """US dollars."""


class PricesRecord(TypedDict):
    """``launches/<n>.prices.json`` of a run or a sweep: what the machines cost that SkyPilot may take. Written once."""

    source: Line
    """Where the prices are from, in words."""
    offers: list[PriceOffer]
    """The machines."""


class BudgetRecord(TypedDict):
    """``budget/<n>.json``, and ``budget`` in ``run.json``: what the owner says of money. The newest counts."""

    number: NotRequired[Count]
    """Counted from 1, as in the key; absent from ``run.json``."""
    max_cost: NotRequired[float | None]
    """The most that all attempts together may cost, in US dollars; None: any."""
    hourly_cost: NotRequired[float | None]
    """What an hour of one machine costs, in US dollars, by the owner's account; None: SkyPilot's catalog says it."""
    set_at: NotRequired[Line]
    """When."""

"""What a machine costs: the prices that a launch has found, and which of them is this machine's."""

import json
from collections.abc import Iterable, Mapping, Sequence

from runner.runs.record_types.money import PriceOffer, PriceRecord, PricesRecord
from runner.runs.records import find_record, numbered_records
from runner.storage.store import Store

HOURLY_COST_VARIABLE = "RUNNER_HOURLY_COST"
"""The variable that says what an hour of this machine costs, in US dollars."""

_KIND = "prices"


def note_prices(store: Store, launches: str, number: int, prices: PricesRecord | None) -> None:
    """Record what the machines of a launch cost; None, and no offers: nothing is known, and nothing is written.

    Args:
        store: where the run or the sweep lives.
        launches: the prefix of its launches.
        number: the launch's.
        prices: what was found.
    """
    if prices is not None and prices["offers"]:
        store.create(f"{launches}{number:04d}.{_KIND}.json", json.dumps(prices).encode() + b"\n")


def read_prices(store: Store, launches: str) -> PricesRecord | None:
    """The prices of the newest launch that has found any; None if there is none.

    Raises:
        DamagedRecord: the record cannot be trusted.
    """
    known = [number for number, kinds in numbered_records(store, launches).items() if _KIND in kinds]
    return find_record(store, f"{launches}{max(known):04d}.{_KIND}.json", PricesRecord) if known else None


def stated_price(dollars: float, *, by: str = "--hourly-cost") -> PriceRecord:
    """The price that the owner has stated.

    Args:
        dollars: for an hour of one machine.
        by: the option or the variable.
    """
    return PriceRecord(dollars_per_hour=dollars, source=f"as stated by {by}")


def find_price(
    prices: PricesRecord | None,
    environ: Mapping[str, str],
    *,
    accelerator: str | None = None,
    cpus: int | None = None,
    share: int = 1,
    or_dearest: bool = False,
) -> PriceRecord | None:
    """Return what an hour of this machine costs; None if that is not known.

    SkyPilot (0.14) tells a job its cloud, region and zone (``SKYPILOT_CLUSTER_INFO``) and how many GPUs there are
    (``SKYPILOT_NUM_GPUS_PER_NODE``), but neither the instance type nor whether it is a spot machine. Where several
    offers are left with what is known, the dearest counts, and the source says so.

    Args:
        prices: what the launch found.
        environ: the variables of this process.
        accelerator: the driver's name of the GPU, such as ``NVIDIA A100-SXM4-80GB``; None: unknown.
        cpus: how many the machine has, by which instance types are told apart; None: unknown.
        share: how many workers share the machine.
        or_dearest: take the dearest offer of all where SkyPilot says nothing of the cloud, or of another one.
    """
    if prices is None or not prices["offers"]:
        return None
    place = _place(environ)
    offers: Sequence[PriceOffer] = [
        offer for offer in prices["offers"] if offer["infra"].lower() == place.get("cloud", "").lower()
    ]
    sure = bool(offers)
    if not sure:
        if not or_dearest:
            return None
        offers = prices["offers"]
    for key in ("region", "zone"):
        there = [offer for offer in offers if offer.get(key) in (None, place.get(key))]
        offers = _narrowed(offers, there, known=key in place)
    offers = _of_accelerator(offers, accelerator, environ.get("SKYPILOT_NUM_GPUS_PER_NODE", ""))
    offers = _narrowed(offers, [offer for offer in offers if offer.get("cpus") == cpus], known=cpus is not None)
    dearest = max(offers, key=lambda offer: offer["dollars_per_hour"])
    several = (
        "" if sure and len({offer["dollars_per_hour"] for offer in offers}) == 1 else "the dearest of those asked for"
    )
    words = ", ".join(filter(None, (_words(dearest), several, f"shared by {share}" if share > 1 else "")))
    return PriceRecord(dollars_per_hour=dearest["dollars_per_hour"] / share, source=f"{prices['source']}: {words}")


def _place(environ: Mapping[str, str]) -> dict[str, str]:
    try:
        told = json.loads(environ.get("SKYPILOT_CLUSTER_INFO", ""))
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    return {key: value for key, value in told.items() if key in ("cloud", "region", "zone") and isinstance(value, str)}


def _narrowed(offers: Sequence[PriceOffer], narrower: Sequence[PriceOffer], *, known: bool) -> Sequence[PriceOffer]:
    return narrower if known and narrower else offers


def _of_accelerator(offers: Sequence[PriceOffer], driver_name: str | None, count: str) -> Sequence[PriceOffer]:
    """Return the offers with this GPU, as far as that is known. An A100-80GB is also an A100: the longest counts."""
    words = set((driver_name or "").replace("-", " ").upper().split())

    def name(offer: PriceOffer) -> str:
        return offer["accelerators"].partition(":")[0]

    named = [offer for offer in offers if set(name(offer).upper().split("-")) <= words]
    longest = max((len(name(offer)) for offer in named), default=0)
    offers = [offer for offer in named if len(name(offer)) == longest] or offers
    return [offer for offer in offers if offer["accelerators"].partition(":")[2] == count] or offers


def _words(offer: PriceOffer) -> str:
    place = offer.get("zone") or offer.get("region")
    return ", ".join(
        filter(
            None,
            (
                f"{offer['infra']} {place}" if place else offer["infra"],
                offer.get("instance_type"),
                offer["accelerators"],
                "spot" if offer.get("use_spot") else "on demand",
            ),
        )
    )


def by_name(offers: Iterable[PriceOffer]) -> list[PriceOffer]:
    """Return offers in an order that does not depend on how they were found, each once."""
    unique = {json.dumps(offer, sort_keys=True): offer for offer in offers}
    return [unique[key] for key in sorted(unique)]

"""What an hour of a worker costs, by the prices that the sweep's definition keeps. Pure."""

import json
import os
from collections.abc import Mapping

from runner.runs.measured.prices import find_price, read_prices
from runner.runs.record_types.money import PriceRecord
from runner.storage.store import Store
from runner.sweeps.layout import SLOTS_VARIABLE, sweep_key


def find_worker_price(
    store: Store, sweep_id: str, prices: Mapping[str, float], accelerator: str | None, environ: Mapping[str, str]
) -> PriceRecord | None:
    """Return what an hour of this worker costs: by the offers that its launch found, else by the sweep's definition.

    Args:
        store: where the sweep lives.
        sweep_id: the sweep.
        prices: the definition's.
        accelerator: as in `price_of_worker`, as is `environ`.
        environ: of the worker.

    Raises:
        DamagedRecord: the record of the offers cannot be trusted.
    """
    offered = read_prices(store, sweep_key(sweep_id, "launches/"))
    found = find_price(
        offered, environ, accelerator=accelerator, cpus=os.cpu_count(), share=_slots(environ), or_dearest=True
    )
    if found is not None:
        return found
    dollars = price_of_worker(prices, accelerator, environ)
    return PriceRecord(dollars_per_hour=dollars, source="by the sweep's definition") if dollars else None


def price_of_worker(prices: Mapping[str, float], accelerator: str | None, environ: Mapping[str, str]) -> float:
    """Return what an hour of this worker costs, in US dollars: its share of its machine's price.

    Where it is not known which of the machines this is, the dearest counts.

    Args:
        prices: of a machine, by ``L4`` and ``aws/L4`` (`runner.planning.prices.hourly_prices`).
        accelerator: the driver's name of the GPU, such as ``NVIDIA A100-SXM4-80GB``; None: unknown.
        environ: of the worker: SkyPilot tells the cloud there, and what started several workers their number.
    """
    cloud = _cloud(environ)
    in_cloud = {name.removeprefix(f"{cloud}/"): price for name, price in prices.items() if name.startswith(f"{cloud}/")}
    known = in_cloud or {name: price for name, price in prices.items() if "/" not in name}
    if not known:
        return 0.0
    words = set((accelerator or "").replace("-", " ").upper().split())
    named = {name: price for name, price in known.items() if set(name.upper().split("-")) <= words}
    # An A100-80GB is also an A100: the longest name says most.
    price = named[max(named, key=len)] if named else max(known.values())
    return price / _slots(environ)


def _cloud(environ: Mapping[str, str]) -> str:
    try:
        return str(json.loads(environ.get("SKYPILOT_CLUSTER_INFO", ""))["cloud"]).lower()
    except (ValueError, KeyError, TypeError):
        return ""


def _slots(environ: Mapping[str, str]) -> int:
    text = environ.get(SLOTS_VARIABLE, "")
    return max(1, int(text)) if text.isdecimal() else 1

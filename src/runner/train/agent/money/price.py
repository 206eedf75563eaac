"""What an hour of this machine costs, and how much its run may cost: found before the attempt begins."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from runner.runs.layout import run_key
from runner.runs.measured.budget import read_budget
from runner.runs.measured.prices import HOURLY_COST_VARIABLE, find_price, read_prices, stated_price
from runner.runs.record_types.money import PriceRecord
from runner.runs.record_types.run import RunDocument
from runner.storage.store import Store
from runner.train.agent.money.gpu import find_accelerator_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Money:
    """What is known of money when an attempt begins."""

    price: PriceRecord | None = None
    """What an hour of one of its machines costs; None: they have no price."""
    max_cost: float | None = None
    """The most that all attempts together may cost, in US dollars; None: any."""


def find_money(store: Store, document: RunDocument, environ: Mapping[str, str] = os.environ) -> Money:
    """Find what an hour of this machine costs, and how much the run may cost.

    Args:
        store: where the run lives.
        document: its ``run.json``.
        environ: the variables of this process.

    Raises:
        DamagedRecord: a record cannot be trusted.
    """
    budget = read_budget(store, document)
    price = None if budget.hourly_cost is None else stated_price(budget.hourly_cost)
    price = price or _stated_here(environ)
    if price is None:
        prices = read_prices(store, run_key(document["run_id"], "launches/"))
        if prices is not None:
            price = find_price(
                prices,
                environ,
                accelerator=find_accelerator_name(environ),
                cpus=os.cpu_count(),
                or_dearest=budget.max_cost is not None,
            )
    return Money(price=price, max_cost=budget.max_cost)


def _stated_here(environ: Mapping[str, str]) -> PriceRecord | None:
    """The price that the machine itself states, such as a node of a Slurm cluster."""
    text = environ.get(HOURLY_COST_VARIABLE, "").strip().removeprefix("$")
    try:
        dollars = float(text) if text else 0.0
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < float("inf"):
        _log.warning("%s is not an amount of dollars: %r", HOURLY_COST_VARIABLE, text)
        return None
    return stated_price(dollars, by=HOURLY_COST_VARIABLE) if dollars else None

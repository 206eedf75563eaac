"""Prices of machines with GPUs: from SkyPilot's catalogs if this machine has them, else from a snapshot.

The catalogs are CSV files (``~/.sky/catalogs/v8/<cloud>/vms.csv``), put there by the user or by SkyPilot. They are read
without importing SkyPilot, which takes seconds, and the result is cached until a file changes.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from runner.fit.accelerators import ACCELERATORS
from runner.paths import home_folder, price_cache
from runner.storage.atomic import atomic_write

SNAPSHOT = Path(__file__).with_name("prices.json")
OLD_DAYS = 60
"""Prices that are older are said to be."""
CATALOG_VERSION = "v8"
"""The catalogs' schema version in SkyPilot 0.14."""
_NAMES = {
    name.lower(): accelerator.name
    for accelerator in ACCELERATORS.values()
    for name in (accelerator.name, *accelerator.catalog_names)
}
_GOOGLE_HOSTS: Mapping[str, tuple[str, Mapping[int, str]]] = {
    "A100": ("a2-highgpu-{}g", {}),
    "A100-80GB": ("a2-ultragpu-{}g", {}),
    "H100": ("a3-highgpu-{}g", {}),
    "H200": ("a3-ultragpu-{}g", {}),
    "B200": ("a4-highgpu-{}g", {}),
    "L4": ("g2-standard-{}", {1: "4", 2: "24", 4: "48", 8: "96"}),
    "T4": ("n1-highmem-{}", {1: "4", 2: "8", 4: "16"}),
    "V100": ("n1-highmem-{}", {1: "8", 2: "16", 4: "32", 8: "64"}),
}
"""The machine type that SkyPilot uses for a number of a GPU: Google prices machine and GPUs in separate rows."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A machine that can be rented."""

    infra: str
    """SkyPilot's name of the cloud."""
    region: str
    """The region where it is cheapest on demand."""
    accelerator: str
    """The GPU's name in `runner.fit.accelerators`."""
    count: int
    """Number of its GPUs."""
    instance_type: str
    price: float | None
    """Dollars an hour on demand."""
    spot: float | None
    """Dollars an hour as spot, in the cheapest region; None if not offered or unknown."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """All known offers, and their source."""

    offers: tuple[Offer, ...]
    source: str
    """Which catalogs or which snapshot, and its date, in words."""
    day: date | None = None
    """The day that they are of; of a snapshot the first of its month."""

    def too_old(self, today: date) -> str | None:
        """Return a sentence if the prices are older than `OLD_DAYS`."""
        age = 0 if self.day is None else (today - self.day).days
        if age <= OLD_DAYS:
            return None
        return f"the prices are {age} days old; `sky gpus list` fetches newer ones"

    def of(self, accelerator: str, count: int) -> list[Offer]:
        """Return the machines with exactly this many of a GPU."""
        return [offer for offer in self.offers if offer.accelerator == accelerator and offer.count == count]


def load_prices(catalogs: Path | None = None) -> Prices:
    """Return the offers in SkyPilot's catalogs on this machine, or the snapshot's if none can be read.

    Args:
        catalogs: a folder with one folder per cloud; by default SkyPilot's.
    """
    folder = catalogs or home_folder() / ".sky" / "catalogs" / CATALOG_VERSION
    offers: list[Offer] = []
    newest = 0.0
    clouds: list[str] = []
    for file in sorted(folder.glob("*/vms.csv")):
        try:
            cloud_offers = _read_cached(file)
            newest = max(newest, file.stat().st_mtime)
        except (OSError, ValueError, IndexError):
            continue  # another schema, or an incomplete file: SkyPilot itself reports it
        if cloud_offers:
            clouds.append(file.parent.name)
            offers += cloud_offers
    if offers:
        day = date.fromtimestamp(newest)
        return Prices(offers=tuple(offers), source=f"SkyPilot's catalogs ({', '.join(clouds)}), of {day}", day=day)
    return snapshot()


def snapshot() -> Prices:
    """Return the prices that ship with the package."""
    content = json.loads(SNAPSHOT.read_text())
    offers = [Offer(**{key: value for key, value in row.items() if key != "source"}) for row in content["prices"]]
    words = f"a snapshot of {content['date']}, since SkyPilot's catalogs are not on this machine"
    day = date.fromisoformat(f"{content['date']}-01")
    return Prices(offers=tuple(offers), source=words, day=day)


def _read_cached(file: Path) -> list[Offer]:
    """Return a catalog's offers, parsed once per version of the file."""
    state = file.stat()
    key = hashlib.sha256(f"{file.resolve()} {state.st_mtime_ns} {state.st_size} 1".encode()).hexdigest()[:24]
    cached = price_cache() / f"{key}.json"
    try:
        return [Offer(**row) for row in json.loads(cached.read_text())]
    except (OSError, ValueError, TypeError):
        offers = _read(file)
    try:
        with atomic_write(cached) as part:
            part.write_text(json.dumps([asdict(offer) for offer in offers]))
    except OSError:
        pass  # it is only a cache
    return offers


def _read(file: Path) -> list[Offer]:
    """Return the cheapest offer of each GPU and count in a cloud's regions and instance types."""
    cloud = file.parent.name
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        columns = {name: header.index(name) for name in ("InstanceType", "AcceleratorName", "AcceleratorCount")}
        columns |= {name: header.index(name) for name in ("Price", "SpotPrice", "Region")}
        zone = header.index("AvailabilityZone") if "AvailabilityZone" in header else columns["Region"]
        rows = ({**{name: row[at] for name, at in columns.items()}, "zone": row[zone]} for row in reader)
        machines = google_machines(rows) if cloud == "gcp" else rows
        return _cheapest(cloud, machines)


def _cheapest(cloud: str, rows: Iterable[Mapping[str, Any]]) -> list[Offer]:
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        name, count = _NAMES.get(row["AcceleratorName"].lower()), parse_price(row["AcceleratorCount"])
        if name is None or count is None or count != int(count) or not row["InstanceType"]:
            continue
        price, spot = parse_price(row["Price"]), parse_price(row["SpotPrice"])
        offer = best.setdefault(
            (name, int(count)), {"price": None, "spot": None, "region": row["Region"], "type": row["InstanceType"]}
        )
        if price is not None and (offer["price"] is None or price < offer["price"]):
            offer.update(price=price, region=row["Region"], type=row["InstanceType"])
        if spot is not None and (offer["spot"] is None or spot < offer["spot"]):
            offer["spot"] = spot
    return [
        Offer(
            infra=cloud,
            region=offer["region"],
            accelerator=name,
            count=count,
            instance_type=offer["type"],
            price=offer["price"],
            spot=offer["spot"],
        )
        for (name, count), offer in sorted(best.items())
    ]


def google_machines(rows: Iterable[Mapping[str, str]]) -> Iterator[Mapping[str, Any]]:
    """Yield Google's rows with machine and GPUs combined, for each zone that has both."""
    hosts: dict[tuple[str, str], Mapping[str, str]] = {}
    chips: list[Mapping[str, str]] = []
    for row in rows:
        if row["AcceleratorName"]:
            chips.append(row)
        elif row["InstanceType"].startswith(("a2-", "a3-", "a4-", "g2-", "n1-highmem-")):
            hosts[row["InstanceType"], row["zone"]] = row
    for chip in chips:
        name, count = _NAMES.get(chip["AcceleratorName"].lower(), ""), parse_price(chip["AcceleratorCount"])
        if chip["InstanceType"]:
            yield chip
        if name not in _GOOGLE_HOSTS or count is None:
            continue
        form, sizes = _GOOGLE_HOSTS[name]
        size = sizes.get(int(count)) if sizes else str(int(count))
        host = hosts.get((form.format(size), chip["zone"]))
        if host is not None:
            yield {
                **chip,
                "InstanceType": host["InstanceType"],
                "vCPUs": host.get("vCPUs", ""),
                "MemoryGiB": host.get("MemoryGiB", ""),
                "Price": _sum(chip["Price"], host["Price"]),
                "SpotPrice": _sum(chip["SpotPrice"], host["SpotPrice"]),
            }


def _sum(first: str, second: str) -> str:
    prices = parse_price(first), parse_price(second)
    return "" if prices[0] is None or prices[1] is None else str(prices[0] + prices[1])


def parse_price(text: str) -> float | None:
    """Parse a price; None if it is not a number or cannot be one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 10_000 else None


def cheapest_offers(offers: Sequence[Offer], *, spot: bool) -> list[Offer]:
    """Return the offers that have a price, the lowest first; with `spot`, by the spot price if there is one."""

    def price(offer: Offer) -> float | None:
        return (offer.spot if spot else None) or offer.price

    return sorted((offer for offer in offers if price(offer) is not None), key=lambda offer: price(offer) or 0.0)


def hourly_prices(resources: Mapping[str, Any], prices: Prices) -> dict[str, float]:
    """Return what an hour of the machines costs that SkyPilot may take, in US dollars, as far as that is known.

    Two kinds of keys: ``L4`` is the dearest machine with it that may be taken, and ``aws/L4`` the cheapest one of a
    cloud, which is the one that SkyPilot takes there.

    Args:
        resources: SkyPilot's `resources`, as a `ResolvedResources` has them.
        prices: the offers.
    """
    found: dict[str, float] = {}
    one: Sequence[Mapping[str, Any]] = [{}]
    entries = next((resources[choice] for choice in ("any_of", "ordered") if resources.get(choice)), one)
    for entry in entries:
        machine = {**resources, **entry}
        name, _, number = str(machine.get("accelerators") or "").partition(":")
        known, count = _NAMES.get(name.lower()), parse_price(number or "1")
        place = str(machine.get("infra") or machine.get("cloud") or "*").lower().partition("/")[0]
        if known is None or count is None:
            continue
        for offer in prices.of(known, int(count)):
            price = (offer.spot if machine.get("use_spot") else None) or offer.price
            most = machine.get("max_hourly_cost")
            if price is None or (most is not None and price > most) or place not in ("*", offer.infra):
                continue
            found[known] = max(price, found.get(known, 0.0))
            key = f"{offer.infra}/{known}"
            found[key] = min(price, found.get(key, price))
    return found

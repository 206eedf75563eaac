"""What machines with GPUs cost: from SkyPilot's own catalogs where they lie on this machine, else from a snapshot.

The catalogs are CSV files (``~/.sky/catalogs/v8/<cloud>/vms.csv``), seeded by a person or fetched by SkyPilot. They are
read without importing SkyPilot, which takes seconds, and what was found is kept until a file changes.
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
from runner.paths import price_cache

SNAPSHOT = Path(__file__).with_name("prices.json")
_VERSION = "v8"
"""The catalogs' schema, as SkyPilot 0.14 has it."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A machine that can be rented."""

    infra: str
    """SkyPilot's name of the cloud."""
    region: str
    """Where it is cheapest on demand."""
    accelerator: str
    """The GPU, by the name that it has in `runner.fit.accelerators`."""
    count: int
    """GPUs of the machine."""
    instance_type: str
    price: float | None
    """Dollars an hour on demand."""
    spot: float | None
    """Dollars an hour as spot, where that is cheapest; None: not to be had, or not known."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """All offers, and how old they are."""

    offers: tuple[Offer, ...]
    source: str
    """In words, for people: which catalogs or which snapshot, of when."""

    def of(self, accelerator: str, count: int) -> list[Offer]:
        """Machines with exactly so many of a GPU."""
        return [offer for offer in self.offers if offer.accelerator == accelerator and offer.count == count]


def load_prices(catalogs: Path | None = None) -> Prices:
    """The offers of SkyPilot's catalogs on this machine, or the snapshot's if there are none that can be read.

    Args:
        catalogs: the folder with one folder for each cloud; by default SkyPilot's.
    """
    folder = catalogs or Path.home() / ".sky" / "catalogs" / _VERSION
    offers: list[Offer] = []
    newest = 0.0
    clouds: list[str] = []
    for file in sorted(folder.glob("*/vms.csv")):
        try:
            found = _cached(file)
            newest = max(newest, file.stat().st_mtime)
        except (OSError, ValueError, IndexError):
            continue  # another schema, or half a file: SkyPilot will say so itself
        if found:
            clouds.append(file.parent.name)
            offers += found
    if offers:
        day = date.fromtimestamp(newest).isoformat()
        return Prices(offers=tuple(offers), source=f"SkyPilot's catalogs ({', '.join(clouds)}), of {day}")
    return snapshot()


def snapshot() -> Prices:
    """The prices that ship with the package."""
    content = json.loads(SNAPSHOT.read_text())
    offers = [Offer(**{key: value for key, value in row.items() if key != "source"}) for row in content["prices"]]
    words = f"a snapshot of {content['date']}, since SkyPilot's catalogs are not on this machine"
    return Prices(offers=tuple(offers), source=words)


def _cached(file: Path) -> list[Offer]:
    """A catalog's offers, read once for each version of the file."""
    state = file.stat()
    key = hashlib.sha256(f"{file.resolve()} {state.st_mtime_ns} {state.st_size} 1".encode()).hexdigest()[:24]
    kept = price_cache() / f"{key}.json"
    try:
        return [Offer(**row) for row in json.loads(kept.read_text())]
    except (OSError, ValueError, TypeError):
        offers = _read(file)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([asdict(offer) for offer in offers]))
    except OSError:
        pass  # only a cache
    return offers


_NAMES = {
    name.lower(): accelerator.name
    for accelerator in ACCELERATORS.values()
    for name in (accelerator.name, *accelerator.catalog_names)
}


def _read(file: Path) -> list[Offer]:
    """The cheapest offer of each GPU and count, over a cloud's regions and instance types."""
    cloud = file.parent.name
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        columns = {name: header.index(name) for name in ("InstanceType", "AcceleratorName", "AcceleratorCount")}
        columns |= {name: header.index(name) for name in ("Price", "SpotPrice", "Region")}
        zone = header.index("AvailabilityZone") if "AvailabilityZone" in header else columns["Region"]
        rows = ({**{name: row[at] for name, at in columns.items()}, "zone": row[zone]} for row in reader)
        machines = _google(rows) if cloud == "gcp" else rows
        return _cheapest(cloud, machines)


def _cheapest(cloud: str, rows: Iterable[Mapping[str, Any]]) -> list[Offer]:
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        name, count = _NAMES.get(row["AcceleratorName"].lower()), _number(row["AcceleratorCount"])
        if name is None or count is None or count != int(count) or not row["InstanceType"]:
            continue
        price, spot = _number(row["Price"]), _number(row["SpotPrice"])
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
"""The machine that SkyPilot puts so many of a GPU into: Google prices machine and GPUs apart, in rows of their own."""


def _google(rows: Iterable[Mapping[str, str]]) -> Iterator[Mapping[str, Any]]:
    """Google's rows with machine and GPUs together, for each zone that has both."""
    hosts: dict[tuple[str, str], Mapping[str, str]] = {}
    chips: list[Mapping[str, str]] = []
    for row in rows:
        if row["AcceleratorName"]:
            chips.append(row)
        elif row["InstanceType"].startswith(("a2-", "a3-", "a4-", "g2-", "n1-highmem-")):
            hosts[row["InstanceType"], row["zone"]] = row
    for chip in chips:
        name, count = _NAMES.get(chip["AcceleratorName"].lower(), ""), _number(chip["AcceleratorCount"])
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
                "Price": _sum(chip["Price"], host["Price"]),
                "SpotPrice": _sum(chip["SpotPrice"], host["SpotPrice"]),
            }


def _sum(first: str, second: str) -> str:
    one, two = _number(first), _number(second)
    return "" if one is None or two is None else str(one + two)


def _number(text: str) -> float | None:
    """None: not a number, or none that can be a price."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 10_000 else None


def cheapest_offers(offers: Sequence[Offer], *, spot: bool) -> list[Offer]:
    """The offers that have a price, the lowest first; with `spot`, spot prices count where there are any."""

    def price(offer: Offer) -> float | None:
        return (offer.spot if spot else None) or offer.price

    return sorted((offer for offer in offers if price(offer) is not None), key=lambda offer: price(offer) or 0.0)

"""What the machines cost that SkyPilot may take for a launch: by zone, where its catalogs say that.

A launch records these (`runner.runs.measured.prices`), and each attempt finds its own machine among them. Spot prices
differ by zone; those on demand do not (SkyPilot's catalogs have one price for a region).
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import UserError
from runner.fit.accelerators import find_accelerator
from runner.paths import home_folder, price_cache
from runner.planning.prices import CATALOG_VERSION, google_machines, parse_price, snapshot
from runner.runs.measured.prices import by_name
from runner.runs.record_types.money import PriceOffer, PricesRecord
from runner.storage.atomic import atomic_write

_MOST_OFFERS = 3000
"""More are not recorded: of each zone then only the cheapest machine, which is the one that SkyPilot tries first."""


class CatalogRow(NamedTuple):
    """A row of a catalog: a machine type in a zone."""

    region: str
    zone: str | None
    instance_type: str
    accelerator: str
    """SkyPilot's name, as the catalog writes it; empty: none."""
    gpus: float
    cpus: float | None
    memory_gib: float | None
    price: float | None
    spot: float | None


def offered_prices(resources: Mapping[str, Any] | None, catalogs: Path | None = None) -> PricesRecord | None:
    """Return what the machines cost that SkyPilot may take; None if nothing is known of them.

    Args:
        resources: SkyPilot's `resources`, as a `ResolvedResources` has them; None for this machine.
        catalogs: a folder with one folder per cloud; by default SkyPilot's.
    """
    if not resources:
        return None
    folder = catalogs or home_folder() / ".sky" / "catalogs" / CATALOG_VERSION
    entries = [{**resources, **entry} for entry in _entries(resources)]
    places = {_place(entry)[0] for entry in entries}
    offers: list[PriceOffer] = []
    days: list[str] = []
    for file in sorted(folder.glob("*/vms.csv")):
        cloud = file.parent.name
        if "*" not in places and cloud not in places:
            continue
        try:
            named = any(entry.get("instance_type") for entry in entries)
            rows = list(_read(file, _zone_names(file.parent))) if named else _rows(file)
            day = date.fromtimestamp(file.stat().st_mtime).isoformat()
        except (OSError, ValueError, IndexError):
            continue  # another schema, or an incomplete file: SkyPilot itself reports it
        found = [offer for entry in entries for offer in _offers(cloud, entry, rows)]
        if found:
            offers += found
            days.append(day)
    if offers:
        return PricesRecord(source=f"SkyPilot's catalog of {max(days)}", offers=_limited(by_name(offers)))
    known = snapshot()
    for entry in entries:
        offers += _of_snapshot(entry)
    if not offers:
        return None
    return PricesRecord(source=known.source.partition(",")[0], offers=by_name(offers))


def _entries(resources: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    one: Sequence[Mapping[str, Any]] = [{}]
    return next((resources[choice] for choice in ("any_of", "ordered") if resources.get(choice)), one)


def _place(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """The cloud, region and zone that are asked for; ``*``: any."""
    cloud, _, rest = str(entry.get("infra") or entry.get("cloud") or "*").partition("/")
    region, _, zone = rest.partition("/")
    return cloud.lower(), region or str(entry.get("region") or "*"), zone or str(entry.get("zone") or "*")


def _accelerators(entry: Mapping[str, Any]) -> tuple[str, float]:
    name, _, count = str(entry.get("accelerators") or "").partition(":")
    return name, parse_price(count) or 1.0


def _offers(cloud: str, entry: Mapping[str, Any], rows: Iterable[CatalogRow]) -> Iterator[PriceOffer]:
    """Yield the machines of a cloud that one entry of the resources lets SkyPilot take."""
    wanted = _place(entry)
    name, count = _accelerators(entry)
    instance_type, spot, most = entry.get("instance_type"), bool(entry.get("use_spot")), entry.get("max_hourly_cost")
    if wanted[0] not in ("*", cloud) or not (name or instance_type):
        return
    for row in rows:
        price = row.spot if spot else row.price
        is_wanted = (
            price is not None
            and (most is None or price <= most)
            and (instance_type is None or row.instance_type == instance_type)
            and (not name or (row.accelerator.lower() == name.lower() and abs(row.gpus - count) < 0.01))
            and wanted[1] in ("*", row.region)
            and (wanted[2] == "*" or row.zone is None or wanted[2] == row.zone)
            and _is_enough(row.cpus, entry.get("cpus"))
            and _is_enough(row.memory_gib, entry.get("memory"))
        )
        if is_wanted and price is not None:
            yield _offer(cloud, row, price, spot)


def _offer(cloud: str, row: CatalogRow, price: float, spot: bool) -> PriceOffer:
    offer = PriceOffer(
        infra=cloud,
        region=row.region,
        instance_type=row.instance_type,
        accelerators=f"{row.accelerator}:{row.gpus:g}" if row.accelerator else "",
        use_spot=spot,
        dollars_per_hour=price,
    )
    if spot and row.zone:
        offer["zone"] = row.zone  # on demand, a region has one price
    if row.cpus is not None:
        offer["cpus"] = row.cpus
    return offer


def _of_snapshot(entry: Mapping[str, Any]) -> Iterator[PriceOffer]:
    """Yield the snapshot's machines that one entry lets SkyPilot take: the cheapest of each cloud."""
    name, count = _accelerators(entry)
    try:
        known = find_accelerator(name).name if name else ""
    except UserError:
        return
    cloud = _place(entry)[0]
    most = entry.get("max_hourly_cost")
    for offer in snapshot().of(known, int(count)) if count == int(count) else ():
        spot = bool(entry.get("use_spot")) and offer.spot is not None
        price = offer.spot if spot else offer.price
        if price is None or (most is not None and price > most) or cloud not in ("*", offer.infra):
            continue
        yield PriceOffer(
            infra=offer.infra,
            instance_type=offer.instance_type,
            accelerators=f"{name}:{count:g}",
            use_spot=spot,
            dollars_per_hour=price,
        )


def _is_enough(has: float | None, asked: Any) -> bool:
    """Whether a machine has what SkyPilot is asked for: ``8``, ``8+``, ``32GB+``; what cannot be read holds."""
    text = str(asked or "").strip().lower().removesuffix("x")
    number = parse_price(text.rstrip("+").removesuffix("gb").removesuffix("gib").rstrip("+"))
    if number is None or has is None:
        return True
    return has >= number if text.endswith("+") else has == number


def _limited(offers: list[PriceOffer]) -> list[PriceOffer]:
    if len(offers) <= _MOST_OFFERS:
        return offers
    cheapest: dict[tuple[object, ...], PriceOffer] = {}
    for offer in sorted(offers, key=lambda offer: offer["dollars_per_hour"]):
        key = tuple(offer.get(name) for name in ("infra", "region", "zone", "accelerators", "use_spot"))
        cheapest.setdefault(key, offer)
    return by_name(cheapest.values())[:_MOST_OFFERS]


def _rows(file: Path) -> list[CatalogRow]:
    """Return a catalog's machines with GPUs, parsed once per version of it."""
    names = _zone_names(file.parent)
    state = file.stat()
    version = f"{file.resolve()} {state.st_mtime_ns} {state.st_size} {sorted(names.items())} zones 1"
    cached = price_cache() / f"{hashlib.sha256(version.encode()).hexdigest()[:24]}.json"
    try:
        return [CatalogRow(*row) for row in json.loads(cached.read_text())]
    except (OSError, ValueError, TypeError):
        rows = [row for row in _read(file, names) if row.accelerator]
    try:
        with atomic_write(cached) as part:
            part.write_text(json.dumps(rows))
    except OSError:
        pass  # it is only a cache
    return rows


def _read(file: Path, zone_names: Mapping[str, str]) -> Iterator[CatalogRow]:
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        header = reader.fieldnames or ()
        if missing := {"InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "SpotPrice", "Region"} - {
            *header
        }:
            raise ValueError(f"no columns {missing}")
        has_zones = "AvailabilityZone" in header
        lines_of_file = ({**row, "zone": row["AvailabilityZone" if has_zones else "Region"] or ""} for row in reader)
        for row in google_machines(lines_of_file) if file.parent.name == "gcp" else lines_of_file:
            if row["InstanceType"]:
                zone = row["zone"] if has_zones else None
                yield CatalogRow(
                    region=row["Region"],
                    zone=zone_names.get(zone, zone) if zone else None,
                    instance_type=row["InstanceType"],
                    accelerator=row["AcceleratorName"] or "",
                    gpus=parse_price(row["AcceleratorCount"] or "") or 0.0,
                    cpus=parse_price(row.get("vCPUs") or ""),
                    memory_gib=parse_price(row.get("MemoryGiB") or ""),
                    price=parse_price(row["Price"] or ""),
                    spot=parse_price(row["SpotPrice"] or ""),
                )


def _zone_names(folder: Path) -> dict[str, str]:
    """Return AWS's names of zones (``us-east-1a``) by their ids (``use1-az1``), which its catalog has.

    Which is which differs by account; SkyPilot writes it beside the catalog. Of several accounts the newest counts.
    """
    files = sorted(folder.glob("az_mappings*.csv"), key=lambda file: file.stat().st_mtime)
    if not files:
        return {}
    try:
        with files[-1].open(newline="", encoding="utf-8") as lines:
            return {row["AvailabilityZone"]: row["AvailabilityZoneName"] for row in csv.DictReader(lines)}
    except (OSError, KeyError, ValueError):
        return {}

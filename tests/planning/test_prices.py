"""Prices: SkyPilot's catalogs in their own form where they are, the snapshot where they are not."""

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from runner.fit.accelerators import ACCELERATORS
from runner.planning.prices import SNAPSHOT, Offer, cheapest_offers, hourly_prices, load_prices, snapshot

AWS = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch
m7i.large,,,2.0,8.0,,0.1008,0.0443,us-east-1,use1-az1,x86_64
g6.2xlarge,L4,1.0,8.0,32.0,"{'Gpus': [{'Name': 'L4', 'Count': 1}]}",0.9776,0.5772,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,"{'Gpus': [{'Name': 'L4', 'Count': 1}]}",0.8048,0.4,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,"{'Gpus': [{'Name': 'L4', 'Count': 1}]}",0.98,0.2,eu-north-1,eun1-az1,x86_64
g5g.xlarge,T4g,1.0,4.0,8.0,"{'Gpus': [{'Name': 'T4g', 'Count': 1}]}",0.42,0.1,us-east-1,use1-az1,arm64
g6f.large,L4,0.125,2.0,8.0,"{'Gpus': [{'Name': 'L4', 'Count': 1}]}",0.2,,us-east-1,use1-az1,x86_64
"""
GCP = """\
InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice
a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.75,0.25
a2-highgpu-1g,12.0,85.0,,,,asia-east1,asia-east1-a,0.5,0.25
,,,A100,1.0,"{'Gpus': []}",us-central1,us-central1-a,2.75,1.25
,,,tpu-v6e-1,1,tpu-v6e-1,us-central1,us-central1-a,2.7,0.54
"""
LAMBDA = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice
gpu_8x_h100_sxm5,H100-SXM,8.0,208.0,1800.0,31.92,us-east-1,"{}",
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def catalogs(tmp_path: Path) -> Path:
    """A folder of catalogs, as SkyPilot keeps them."""
    for cloud, text in {"aws": AWS, "gcp": GCP, "lambda": LAMBDA, "odd": "a,b\n1,2\n", "empty": ""}.items():
        (tmp_path / "v8" / cloud).mkdir(parents=True)
        (tmp_path / "v8" / cloud / "vms.csv").write_text(text)
    return tmp_path / "v8"


def test_the_cheapest_machine_of_each_kind_is_found(catalogs: Path) -> None:
    found = load_prices(catalogs)
    assert found.of("L4", 1) == [
        Offer(
            infra="aws",
            region="us-east-1",
            accelerator="L4",
            count=1,
            instance_type="g6.xlarge",
            price=0.8048,
            spot=0.2,
        )
    ]
    assert found.source.startswith("SkyPilot's catalogs (aws, gcp, lambda), of 20")


def test_googles_machine_and_gpus_are_priced_together_in_one_zone(catalogs: Path) -> None:
    [offer] = load_prices(catalogs).of("A100", 1)
    assert (offer.instance_type, offer.region, offer.price, offer.spot) == ("a2-highgpu-1g", "us-central1", 3.5, 1.5)


def test_a_clouds_own_name_for_a_gpu_is_known(catalogs: Path) -> None:
    [offer] = load_prices(catalogs).of("H100", 8)
    assert (offer.infra, offer.price, offer.spot) == ("lambda", 31.92, None)


def test_a_changed_catalog_is_read_again(catalogs: Path) -> None:
    assert load_prices(catalogs).of("L4", 1)[0].price == 0.8048
    (catalogs / "aws/vms.csv").write_text(AWS.replace("0.8048", "0.7000"))
    os.utime(catalogs / "aws/vms.csv", ns=(1, 1))
    assert load_prices(catalogs).of("L4", 1)[0].price == 0.7


def test_without_catalogs_the_snapshot_says_its_date(tmp_path: Path) -> None:
    found = load_prices(tmp_path / "nothing")
    assert found == snapshot()
    assert found.source == "a snapshot of 2025-12, since SkyPilot's catalogs are not on this machine"


def test_the_snapshot_has_every_gpu_and_plausible_prices() -> None:
    offers = snapshot().offers
    without = {"A10", "RTX3090", "L40", "RTX5090", "RTX6000-Ada", "RTXPRO6000", "B300"}  # in SkyPilot's catalogs only
    assert {offer.accelerator for offer in offers} == set(ACCELERATORS) - without
    for offer in offers:
        assert offer.price is not None
        assert 0.1 < offer.price / offer.count < 20
        assert offer.spot is None or 0.05 * offer.price < offer.spot < offer.price
    raw = json.loads(SNAPSHOT.read_text())
    assert {row["source"] for row in raw["prices"]} == {"catalog", "list"}


def test_spot_counts_only_where_it_is_asked_for() -> None:
    offers = snapshot().of("L4", 1)
    demand, spot = cheapest_offers(offers, spot=False), cheapest_offers(offers, spot=True)
    assert [offer.price for offer in demand] == sorted(offer.price or 0 for offer in offers)
    assert spot[0].spot == min(offer.spot for offer in offers if offer.spot)


def test_what_an_hour_costs_follows_from_the_machines_that_may_be_taken(catalogs: Path) -> None:
    """The dearest that may be taken for an accelerator, and the cheapest of each cloud, which SkyPilot takes there."""
    prices = load_prices(catalogs)
    assert hourly_prices({"accelerators": "L4:1", "infra": "aws/us-east-1"}, prices) == {"L4": 0.8048, "aws/L4": 0.8048}
    both = {"any_of": [{"accelerators": "L4:1"}, {"accelerators": "A100:1", "infra": "gcp"}], "use_spot": True}
    assert hourly_prices(both, prices) == {"L4": 0.2, "aws/L4": 0.2, "A100": 1.5, "gcp/A100": 1.5}
    assert hourly_prices({**both, "max_hourly_cost": 1.0}, prices) == {"L4": 0.2, "aws/L4": 0.2}
    assert hourly_prices({"accelerators": "H100:8"}, prices) == {"H100": 31.92, "lambda/H100": 31.92}
    for unknown in ({}, {"accelerators": "L4:1", "infra": "slurm/here"}, {"accelerators": "NEW:1"}):
        assert hourly_prices(unknown, prices) == {}


def test_prices_older_than_two_months_are_said_to_be() -> None:
    prices = replace(snapshot(), day=date(2026, 1, 1))
    assert prices.too_old(date(2026, 3, 2)) is None
    assert "61 days old" in (prices.too_old(date(2026, 3, 3)) or "")
    assert snapshot().day == date(2025, 12, 1)

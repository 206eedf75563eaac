"""What the machines of a launch cost, by zone, as SkyPilot's catalogs have it."""

from pathlib import Path
from typing import Any

import pytest

from runner.planning.offers import offered_prices
from runner.runs.measured.prices import find_price

AWS = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch
m7i.large,,,2.0,8.0,,0.1008,0.0443,us-east-1,use1-az1,x86_64
g6.2xlarge,L4,1.0,8.0,32.0,"{}",0.9776,0.5772,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,"{}",0.8048,0.4,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,"{}",0.8048,0.3,us-east-1,use1-az2,x86_64
g6.xlarge,L4,1.0,4.0,16.0,"{}",0.98,,eu-north-1,eun1-az1,x86_64
g6.12xlarge,L4,4.0,48.0,192.0,"{}",4.6,1.9,us-east-1,use1-az1,x86_64
"""
GCP = """\
InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice
g2-standard-4,4.0,16.0,,,,us-central1,us-central1-a,0.3,0.1
,,,L4,1.0,"{}",us-central1,us-central1-a,0.4,0.2
"""
ZONES = "AvailabilityZone,AvailabilityZoneName\nuse1-az1,us-east-1c\nuse1-az2,us-east-1a\neun1-az1,eu-north-1a\n"


@pytest.fixture
def catalogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SkyPilot's catalogs, with AWS's zones of this account."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for cloud, text in {"aws": AWS, "gcp": GCP, "odd": "a,b\n1,2\n", "empty": ""}.items():
        (tmp_path / "v8" / cloud).mkdir(parents=True)
        (tmp_path / "v8" / cloud / "vms.csv").write_text(text)
    (tmp_path / "v8/aws/az_mappings-1a2b3c.csv").write_text(ZONES)
    return tmp_path / "v8"


def machine(cloud: str, region: str, zone: str | None = None, gpus: str = "1") -> dict[str, str]:
    """The variables that SkyPilot 0.14 gives a job."""
    place = f'"region": "{region}", "zone": ' + ("null" if zone is None else f'"{zone}"')
    return {"SKYPILOT_CLUSTER_INFO": f'{{"cloud": "{cloud}", {place}}}', "SKYPILOT_NUM_GPUS_PER_NODE": gpus}


SPOT = {"accelerators": "L4:1", "use_spot": True}


@pytest.mark.parametrize(
    ("resources", "environ", "cpus", "dollars", "words"),
    [
        (SPOT, machine("AWS", "us-east-1", "us-east-1c"), 4, 0.4, "aws us-east-1c, g6.xlarge, L4:1, spot"),
        (SPOT, machine("AWS", "us-east-1", "us-east-1a"), 4, 0.3, "aws us-east-1a, g6.xlarge, L4:1, spot"),
        (SPOT, machine("AWS", "us-east-1", "us-east-1c"), 8, 0.5772, "aws us-east-1c, g6.2xlarge, L4:1, spot"),
        (
            SPOT,
            machine("AWS", "us-east-1", "us-east-1c"),
            None,
            0.5772,
            "aws us-east-1c, g6.2xlarge, L4:1, spot, the dearest of those asked for",
        ),
        (SPOT, machine("GCP", "us-central1", "us-central1-a"), 4, 0.3, "gcp us-central1-a, g2-standard-4, L4:1, spot"),
        (
            {"accelerators": "L4:1"},
            machine("AWS", "eu-north-1", "eu-north-1a"),
            4,
            0.98,
            "aws eu-north-1, g6.xlarge, L4:1, on demand",
        ),
        (
            {"any_of": [{"accelerators": "L4:1"}, {"accelerators": "L4:4", "infra": "aws"}], "use_spot": True},
            machine("AWS", "us-east-1", "us-east-1c", gpus="4"),
            48,
            1.9,
            "aws us-east-1c, g6.12xlarge, L4:4, spot",
        ),
        (
            {"any_of": [SPOT, {"accelerators": "L4:1", "use_spot": False}]},
            machine("AWS", "us-east-1", "us-east-1a"),
            4,
            0.8048,
            "aws us-east-1, g6.xlarge, L4:1, on demand, the dearest of those asked for",
        ),
        (
            {"instance_type": "m7i.large", "infra": "aws"},
            machine("AWS", "us-east-1", "us-east-1c", gpus="0"),
            2,
            0.1008,
            "aws us-east-1, m7i.large, on demand",
        ),
    ],
)
def test_an_attempt_finds_the_price_of_its_zone(
    catalogs: Path, resources: dict[str, Any], environ: dict[str, str], cpus: int | None, dollars: float, words: str
) -> None:
    found = find_price(offered_prices(resources, catalogs), environ, accelerator="NVIDIA L4", cpus=cpus)
    assert found is not None
    assert found["dollars_per_hour"] == pytest.approx(dollars)
    source, _, place = found["source"].partition(": ")
    assert source.startswith("SkyPilot's catalog of 20")
    assert place == words


def test_only_what_was_asked_for_is_offered(catalogs: Path) -> None:
    def places(**resources: Any) -> set[str]:
        found = offered_prices({"accelerators": "L4:1", **resources}, catalogs)
        return {f"{offer['infra']}/{offer.get('region')}" for offer in found["offers"]} if found else set()

    assert places() == {"aws/us-east-1", "aws/eu-north-1", "gcp/us-central1"}
    assert places(infra="aws/us-east-1") == {"aws/us-east-1"}
    assert places(use_spot=True, infra="aws") == {"aws/us-east-1"}, "eu-north-1 has no spot price: none are taken there"
    assert places(max_hourly_cost=0.75) == {"gcp/us-central1"}
    assert places(cpus="8+") == {"aws/us-east-1"}
    assert places(memory="16", infra="aws") == {"aws/us-east-1", "aws/eu-north-1"}
    assert places(infra="slurm/here") == set()


def test_without_catalogs_the_snapshot_has_a_price_for_the_cloud(tmp_path: Path) -> None:
    found = offered_prices({"accelerators": "L4:1", "infra": "aws"}, tmp_path / "none")
    price = find_price(found, machine("AWS", "us-east-1", "us-east-1a"), accelerator="NVIDIA L4", cpus=4)
    assert price == {"dollars_per_hour": 0.8048, "source": "a snapshot of 2025-12: aws, g6.xlarge, L4:1, on demand"}
    assert offered_prices(None) is None
    assert offered_prices({"cpus": "4+"}, tmp_path / "none") is None


def test_a_machine_that_was_not_offered_has_no_price(catalogs: Path) -> None:
    prices = offered_prices(SPOT, catalogs)
    for environ in ({}, machine("Kubernetes", "context"), {"SKYPILOT_CLUSTER_INFO": "odd"}):
        assert find_price(prices, environ, accelerator="NVIDIA L4") is None
        dearest = find_price(prices, environ, accelerator="NVIDIA L4", or_dearest=True)
        assert dearest is not None
        assert (dearest["dollars_per_hour"], dearest["source"].endswith("asked for")) == (0.5772, True)


def test_workers_that_share_a_machine_share_its_price(catalogs: Path) -> None:
    prices = offered_prices(SPOT, catalogs)
    price = find_price(prices, machine("AWS", "us-east-1", "us-east-1a"), accelerator="NVIDIA L4", cpus=4, share=3)
    assert price is not None
    assert price["dollars_per_hour"] == pytest.approx(0.1)
    assert price["source"].endswith("spot, shared by 3")

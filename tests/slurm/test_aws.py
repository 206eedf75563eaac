"""AWS without an account: what SkyPilot makes of rendered tasks with a price list of ours and an imitated AWS."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from servers.processes import free_port, program, serving
from servers.s3 import ACCESS_KEY, REGION, SECRET_KEY
from slurm.bed import ROOT, SKY, alone

pytestmark = pytest.mark.slurm

# SkyPilot's own columns; prices in dollars an hour, made up.
_MACHINES = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch,\
LocalDiskType,NVMeSupported,LocalDiskSize,LocalDiskCount,MaximumEfaInterfaces
m6i.2xlarge,,,8,32,,0.4,0.1,us-east-1,use1-az1,x86_64,,,,,0
g4dn.xlarge,T4,1,4,16,"{'Gpus': [{'Name': 'T4'}]}",0.5,0.2,us-east-1,use1-az1,x86_64,,,,,0
g6.xlarge,L4,1,4,16,"{'Gpus': [{'Name': 'L4'}]}",0.8,0.15,us-east-1,use1-az1,x86_64,,,,,0
p4d.24xlarge,A100,8,96,1152,"{'Gpus': [{'Name': 'A100'}]}",32.0,10.0,us-east-1,use1-az1,x86_64,,,,,4
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of somebody with an account there."""
    alone()
    folder = tmp_path_factory.mktemp("aws")
    catalogs = folder / "home/.sky/catalogs/v8"
    for name, text in {
        "aws/vms.csv": _MACHINES,
        "aws/images.csv": "Tag,Region,OS,OSVersion,ImageId,CreationDate\n",
        "aws/instance_quota_mapping.csv": "InstanceType,SpotInstanceCode,OnDemandInstanceCode\n",
        "common/accelerators.csv": "AcceleratorName,Clouds\nT4,\"['AWS']\"\nL4,\"['AWS']\"\nA100,\"['AWS']\"\n",
        "common/metadata.csv": "GPU,MemoryGB,Manufacturer\nT4,16,NVIDIA\nL4,24,NVIDIA\nA100,40,NVIDIA\n",
    }.items():
        path = catalogs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "home/.sky/config.yaml").write_text("allowed_clouds: [aws]\n")

    def command(port: int) -> list[str]:
        return [program("moto_server"), "--host", "127.0.0.1", "--port", str(port)]

    with serving(command, folder) as running:
        environment = {
            "HOME": str(folder / "home"),
            "PATH": f"{SKY}:/usr/bin:/bin:/usr/sbin",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{running.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "SKYPILOT_API_SERVER_LOCAL_PORT": str(free_port()),
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        }
        try:
            done = run(environment, "sky", "check", "aws")
            assert "AWS: enabled" in done.stdout.replace("\x1b[32m", "").replace("\x1b[22m", ""), done.stdout
            yield environment
        finally:
            run(environment, "sky", "api", "stop")


def run(environment: Mapping[str, str], name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = SKY / name if name == "sky" else ROOT / ".venv/bin" / name
    return subprocess.run(
        [str(path), *arguments],
        env=dict(environment),
        cwd=environment["HOME"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def rendered(aws: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    done = run(aws, "runner", "render", "smollm2-135m-lora", "--store", "s3://bucket/runs", *arguments)
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = yaml.safe_load(done.stdout)
    return content


def test_the_optimizer_takes_a_rendered_task(aws: Mapping[str, str], tmp_path: Path) -> None:
    """Of a recipe's three GPUs the cheapest on spot is chosen; on demand it is another; eight A100 are a machine."""
    wanted = {
        ("--infra", "aws"): "L4",
        ("--infra", "aws", "--on-demand"): "T4",
        ("--gpu", "a100:8", "--spot"): "A100",
    }
    for arguments, gpu in wanted.items():
        question = {"ask": "optimize", "task": rendered(aws, *arguments), "secrets": {}}
        for name in question["task"].get("secrets", {}):
            question["secrets"][name] = "x"
        sdk = str(ROOT / "src/runner/launch/sky_sdk")
        done = subprocess.run(
            [str(SKY / "python"), sdk],
            input=json.dumps(question),
            env=dict(aws),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        machine = json.loads(done.stdout)["answer"]["machine"]
        assert f"'{gpu}'" in machine or f"{gpu}:" in machine, machine
        assert ("[Spot]" in machine) == ("--on-demand" not in arguments), machine


def test_a_dry_run_shows_the_price(aws: Mapping[str, str], tmp_path: Path) -> None:
    """`sky launch --dryrun` of what was rendered, by hand."""
    task = tmp_path / "task.yaml"
    done = run(aws, "runner", "render", "smollm2-135m-lora", "--gpu", "t4", "--infra", "aws", "--store", "s3://bucket")
    task.write_text(done.stdout)
    secrets = ("--secret", "AWS_ACCESS_KEY_ID", "--secret", "AWS_SECRET_ACCESS_KEY")
    done = run(aws, "sky", "launch", "--dryrun", "--yes", *secrets, str(task))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "g4dn.xlarge" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--infra", "aws/us-east-9"), "region"), (("--infra", "aws", "--gpu", "h100"), "H100")],
)
def test_what_there_is_none_of_is_said_before_anything_is_launched(
    aws: Mapping[str, str], arguments: tuple[str, ...], word: str
) -> None:
    """A region that does not exist, a GPU that nobody has there: SkyPilot's reason, exit 2."""
    done = run(aws, "runner", "launch", "smollm2-135m-lora", "--store", "s3://bucket/runs", *arguments)
    assert done.returncode == 2, done.stderr
    assert "SkyPilot says" in done.stderr
    assert word in done.stderr

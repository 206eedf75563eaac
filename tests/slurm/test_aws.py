"""AWS without an account: what SkyPilot makes of rendered tasks with a price list of ours and an imitated AWS."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest

from support.servers.processes import free_port, program, serving
from support.servers.s3 import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, S3Server, make_bucket
from support.slurm_bed import ALIAS, BUILD, ROOT, SKY, alias_of_this_machine, alone, without_colours

pytestmark = pytest.mark.slurm

STORE = f"s3://{BUCKET}/runs"
# SkyPilot's own columns; prices in dollars an hour, made up.
_MACHINES = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch,\
LocalDiskType,NVMeSupported,LocalDiskSize,LocalDiskCount,MaximumEfaInterfaces
m6i.2xlarge,,,8,32,,0.4,0.1,us-east-1,use1-az1,x86_64,,,,,0
g4dn.xlarge,T4,1,4,16,"{'Gpus': [{'Name': 'T4'}]}",0.5,0.2,us-east-1,use1-az1,x86_64,,,,,0
g6.xlarge,L4,1,4,16,"{'Gpus': [{'Name': 'L4'}]}",0.8,0.15,us-east-1,use1-az1,x86_64,,,,,0
p4d.24xlarge,A100,8,96,1152,"{'Gpus': [{'Name': 'A100'}]}",32.0,10.0,us-east-1,use1-az1,x86_64,,,,,4
"""
# The names of the images that SkyPilot takes by itself.
_IMAGES = "Tag,Region,OS,OSVersion,ImageId,CreationDate\n" + "".join(
    f"skypilot:custom-{kind},us-east-1,ubuntu,22.04,IMAGE,20260101\n"
    for kind in ("cpu-ubuntu", "gpu-ubuntu", "gpu-ubuntu-cuda13")
)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of somebody with an account there."""
    alone()
    folder = tmp_path_factory.mktemp("aws")
    catalogs = folder / "home/.sky/catalogs/v8"
    for name, text in {
        "aws/vms.csv": _MACHINES,
        "aws/images.csv": _IMAGES,
        "aws/instance_quota_mapping.csv": "InstanceType,SpotInstanceCode,OnDemandInstanceCode\n",
        "common/accelerators.csv": "AcceleratorName,Clouds\nT4,\"['AWS']\"\nL4,\"['AWS']\"\nA100,\"['AWS']\"\n",
        "common/metadata.csv": "GPU,MemoryGB,Manufacturer\nT4,16,NVIDIA\nL4,24,NVIDIA\nA100,40,NVIDIA\n",
    }.items():
        path = catalogs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "home/.sky/config.yaml").write_text("allowed_clouds: [aws]\naws:\n  remote_identity: LOCAL_CREDENTIALS\n")

    def command(port: int) -> list[str]:
        return [program("moto_server"), "--host", "127.0.0.1", "--port", str(port)]

    # SkyPilot looks for the rights that AWS's own policies give.
    policies = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with serving(command, folder, lambda port: policies) as running, alias_of_this_machine():
        images = catalogs / "aws/images.csv"
        images.write_text(images.read_text().replace("IMAGE", some_image(running.port)))
        make_bucket(S3Server("moto", f"http://127.0.0.1:{running.port}", running.process_group))
        environment = {
            "HOME": str(folder / "home"),
            "PATH": f"{SKY}:/usr/bin:/bin:/usr/sbin",
            **BUILD,
            "AWS_ENDPOINT_URL": f"http://{ALIAS}:{running.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "SKYPILOT_API_SERVER_LOCAL_PORT": str(free_port()),
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        }
        try:
            done = run(environment, "sky", "check", "aws")
            assert "AWS: enabled" in without_colours(done.stdout), done.stdout + done.stderr
            yield environment
        finally:
            run(environment, "sky", "api", "stop")


def some_image(port: int) -> str:
    """The id of an image that the imitated AWS has."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    found = session.client("ec2", endpoint_url=f"http://127.0.0.1:{port}").describe_images()
    return next(str(image["ImageId"]) for image in found["Images"] if image.get("RootDeviceName"))


def run(environment: Mapping[str, str], name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = SKY / name if name == "sky" else ROOT / ".venv/bin" / name
    # SkyPilot itself may call a machine loopback; what is rendered must not.
    endpoint = environment["AWS_ENDPOINT_URL"]
    return subprocess.run(
        [str(path), *arguments],
        env={**environment, "AWS_ENDPOINT_URL": endpoint.replace(ALIAS, "127.0.0.1") if name == "sky" else endpoint},
        cwd=environment["HOME"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )


def dry_run(aws: Mapping[str, str], task: Path, *arguments: str) -> list[str]:
    """The row that SkyPilot chooses for what is rendered, by `sky launch --dryrun`, taken apart."""
    done = run(aws, "runner", "render", "smollm2-135m-lora", "--store", STORE, *arguments)
    assert done.returncode == 0, done.stderr
    task.write_text(done.stdout)
    secrets = ("--secret", "AWS_ACCESS_KEY_ID", "--secret", "AWS_SECRET_ACCESS_KEY")
    done = run(aws, "sky", "launch", "--dryrun", "--yes", *secrets, str(task))
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [line.split() for line in without_colours(done.stdout).splitlines() if line.rstrip().endswith("✔")]
    return row


@pytest.mark.parametrize(
    ("arguments", "machine", "gpu", "price"),
    [
        (("--infra", "aws"), "g6.xlarge[Spot]", "L4:1", "0.15"),
        (("--infra", "aws", "--on-demand"), "g4dn.xlarge", "T4:1", "0.50"),
        (("--gpu", "a100:8", "--spot"), "p4d.24xlarge[Spot]", "A100:8", "10.00"),
    ],
    ids=["spot", "on demand", "eight"],
)
def test_skypilot_finds_the_cheapest_machine_for_a_rendered_task(
    aws: Mapping[str, str], tmp_path: Path, arguments: tuple[str, ...], machine: str, gpu: str, price: str
) -> None:
    """Of a recipe's GPUs the cheapest on spot is chosen; on demand it is another; eight A100 are one machine."""
    row = dry_run(aws, tmp_path / "task.yaml", *arguments)
    assert {machine, gpu, price} <= set(row), row


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--infra", "aws/us-east-9"), "region"), (("--infra", "aws", "--gpu", "h100"), "H100")],
)
def test_what_there_is_none_of_is_said_before_anything_is_launched(
    aws: Mapping[str, str], arguments: tuple[str, ...], word: str
) -> None:
    """A region that does not exist, a GPU that nobody has there: SkyPilot's reason, exit 2."""
    done = run(aws, "runner", "launch", "smollm2-135m-lora", "--store", STORE, *arguments)
    assert done.returncode == 2, done.stderr
    assert "SkyPilot says" in done.stderr
    assert word in done.stderr

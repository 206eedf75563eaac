"""What is in the image, and what is not."""

import json
import re

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from runner.backends.docker.container_cli import Containers
from runner.backends.docker.image import inspect
from runner.backends.docker.sbom import read_packages, sbom
from runner.distribution import NAME
from runner.git import revision_of
from support.containers.image import ROOT, Built, build_arguments, podman, runner
from support.containers.image_machine import Machine
from support.locks import locked_pins

pytestmark = pytest.mark.image

LOCKED = locked_pins(ROOT / "images/cpu.lock") | locked_pins(ROOT / "images/torch.lock")


def test_the_installed_versions_are_the_locks(image: Built) -> None:
    """So two images of one commit hold the same versions, whenever they were built."""
    code = (
        "import importlib.metadata as m, re\n"
        "for d in m.distributions(path=[__import__('sysconfig').get_path('purelib')]):\n"
        "    print(re.sub('[-_.]+', '-', d.name).lower() + '==' + d.version.split('+')[0])"
    )
    installed = set(image.sh(f'/opt/venv/bin/python -c "{code}"').stdout.split())
    assert {pin for pin in installed if not pin.startswith(f"{NAME}==")} == LOCKED


def test_the_labels_say_what_it_was_made_from(image: Built) -> None:
    (found,) = json.loads(podman("image", "inspect", image.name).stdout)
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == (revision_of(ROOT) or "unknown")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", labels["org.opencontainers.image.version"])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels["runner.lock"])
    assert labels["runner.accelerator"] == "cpu"


def test_the_project_is_a_small_layer_on_top_of_the_heavy_ones(image: Built) -> None:
    """What a new commit rebuilds and pushes: the tree's own files, as much and a half in bytecode, and nothing else."""
    *below, project = image.report["layers"]
    assert "runner itself" in project["created_by"]
    files = [
        file for folder in ("src", "jobs") for file in (ROOT / folder).rglob("*") if "__pycache__" not in file.parts
    ]
    files += (ROOT / "images").glob("*.lock")
    own = sum(file.stat().st_size for file in files if file.is_file())
    assert project["size_bytes"] < 2.6 * own
    assert project["size_bytes"] < 0.01 * sum(layer["size_bytes"] for layer in image.report["layers"])
    assert sum("COPY" in layer["created_by"] for layer in below) == 2


def test_built_again_from_the_same_tree_it_is_the_same_image(image: Built, machine: Machine) -> None:
    again = json.loads(runner(*build_arguments(machine)).stdout)
    assert again["id"] == image.report["id"]


def test_the_sbom_names_every_python_package_and_debians_and_is_always_the_same(image: Built) -> None:
    containers = Containers(program="podman")
    found = inspect(containers, image.name)
    document, again = (sbom(found, read_packages(containers, found)) for _ in range(2))
    assert document == again
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(document)) is None
    purls = {component["purl"] for component in document["components"]}
    assert len(purls) == len(document["components"])
    assert {f"pkg:pypi/{pin.replace('==', '@')}" for pin in LOCKED} <= {purl.partition("%2B")[0] for purl in purls}
    assert any(purl.startswith("pkg:deb/debian/tini@") for purl in purls)


def test_what_skypilot_needs_is_there(image: Built) -> None:
    """Its own lists for docker images and for Kubernetes, without the compiler."""
    programs = "bash sudo rsync ssh sshd curl wget patch pip3 fusermount nc lspci ps runner"
    done = image.sh(
        f"for program in {programs}; do PATH=$PATH:/usr/sbin type -P $program > /dev/null || echo $program; done"
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert image.sh("sudo --non-interactive id --user", "--user=runner").stdout == "0\n"


def test_each_container_has_an_ssh_host_key_of_its_own(image: Built) -> None:
    assert "ssh_host" not in image.sh("ls /etc/ssh").stdout
    keys = {image.sh("service ssh start > /dev/null; cat /etc/ssh/ssh_host_ed25519_key.pub").stdout for _ in range(2)}
    assert len(keys) == 2
    assert all(key.startswith("ssh-ed25519 ") for key in keys)


def test_there_is_no_compiler_no_cache_and_no_test(image: Built) -> None:
    script = (
        "for program in gcc cc g++ make ld; do type -P $program; done || true;"
        "find /opt/venv -type d \\( -name tests -o -name test \\);"
        "find /opt/venv -name '*.h'; ls -d /root/.cache || true;"
        "find /var/lib/apt/lists /var/cache/apt -type f"
    )
    assert image.sh(script).stdout == ""


def test_nothing_of_the_machine_that_built_it_is_in_it(image: Built, machine: Machine) -> None:
    """Where its packages came from is a secret of the build's; of what was mounted, empty places are left."""
    mounted = [word.split(":")[1] for word in machine.build_arguments if word.endswith(":ro")]
    left = image.sh(f"find /etc/pip.conf /run/secrets {' '.join(mounted)} -type f -size +0 2> /dev/null || true")
    assert left.stdout == ""
    (found,) = json.loads(podman("image", "inspect", image.name).stdout)
    assert {line.partition("=")[0] for line in found["Config"]["Env"]} == {
        "NVIDIA_DRIVER_CAPABILITIES",
        "PATH",
        "PYTHONUNBUFFERED",
    }

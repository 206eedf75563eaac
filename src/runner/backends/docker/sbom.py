"""What is installed in an image, as a CycloneDX document: Debian's packages and Python's, with their versions.

The image is asked itself, so that the document says what is there and not what was meant to be. The same image gives
the same document. Format: https://cyclonedx.org/docs/1.5/json/
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from runner.backends.docker.container_cli import Containers, first_line
from runner.backends.docker.image import Image
from runner.errors import UserError

_LIST = """
import importlib.metadata, json, re, subprocess, sysconfig
found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
python = {re.sub("[-_.]+", "-", one.name).lower(): one.version for one in found}
query = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\\n"]
lines = subprocess.run(query, check=True, capture_output=True, text=True)
print(json.dumps({"pypi": python, "deb": [line.split() for line in lines.stdout.splitlines()]}))
"""


def read_packages(containers: Containers, image: Image) -> Mapping[str, Any]:
    """What a container of the image says is installed: ``pypi`` (versions by name) and ``deb`` (name, version, …).

    Raises:
        UserError: no container of it can be started.
    """
    options = ("run", "--rm", "--network=none", "--entrypoint=/opt/venv/bin/python", image.id)
    answer = containers.ask(*options, "-I", "-c", _LIST)
    if answer.returncode != 0:
        raise UserError(
            f"no container of it can be asked what is installed: {first_line(answer.stderr)}", where=image.name
        )
    found: Mapping[str, Any] = json.loads(answer.stdout)
    return found


def sbom(image: Image, packages: Mapping[str, Any]) -> dict[str, Any]:
    """The document.

    Args:
        image: the image that it describes.
        packages: from `read_packages`.
    """
    debian: Sequence[Sequence[str]] = packages["deb"]
    components = [
        *(_component(name, version, f"pkg:pypi/{name}@{quote(version)}") for name, version in packages["pypi"].items()),
        *(
            _component(name, version, f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}")
            for name, version, architecture in debian
        ),
    ]
    about = {"type": "container", "name": image.name, "version": image.pinned, "bom-ref": image.id}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": about},
        "components": sorted(components, key=lambda component: component["purl"]),
    }


def _component(name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}

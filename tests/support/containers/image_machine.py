"""What a test machine needs to build the image without a container registry: podman, a stand-in base, its own settings.

``python tests/support/containers/image_machine.py`` (as root, on Debian) installs the engine with apt if it is missing
and makes the base; run again, it does nothing. The sources of apt and pip on this machine are read from their settings
at run time, and given to the build as a volume and a secret, so that none of it is in the image.
"""

import configparser
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
BASE = f"localhost/runner-tests/{SUITE}:1"
"""The stand-in for the Dockerfile's own base image: the same Debian, made by debootstrap."""

_PROGRAMS = ("podman", "runc", "conmon", "debootstrap")
_PACKAGES = ("podman", "buildah", "runc", "conmon", "netavark", "debootstrap")
_AT = "/run/machine"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How to use podman here."""

    environment: dict[str, str]
    """What podman needs in its environment."""
    build_arguments: list[str]
    """What ``podman build`` needs on its command line besides the Dockerfile's own."""


def folder() -> Path:
    """Where the settings and the base are made: outside the repository."""
    made = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner-tests" / "image"
    made.mkdir(parents=True, exist_ok=True)
    return made


def prepare() -> Machine:
    """Install, make and write what is missing."""
    if not all(shutil.which(program) for program in _PROGRAMS):
        _say("installing podman")
        _call(["apt-get", "update", "--quiet=2"])
        _call(["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *_PACKAGES])
    environment = {**os.environ, "CONTAINERS_CONF": str(_containers_conf())}
    if subprocess.run(["podman", "image", "exists", BASE], env=environment).returncode != 0:
        _say("making the stand-in base image")
        _make_base(environment)
    return Machine(environment=environment, build_arguments=["--build-arg", f"BASE_IMAGE={BASE}", *_settings()])


def _containers_conf() -> Path:
    """podman without systemd: runc and cgroupfs, and no limit above this process's own."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    processes = most if processes == resource.RLIM_INFINITY else min(processes, most)
    path = folder() / "containers.conf"
    # Docker's format, not OCI's: OCI has no SHELL, and podman drops it with no more than a warning.
    path.write_text(
        f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        'image_default_format = "docker"\n'
    )
    return path


def _make_base(environment: dict[str, str]) -> None:
    root = folder() / "base"
    shutil.rmtree(root, ignore_errors=True)
    sources = _debian_sources()
    mirror = next((uri for uri, suite in sources if suite == SUITE), "")
    try:
        _call(["debootstrap", "--variant=minbase", SUITE, str(root), *([mirror] if mirror else [])])
        (root / "etc/apt/sources.list").write_text("".join(f"deb {uri} {suite} main\n" for uri, suite in sources))
        (root / "etc/apt/apt.conf.d/80machine").write_text(_apt_settings())
        pack = subprocess.Popen(["tar", "--create", "--directory", str(root), "."], stdout=subprocess.PIPE)
        _call(["podman", "import", "--change", 'CMD ["/bin/bash"]', "-", BASE], stdin=pack.stdout, env=environment)
        assert pack.wait() == 0
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _debian_sources() -> list[tuple[str, str]]:
    """Where this machine gets Debian's own packages from, and which suites."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Origin: Debian"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    return [(uri, suite) for uri, _, suite in (line.partition(" ") for line in dict.fromkeys(found)) if suite]


def _apt_settings() -> str:
    """How this machine's apt fetches: proxies, and what a mirror of an old day needs."""
    lines = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout.splitlines()
    return "".join(f"{line}\n" for line in lines if re.match(r"Acquire::(https?|Check-)", line))


def _settings() -> list[str]:
    """This machine's settings of pip as a secret of the build, and volumes for the local folders that they name."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = dict(re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    volumes = []
    if certificates := found.get("cert") or os.environ.get("SSL_CERT_FILE"):
        volumes.append(f"{certificates}:{_AT}/ca.crt:ro")
        found["cert"] = f"{_AT}/ca.crt"
    for name in ("find-links", "extra-index-url", "index-url"):
        for place in found.get(name, "").split():
            path = Path(place.removeprefix("file://"))
            if path.is_absolute() and path.exists():
                path = path.parent if path.name == "simple" else path  # an index's pages lead to files beside it
                volumes.append(f"{path}:{path}:ro")
    config = configparser.ConfigParser(interpolation=None)
    known = ("cert", "find-links", "extra-index-url", "index-url", "timeout", "trusted-host", "proxy")
    config["global"] = {name: found[name] for name in known if name in found}
    with (folder() / "pip.conf").open("w") as file:
        config.write(file)
    volume_arguments = [argument for volume in volumes for argument in ("--volume", volume)]
    return ["--network=host", "--pull=never", "--secret", f"id=pip.conf,src={folder() / 'pip.conf'}", *volume_arguments]


def _call(command: Sequence[str], **options: object) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, check=True, stdout=sys.stderr, **{"env": environment, **options})  # type: ignore[call-overload]


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    machine = prepare()
    print(json.dumps({"CONTAINERS_CONF": machine.environment["CONTAINERS_CONF"], "build": machine.build_arguments}))

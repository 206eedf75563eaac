"""The size of the CUDA image against PyTorch's runtime image with the same packages installed by pip on top.

    .venv/bin/python benchmarks/image.py [--compressed]

Needs root on Debian, twenty minutes and 40 GB of disk. PyTorch's own image is not pulled but built:
`benchmarks/pytorch.Dockerfile` does what its Dockerfile does, on the same base as ours, so that the ratio compares what
each puts on top of it. `--compressed` also packs the layers with gzip, as a registry stores them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.containers.image_machine import Machine, prepare  # noqa: E402  tests/ has to be on the path first

OURS, PYTORCHS = (f"localhost/runner-benchmarks/{name}:cuda" for name in ("runner", "pytorch"))


def call(machine: Machine, *command: str) -> str:
    """Run a command that has to succeed; return its standard output."""
    process = subprocess.run(command, env=machine.environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return process.stdout


def compressed_bytes(machine: Machine, image: str) -> int:
    """Return the size of an image's layers, each packed with gzip."""
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        call(machine, "podman", "push", "--quiet", "--compress", image, f"dir:{folder}")
        return sum(file.stat().st_size for file in Path(folder).iterdir())


def unpacked_bytes(machine: Machine, image: str) -> int:
    """Return the size of an image's layers, as the engine counts them."""
    (inspection,) = json.loads(call(machine, "podman", "image", "inspect", image))
    return int(inspection["Size"])


def comparison(how: str, ours: int, pytorchs: int) -> str:
    """Return the line that sets two sizes in bytes beside each other."""
    return f"{how}: {ours / 1e9:.2f} GB of {pytorchs / 1e9:.2f} GB, {ours / pytorchs:.0%}"


def main() -> None:
    """Build both, and print their sizes and the ratio."""
    parser = argparse.ArgumentParser(description="Compare the sizes of two images.")
    parser.add_argument("--compressed", action="store_true", help="also as a registry stores them")
    options = parser.parse_args()
    machine = prepare()
    runner = (sys.executable, "-m", "runner", "image", "build", "--engine", "podman", "--tag", OURS)
    print(call(machine, *runner, "--", *machine.build_arguments))
    file = ("--format", "docker", "--file", "benchmarks/pytorch.Dockerfile")
    call(machine, "podman", "build", "--quiet", *file, "--tag", PYTORCHS, *machine.build_arguments, ".")
    print(comparison("unpacked", *(unpacked_bytes(machine, image) for image in (OURS, PYTORCHS))), flush=True)
    if options.compressed:
        print(comparison("packed", *(compressed_bytes(machine, image) for image in (OURS, PYTORCHS))))


if __name__ == "__main__":
    main()

"""How large the CUDA image is beside PyTorch's runtime image with the same packages by pip on top.

    .venv/bin/python benchmarks/image.py [--compressed]

(root, Debian; twenty minutes and 40 GB). PyTorch's own image is not pulled but made: `benchmarks/pytorch.Dockerfile`
does what its Dockerfile does, on the same base as ours, so that the ratio is one of what each puts on top.
`--compressed` also packs the layers with gzip, as a registry holds them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.image_machine import Machine, prepare  # noqa: E402  tests/ has to be on the path first

OURS, PYTORCHS = (f"localhost/runner-benchmarks/{name}:cuda" for name in ("runner", "pytorch"))


def call(machine: Machine, *command: str) -> str:
    """A command that has to work; what it prints."""
    done = subprocess.run(command, env=machine.environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def compressed(machine: Machine, image: str) -> int:
    """Bytes of an image's layers, each packed with gzip."""
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        call(machine, "podman", "push", "--quiet", "--compress", image, f"dir:{folder}")
        return sum(file.stat().st_size for file in Path(folder).iterdir())


def unpacked(machine: Machine, image: str) -> int:
    """Bytes of an image's layers, as the engine counts them."""
    (found,) = json.loads(call(machine, "podman", "image", "inspect", image))
    return int(found["Size"])


def compare(how: str, ours: int, pytorchs: int) -> None:
    """Print a line."""
    print(f"{how}: {ours / 1e9:.2f} GB of {pytorchs / 1e9:.2f} GB, {ours / pytorchs:.0%}", flush=True)


def main() -> None:
    """Build both, and print a table and the ratio."""
    parser = argparse.ArgumentParser(description="Compare the sizes of two images.")
    parser.add_argument("--compressed", action="store_true")
    options = parser.parse_args()
    machine = prepare()
    runner = (sys.executable, "-m", "runner", "image", "build", "--engine", "podman", "--tag", OURS)
    print(call(machine, *runner, "--", *machine.build_arguments))
    file = ("--format", "docker", "--file", "benchmarks/pytorch.Dockerfile")
    call(machine, "podman", "build", "--quiet", *file, "--tag", PYTORCHS, *machine.build_arguments, ".")
    compare("unpacked", *(unpacked(machine, image) for image in (OURS, PYTORCHS)))
    if options.compressed:
        compare("packed", *(compressed(machine, image) for image in (OURS, PYTORCHS)))


if __name__ == "__main__":
    main()

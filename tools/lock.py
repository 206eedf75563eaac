"""Write the lock files with uv: exact versions, and the hashes of each version's files.

    python tools/lock.py                          add what is missing, keep the versions that are locked
    python tools/lock.py --upgrade-package trl    take the newest version that pyproject.toml allows
    python tools/lock.py --upgrade                the same for all packages

Options are uv's (`uv pip compile --help`). The requirements stand in pyproject.toml: the dependencies, the extras and
the dependency groups. uv resolves for the image's Python and platform, whatever this machine has. It asks PyPI, or the
index that its own settings name (``UV_DEFAULT_INDEX``), which must have torch's CUDA build. No lock holds an address.

torch is in ``images/cuda.lock`` with its hashes. For a CPU, the index decides which build there is, so that
``images/torch.lock`` holds its version alone.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_28"
"""The image's."""

CUDA_ONLY = re.compile(r"torch|triton|nvidia-(?!ml-py).+|cuda-.+")
"""torch, and the packages that only its CUDA build needs. NVML's bindings are small, and ask for no GPU."""

Pins = dict[str, str]
"""What a lock says about each package, by its name: the version, the hashes, and which package asks for it."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """One lock file and where it comes from."""

    path: str
    about: str
    """The first line."""
    sources: Sequence[str]
    """uv's arguments: files, extras, groups."""
    beside: Sequence[str] = ()
    """Locks that are installed into the same environment before it; it holds what they lack or have otherwise."""
    without: re.Pattern[str] | None = None
    """Packages that it leaves out."""


TRAIN = ("pyproject.toml", "--extra=train", "--extra=gguf", "--extra=sweep")
LOCKS = (
    Lock(
        path="images/cuda.lock",
        about="runner with its extras train, gguf, sweep and deepspeed, and torch's CUDA build",
        sources=(*TRAIN, "--extra=deepspeed"),
    ),
    Lock(
        path="images/cpu.lock",
        about="runner with its extras train, gguf and sweep, without torch (torch.lock)",
        sources=(*TRAIN, "--constraint=images/cuda.lock"),
        without=CUDA_ONLY,
    ),
    Lock(
        path="images/build.lock",
        about="what builds runner",
        sources=("--group=build", "--constraint=images/cuda.lock"),
    ),
    Lock(
        path="tests/requirements.lock",
        about="what the tests and checks need besides images/cpu.lock and images/build.lock",
        sources=(*TRAIN, "--extra=deepspeed", "--extra=report", "--group=test", "--constraint=images/cuda.lock"),
        beside=("images/cpu.lock", "images/build.lock"),
        without=CUDA_ONLY,
    ),
    Lock(
        path="tests/browser/requirements.lock",
        about="what the browser's tests need besides the locks above, or in other versions",
        sources=("pyproject.toml", "--extra=chat", "--group=browser"),
        beside=("images/cpu.lock", "images/build.lock", "tests/requirements.lock"),
    ),
    Lock(
        path="tests/slurm/requirements.lock",
        about="runner with its extra sky, SkyPilot's own extras for Slurm and AWS, and what builds runner",
        sources=("pyproject.toml", "--extra=sky", "--group=build", "--group=slurm"),
    ),
    Lock(
        path="tests/support/sweeping/wandb/requirements.lock",
        about="W&B's package for sweeps, which the tests compare with",
        sources=("--group=wandb-sweeps",),
    ),
    Lock(
        path="tests/support/servers/requirements.lock",
        about="the object stores that the tests run against",
        sources=("--group=servers",),
    ),
)


def pins_of(text: str) -> Pins:
    """Return a lock's pins by name."""
    return {block.partition("==")[0]: block for block in re.split(r"(?m)^(?=[a-z0-9])", text) if "==" in block}


def resolve(lock: Lock, known: Mapping[str, str], options: Sequence[str]) -> Pins:
    """Return what uv resolves for a lock; it prefers the versions of `known`."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock"
        output.write_text("".join(known.values()))
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--generate-hashes"]
        command += [f"--python-version={PYTHON}", f"--python-platform={PLATFORM}", f"--output-file={output}"]
        subprocess.run([*command, *options, *lock.sources], check=True, cwd=ROOT)
        return pins_of(re.sub(r"\n +# +-c .*", "", output.read_text()))  # a constraint asks for nothing


def version(pin: str) -> str:
    """Return a pin's version."""
    return re.split(r"[\s;]", pin.partition("==")[2], maxsplit=1)[0]


def main(options: Sequence[str]) -> None:
    """Write all files."""
    for lock in LOCKS:
        path = ROOT / lock.path
        beside: Pins = {}
        for other in lock.beside:
            beside |= pins_of((ROOT / other).read_text())
        known = beside | (pins_of(path.read_text()) if path.exists() else {})
        pins = {
            name: pin
            for name, pin in resolve(lock, known, options).items()
            if not (lock.without and lock.without.fullmatch(name))
            and not (name in beside and version(pin) == version(beside[name]))
        }
        path.write_text(f"# {lock.about}; written by tools/lock.py\n" + "".join(pins.values()))
        print(f"{lock.path}: {len(pins)} packages")
        if "torch" in pins:
            about = (
                "# torch for a CPU: the index decides which build, so that there is no hash; written by tools/lock.py"
            )
            (ROOT / "images/torch.lock").write_text(f"{about}\ntorch=={version(pins['torch'])}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

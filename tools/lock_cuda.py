"""Write ``images/cuda.lock``: the pins of ``images/cpu.lock``, what torch's CUDA build needs besides, and DeepSpeed.

Only metadata is downloaded: pip resolves torch under the existing pins, for the Python and the platform that it runs
on, which must be the image's (3.11, Linux, x86-64). Where packages come from is pip's setting, and must be an index
that has torch's CUDA build (PyPI has). ``make lock-cuda``.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from lock import closure, pin

ROOT = Path(__file__).parent.parent
CPU, CUDA = (ROOT / "images" / f"{name}.lock" for name in ("cpu", "cuda"))
ABOUT = "# images/cpu.lock, what torch's CUDA build needs besides, and DeepSpeed; written by tools/lock_cuda.py"
OURS = re.compile(r"nvidia-.+|cuda-.+|triton")


def resolve(torch: str) -> dict[str, str]:
    """Return the versions, by normalized name, that `torch` (``torch===2.13.0``) needs, as pip resolves them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), "--constraint", str(CPU), torch]
        subprocess.run(command, check=True)
        installs = json.loads(report.read_text())["install"]
    packages = [package["metadata"] for package in installs]
    return {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in packages}


def main() -> None:
    """Write the file."""
    pins = [line for line in CPU.read_text().splitlines() if not line.startswith("#")]
    (torch,) = [pin for pin in pins if pin.startswith("torch==")]
    # `===` demands exactly this build; `==` would accept another build of the version, such as 2.13.0+cpu.
    exact = torch.replace("==", "===")
    pins[pins.index(torch)] = exact
    more = [f"{name}=={version}" for name, version in resolve(exact).items() if OURS.fullmatch(name)]
    if not more:
        sys.exit("this index has torch without CUDA: name one that has it, with pip's own settings")
    # DeepSpeed, for several GPUs: the versions installed here for the tests.
    deepspeed = [pin(distribution(name)) for name in closure({("deepspeed", "")})]
    lines = sorted({*pins, *more, *(line for line in deepspeed if line != torch and not OURS.match(line))})
    CUDA.write_text("\n".join([ABOUT, *lines]) + "\n")
    print(f"{CUDA.relative_to(ROOT)}: {len(lines)} packages")


if __name__ == "__main__":
    main()

"""What the image leaves out of CUDA, and the target that has it all."""

import json
import subprocess
from pathlib import Path

import pytest

from support.containers.image import ROOT, TAG, Built, build_arguments, podman, runner
from support.containers.image_machine import Machine

pytestmark = pytest.mark.image

DEVEL, INSTALLER = (f"localhost/runner-tests/{name}:cpu" for name in ("devel", "installer"))

LIBRARY = """
#include <stdio.h>
int cufftCreate(int *plan) { return 0; }
const char *cufftGetErrorString(int code) { return "the real one"; }
int _inside(void) { return 0; }
"""
PROGRAM = """
#include <stdio.h>
int cufftCreate(int *plan);
const char *cufftGetErrorString(int code);
int main(void) { printf("%d %s\\n", cufftCreate(0), cufftGetErrorString(0)); }
"""
# Libraries like NVIDIA's, with a version at each symbol; a program that is linked to one, and that looks for all of its
# symbols before it begins, as Python does with torch.
SCRIPT = """
cd /opt/venv/lib/python3*/site-packages
echo 'version_1 { global: *; };' > /tmp/versions
for library in $(sed --quiet 's/^stand_in \\([^ ]*\\) .*/\\1/p' /images/stand-ins.sh); do
  mkdir --parents "$(dirname "$library")"
  name=$(basename "$library")
  gcc -fPIC -shared -Wl,-soname,"$name" -Wl,--version-script,/tmp/versions -o "$library" /given/library.c
  truncate --size=1M "$library"
done
gcc /given/program.c "$PWD/nvidia/cu13/lib/libcufft.so.12" -Wl,-rpath,"$PWD/nvidia/cu13/lib" -o /tmp/program
LD_BIND_NOW=1 /tmp/program
bash /images/stand-ins.sh 2> /dev/null
LD_BIND_NOW=1 /tmp/program
find nvidia -type f -size -20k | wc -l
find nvidia -type f -size +20k
"""


def test_a_stand_in_is_linked_like_the_library_and_says_that_it_is_none(
    image: Built, machine: Machine, tmp_path: Path
) -> None:
    """Built by the stage that installs, which the image's build has left in podman's cache."""
    runner(*(INSTALLER if word == TAG else word for word in build_arguments(machine)), "--target=installer")
    (tmp_path / "library.c").write_text(LIBRARY)
    (tmp_path / "program.c").write_text(PROGRAM)
    volumes = [f"--volume={tmp_path}:/given:ro", f"--volume={ROOT / 'images'}:/images:ro"]
    command = ["podman", "run", "--rm", "--network=none", *volumes, "--entrypoint=/bin/bash", INSTALLER]
    done = subprocess.run([*command, "-euo", "pipefail", "-c", SCRIPT], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["0 the real one", "16 libcufft.so.12 is not in this image", "5"]


def test_in_the_target_devel_torch_compiles(image: Built, machine: Machine) -> None:
    """And Triton would: it wants a C compiler and Python's headers."""
    command, options = build_arguments(machine)[:2], build_arguments(machine)[2:]
    renamed = [DEVEL if word == TAG else word for word in options]
    report = json.loads(runner(*command, "--target=devel", *renamed).stdout)
    below = len(image.report["layers"])
    assert report["layers"][:below] == image.report["layers"]
    code = (
        "import torch\n"
        "from runner.train.devices.triton import has_compiler\n"
        "f = torch.compile(lambda x: torch.nn.functional.silu(x) * 2)\n"
        "x = torch.linspace(-1, 1, 64)\n"
        "print(has_compiler(), torch.allclose(f(x), torch.nn.functional.silu(x) * 2))"
    )
    done = podman("run", "--rm", "--network=none", "--entrypoint=/opt/venv/bin/python", DEVEL, "-P", "-c", code)
    assert done.stdout == "True True\n"

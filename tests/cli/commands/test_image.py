"""What `runner image` and `--infra docker` say when something is missing: one message, with the remedy, exit 2."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from runner.backends.docker.container_cli import Containers
from runner.backends.docker.image import build_command
from runner.errors import UserError
from support.bench import Bench
from support.locks import locked_pins
from support.paths import ROOT

PODMAN = Containers(program="podman")


def program(folder: Path, name: str, script: str) -> None:
    """A program on a PATH of the test's own: docker and podman as they behave when they do not work."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def refused(bench: Bench, *arguments: str) -> str:
    done: subprocess.CompletedProcess[str] = bench.runner(*arguments, env={"PATH": str(bench.folder / "bin")}, cwd=ROOT)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "arguments", [("image", "build"), ("image", "push", "x"), ("launch", "quickstart", "--infra", "docker")]
)
def test_without_docker_and_podman_it_says_what_to_install(bench: Bench, arguments: tuple[str, ...]) -> None:
    said = refused(bench, *arguments)
    assert "neither docker nor podman" in said
    assert "install docker" in said
    assert bench.store.folders("runs/") == []


def test_a_program_that_was_asked_for_and_is_not_there_is_named(bench: Bench) -> None:
    assert "podman is not on this machine's PATH" in refused(bench, "image", "build", "--engine", "podman")


def test_docker_without_its_daemon_is_told_from_none(bench: Bench) -> None:
    program(bench.folder / "bin", "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    said = refused(bench, "image", "build")
    assert "docker does not work: Cannot connect to the Docker daemon" in said
    assert "start its service" in said


def test_podman_is_used_where_docker_has_no_daemon(bench: Bench) -> None:
    program(bench.folder / "bin", "docker", "exit 1")
    program(bench.folder / "bin", "podman", "exit 0")
    done = bench.runner("image", "build", "--dry-run", env={"PATH": str(bench.folder / "bin")}, cwd=ROOT)
    assert done.stdout.startswith("podman build --tag runner:cuda "), done


def test_a_failed_step_of_the_build_is_named(bench: Bench) -> None:
    fails = 'test "$1" = info || { echo "STEP 2/3: RUN false"; echo "Error: exit status 1" >&2; exit 1; }'
    program(bench.folder / "bin", "podman", fails)
    assert "it stopped at `STEP 2/3: RUN false`" in refused(bench, "image", "build")


def test_a_folder_that_is_no_checkout_builds_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing here to build the image from"):
        build_command(PODMAN, tmp_path, accelerator="cpu", tag="x")


def test_the_build_command_says_what_the_labels_shall_say() -> None:
    command = build_command(PODMAN, ROOT, accelerator="cpu", tag="x", build_args=["BASE_IMAGE=y"], more=["--no-cache"])
    arguments = [after for word, after in pairwise(command) if word == "--build-arg"]
    assert [argument.partition("=")[0] for argument in arguments] == [
        "ACCELERATOR",
        "VERSION",
        "REVISION",
        "LOCK_DIGEST",
        "BASE_IMAGE",
    ]
    assert command[-2:] == ["--no-cache", str(ROOT)]


@pytest.mark.parametrize(("options", "tag"), [((), "runner:cpu-devel"), (("--tag", "mine"), "mine")])
def test_a_target_is_in_the_default_name_and_goes_to_the_engine(
    bench: Bench, options: tuple[str, ...], tag: str
) -> None:
    program(bench.folder / "bin", "podman", "")
    build = ("image", "build", "--context", str(ROOT), "--accelerator", "cpu", "--target", "devel", "--dry-run")
    words = bench.runner(*build, *options, env={"PATH": str(bench.folder / "bin")}).stdout.split()
    assert words[words.index("--tag") + 1] == tag
    assert words[words.index("--target") + 1] == "devel"


def test_a_build_argument_without_a_name_is_refused() -> None:
    with pytest.raises(UserError, match="is not NAME=VALUE"):
        build_command(PODMAN, ROOT, accelerator="cpu", tag="x", build_args=["nonsense"])


def test_an_infra_that_cannot_see_the_store_and_an_image_that_is_not_used_are_refused(bench: Bench) -> None:
    assert "which machines on moon do not see" in refused(bench, "launch", "quickstart", "--infra", "moon")
    assert "add --infra docker" in refused(bench, "launch", "quickstart", "--image", "x")


def test_the_cuda_lock_is_the_cpu_lock_and_what_several_gpus_need() -> None:
    """NVIDIA's libraries, and DeepSpeed as the tests have it."""
    cpu, cuda, torch, tested = (
        locked_pins(ROOT / f"{name}.lock")
        for name in ("images/cpu", "images/cuda", "images/torch", "tests/requirements")
    )
    assert cpu | torch <= cuda, "`make lock` writes them anew"
    more = cuda - cpu - torch
    assert {"deepspeed"} <= {pin.split("=")[0] for pin in more & tested}
    assert {pin.split("-")[0].split("=")[0] for pin in more - tested} == {"nvidia", "cuda", "triton"}


@pytest.mark.parametrize("name", ["Dockerfile", "benchmarks/pytorch.Dockerfile"])
def test_the_base_image_is_pinned_by_its_digest(name: str) -> None:
    assert re.search(
        r"^ARG BASE_IMAGE=debian:bookworm-slim@sha256:[0-9a-f]{64}$", (ROOT / name).read_text(), re.MULTILINE
    )


def test_the_image_keeps_bitsandbytes_for_the_cuda_that_torch_has() -> None:
    """images/trim.sh leaves out the others by name."""
    pins = locked_pins(ROOT / "images/cuda.lock")
    (cuda,) = [line.partition("==")[2] for line in pins if line.startswith("nvidia-cuda-runtime==")]
    trimmed = (ROOT / "images/trim.sh").read_text()
    assert f"*_cuda{cuda.partition('.')[0]}?.so" in trimmed
    assert f"nvidia/cu{cuda.partition('.')[0]}/lib/" in trimmed


def test_what_the_image_has_stand_ins_for_is_in_the_lock_and_in_the_target_devel() -> None:
    """images/stand-ins.sh names packages and libraries, and the Dockerfile names the packages once more."""
    script = (ROOT / "images/stand-ins.sh").read_text()
    stand_ins = re.findall(r"^stand_in nvidia/(\S+)/lib/\S+ \d+(?: (\S+))?", script, re.MULTILINE)
    lines = locked_pins(ROOT / "images/cuda.lock")
    (pattern,) = re.findall(r"'(\^\(triton.*==)'", (ROOT / "Dockerfile").read_text())
    devel = {line.partition("==")[0] for line in lines if re.match(pattern, line)}
    (cuda,) = [line.partition("==")[2].partition(".")[0] for line in lines if line.startswith("nvidia-cuda-runtime==")]
    assert devel == {"triton", f"nvidia-cudnn-cu{cuda}", *(package for _, package in stand_ins if package)}
    assert {folder for folder, _ in stand_ins} == {f"cu{cuda}", "cudnn", "cusparselt", "nvshmem"}


@pytest.mark.parametrize("remember", [True, False])
def test_an_image_that_was_pushed_is_used_by_later_launches(bench: Bench, remember: bool) -> None:
    """With its digest, and without another option; `--no-remember` leaves that as it was."""
    digest = "sha256:" + "ab" * 32
    inspected = '[{"Id": "sha256:1", "Size": 1, "RepoDigests": []}]'
    program(
        bench.folder / "bin",
        "docker",
        f"case \"$*\" in *push*) echo 'cuda: digest: {digest} size: 1';; *inspect*) echo '{inspected}';; esac",
    )
    path = {"PATH": str(bench.folder / "bin")}
    command = ("image", "push", "registry.example/runner:cuda", "--engine", "docker", *["--no-remember"][remember:])
    done = bench.runner(*command, env=path)
    assert (done.returncode, done.stdout) == (0, f"registry.example/runner@{digest}\n"), done.stderr
    bench.recipe()
    task = bench.runner("render", "small.yaml", "--gpu", "L4", "--store", "s3://bucket-of-tests/x")
    assert (f"docker:registry.example/runner@{digest}" in task.stdout) is remember, task.stderr

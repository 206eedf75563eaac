"""``runner image``."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from runner.cli.options import json_option
from runner.cli.output import print_json, say, show

_engine_option = click.option(
    "--engine", type=click.Choice(["docker", "podman"]), help="The program to use. Default: the one that is there."
)


@click.group()
def image() -> None:
    """Build the image that runs train in, and push it to a registry.

    It is built from a checkout of runner, with docker or podman.

    \b
    Example:
      runner image build --accelerator cpu
      runner image push registry.example.com/team/runner:cuda
    """


@image.command()
@click.option(
    "--accelerator",
    type=click.Choice(["cuda", "cpu"]),
    default="cuda",
    show_default=True,
    help="Which lock in images/ is installed.",
)
@click.option(
    "--target",
    type=click.Choice(["devel"]),
    help="With a compiler, Triton and all of torch's libraries besides: devel.",
)
@click.option(
    "--tag", metavar="REF", help="The image's name. Default: runner:ACCELERATOR, or runner:ACCELERATOR-devel."
)
@click.option("--build-arg", "build_args", metavar="NAME=VALUE", multiple=True, help="An ARG of the Dockerfile.")
@click.option(
    "--context",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="A checkout of runner. Default: the working directory.",
)
@click.option(
    "--sbom",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write down what is installed in it, as a CycloneDX document.",
)
@_engine_option
@click.option("--dry-run", is_flag=True, help="Print the command, and do nothing.")
@json_option
@click.argument("options", nargs=-1, metavar="[-- OPTION...]", type=click.UNPROCESSED)
def build(
    accelerator: Any,
    target: str | None,
    tag: str | None,
    build_args: tuple[str, ...],
    context: Path,
    sbom: Path | None,
    engine: str | None,
    dry_run: bool,
    as_json: bool,
    options: tuple[str, ...],
) -> None:
    """Build the image from a checkout.

    Prints its layers and their sizes.

    What stands after `--` is given to `docker build` or `podman build` as it is.

    \b
    Example:
      runner image build --accelerator cpu
      runner image build --target devel
      runner image build --tag runner:mine -- --secret id=pip.conf,src=pip.conf
    """
    import shlex

    from runner.control.image import ImageOptions, build_image, image_command

    wanted = ImageOptions(
        accelerator=accelerator,
        target=target,
        tag=tag,
        build_args=build_args,
        context=context,
        engine=engine,
        more=options,
    )
    if dry_run:
        show(shlex.join(image_command(wanted)))
        return
    built = build_image(wanted, sbom_file=sbom)
    if as_json:
        layers = [dataclasses.asdict(layer) for layer in built.layers]
        print_json({**dataclasses.asdict(built.image), "layers": layers})
        return
    for layer in built.layers:
        show(f"{_megabytes(layer.size_bytes)}  {layer.created_by}")
    show(f"{_megabytes(built.image.size_bytes)}  {wanted.name}, {built.image.pinned}")


@image.command()
@click.argument("ref", metavar="REF")
@_engine_option
@click.option(
    "--remember/--no-remember", default=True, help="Use it in later launches without another option. Default: yes."
)
@json_option
@click.argument("options", nargs=-1, metavar="[-- OPTION...]", type=click.UNPROCESSED)
def push(ref: str, engine: str | None, remember: bool, as_json: bool, options: tuple[str, ...]) -> None:
    """Push an image to the registry that its name says.

    Prints its name with its digest, which means this image for ever, and remembers it: launches to machines elsewhere
    use it from now on, unless --image, RUNNER_IMAGE or the recipe names another (`runner config unset image`).

    \b
    Example:
      runner image push registry.example.com/team/runner:cuda
    """
    from runner.control.configuration import set_value
    from runner.control.image import push_image

    pinned = push_image(ref, engine=engine, more=options)
    if remember:
        set_value("image", pinned)
        say("remembered: `runner launch` to machines elsewhere uses it from now on")
    if as_json:
        print_json({"image": pinned})
    else:
        show(pinned)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:8.1f} MB"

"""``runner config``."""

import click

from runner.cli.options import json_option
from runner.cli.output import print_json, say, show


@click.group()
def config() -> None:
    """Show and change what is settled once for all launches.

    The settings are store, infra, gpu, image, project and max-cost. An option counts first, then its variable,
    then the recipe, then this file, then the default.

    \b
    Example:
      runner config set store s3://my-bucket/runner
      runner config set gpu L4,A10G
      runner config list
    """


@config.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Show every setting with its value and what says so.

    \b
    Example:
      runner config list
    """
    from runner.control.configuration import as_text, effective
    from runner.reports.tables import text_table

    settings = list(effective())
    if as_json:
        print_json(
            [
                {"name": one.name, "value": one.value, "default": one.text, "source": one.source, "hidden": one.hidden}
                if one.value is None
                else {"name": one.name, "value": one.value, "source": one.source, "hidden": one.hidden}
                for one in settings
            ]
        )
        return
    cells = []
    for one in settings:
        note = f"wins over {as_text(one.hidden)} of the file" if one.hidden is not None else ""
        note = "a recipe that says otherwise wins" if one.recipe_wins else note
        cells.append([one.name, one.text, one.source, note])
    show("\n".join(line.rstrip() for line in text_table(["NAME", "VALUE", "FROM", ""], cells).splitlines()))


@config.command()
@click.argument("name", metavar="NAME")
@json_option
def get(name: str, as_json: bool) -> None:
    """Print a setting's value, as it counts here; nothing if it is the default.

    \b
    Example:
      runner config get store
    """
    from runner.control.configuration import as_text, effective
    from runner.remembered import setting_named

    name = setting_named(name, where="runner config get")
    [setting] = [one for one in effective() if one.name == name]
    if as_json:
        print_json({"name": name, "value": setting.value, "source": setting.source})
    elif setting.value is not None:
        show(as_text(setting.value))


@config.command("set")
@click.argument("name", metavar="NAME")
@click.argument("value", metavar="VALUE")
def set_(name: str, value: str) -> None:
    """Remember a value. Lists are separated by commas.

    NAME is store, infra, gpu, image, project or max-cost.

    \b
    Example:
      runner config set max-cost 20
      runner config set infra aws,gcp/us-central1
    """
    from runner.control.configuration import set_value
    from runner.remembered import SETTINGS, config_file, in_environment, setting_named

    set_value(name, value)
    say(f"written to {config_file()}")
    name = setting_named(name, where="runner config set")
    if in_environment(name) is not None:
        say(f"{SETTINGS[name].variable} is set, and wins over it here")


@config.command()
@click.argument("name", metavar="NAME")
def unset(name: str) -> None:
    """Forget a value.

    \b
    Example:
      runner config unset image
    """
    from runner.control.configuration import unset_value

    if not unset_value(name):
        say(f"{name} was not set")

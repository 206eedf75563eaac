"""``runner doctor``."""

import dataclasses

import click

from runner.cli.options import json_option
from runner.cli.output import print_json, show

_MARKS = {"ok": "ok", "missing": "MISSING", "note": "-"}


@click.command()
@json_option
@click.option("--store", metavar="URL", envvar="RUNNER_STORE", show_envvar=True, help="The store to look at.")
def doctor(store: str | None, as_json: bool) -> None:
    """Look for what is missing on this machine.

    Exits 1 if a run could not work here, and says what to do.

    \b
    Example:
      runner doctor
    """
    from runner.control.doctor import examine

    findings = list(examine(store))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            show(f"{_MARKS[finding.state]:<8} {finding.name:<{width}} {finding.detail}")
            if finding.remedy:
                show(f"{'':<{9 + width}} {finding.remedy}")
    if any(finding.state == "missing" for finding in findings):
        raise click.exceptions.Exit(1)

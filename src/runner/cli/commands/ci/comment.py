"""``runner ci comment``."""

import os
import shlex

import click

from runner.cli.output import show


@click.command()
@click.option("--pull", metavar="FILE", help="The pull request, as `gh api repos/OWNER/NAME/pulls/N` prints it.")
def comment(pull: str | None) -> None:
    """Read a comment that launches.

    In a job of GitHub's event `issue_comment`. The comment's first line is `/runner launch RECIPE [OPTION]...`; whoever
    has written it must own the repository, be a member of its organization or a collaborator, and a pull request must
    not be from a fork: exit code 2. Outputs are `launch` (true or false), `recipe`, `args` and `commit`.

    \b
    Example:
      runner ci comment --pull pull.json
    """
    from runner.control.ci.comment import read_comment
    from runner.control.ci.event import read_event, read_payload
    from runner.control.ci.finish import give_outputs

    asked = read_comment(read_event(os.environ), read_payload(pull, "--pull") if pull else None)
    outputs = {"launch": "false"}
    if asked is not None:
        outputs = {"launch": "true", "recipe": asked.recipe, "args": shlex.join(asked.options)}
        outputs["commit"] = asked.commit or ""
    give_outputs(outputs)
    for name, value in outputs.items():
        show(f"{name}={value}")

"""Variables that the caller names for an attempt, from files and as secrets. Their values are written nowhere."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.errors import UserError
from runner.notebook import notebook_secret
from runner.recipe.webhooks import VARIABLE, is_webhook
from runner.redaction import holds_token
from runner.remembered import SETTINGS, read_file
from runner.runs.layout import OWN_VARIABLES, SECRET_NAMES

NO_WEBHOOKS: Mapping[str, str] = {}
"""Of a recipe without `notify`."""
PROJECT_VARIABLE = SETTINGS["project"].variable
"""Names the project that W&B logs to."""


def chosen_environment(
    env_files: Sequence[Path],
    secrets: Sequence[str],
    *,
    needed: Sequence[str] = (),
    webhooks: Mapping[str, str] = NO_WEBHOOKS,
) -> dict[str, str]:
    """Collect the variables that an attempt is given on top of this process's own.

    Args:
        env_files: files of ``NAME=value`` lines; later ones win.
        secrets: names of variables that must be in a file, in this process's environment, or among the secrets of the
            notebook that it is called from (Kaggle; Colab gives them to `runner.notebook.secrets` only).
        needed: names that the run was launched with, and that it needs again.
        webhooks: names that hold the URLs of webhooks, each with the place that asks for it.

    Returns:
        Values by name: all of the files', and the secrets'. `SECRET_NAMES` lists them.

    Raises:
        UserError: a file cannot be read, a name is not one of a variable, a secret has no value, or a webhook's is no
            URL.
    """
    chosen: dict[str, str] = {}
    for path in env_files:
        chosen.update(read_env_file(path))
    for name in checked_names(secrets):
        _require(name, chosen, "--secret", f"export {name}=…, or put it into a file and pass `--env-file FILE`")
    for name in needed:
        if name == PROJECT_VARIABLE and name not in chosen and not os.environ.get(name):
            continue  # it was remembered where the run was launched: `_with_project` knows what counts here
        _require(
            name,
            chosen,
            "the run was launched with it",
            f"export {name}=…, or pass `--env-file FILE` as at its launch",
        )
    for name, place in webhooks.items():
        _require(
            name,
            chosen,
            place,
            f"export {name}=https://…, pass `--env-file FILE`, or launch without: `--set notify=[]`",
        )
        if not is_webhook(chosen[name]):
            remedy = f"export {name}=https://…, the whole URL of the webhook"
            raise UserError(f"the value of {name} is not a URL", where=place, remedy=remedy)
    for name in OWN_VARIABLES:
        if name in chosen:
            raise UserError(f"{name} is runner's own variable", where="--env-file or --secret", remedy="leave it out")
    if chosen:
        chosen[SECRET_NAMES] = ",".join(sorted(chosen))
    return _with_project(chosen)


def _with_project(chosen: dict[str, str]) -> dict[str, str]:
    """Add the project that was settled once for all, unless a variable says another. It is no secret, so not hidden."""
    if PROJECT_VARIABLE not in chosen and not os.environ.get(PROJECT_VARIABLE):
        project = read_file().get("project")
        return chosen if project is None else {**chosen, PROJECT_VARIABLE: str(project)}
    return chosen


def checked_names(secrets: Sequence[str]) -> Sequence[str]:
    """Return names of variables as they were given.

    Raises:
        UserError: one is not a name. The message does not show it, since it may be a value.
    """
    for name in secrets:
        if VARIABLE.fullmatch(name) is None:
            raise UserError(
                "not the name of an environment variable",
                where="--secret",
                remedy="give the name only, such as `--secret HF_TOKEN`; the value is taken from the environment",
            )
    return secrets


def _require(name: str, chosen: dict[str, str], where: str, remedy: str) -> None:
    if name in chosen:
        return
    value = os.environ.get(name) or notebook_secret(name)
    if value is None and name not in os.environ:
        raise UserError(f"{name} is not set", where=where, remedy=remedy)
    chosen[name] = value or ""


def read_env_file(path: Path) -> dict[str, str]:
    """Read the variables of a ``.env`` file as python-dotenv parses it: ``export``, comments, quotes, several lines.

    Nothing is substituted: a ``$`` in a password is a ``$``, as with ``docker run --env-file``.

    Raises:
        UserError: it cannot be read, or a line is none of these. The message shows no line: it may be a secret.
    """
    from dotenv.parser import parse_stream  # not above: most commands read no such file

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"cannot be read: {reason}", where=str(path)) from error
    variables: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.key is None and not binding.error:
            continue  # a comment, or nothing
        named = binding.key is not None and VARIABLE.fullmatch(binding.key) is not None and not holds_token(binding.key)
        if binding.error or binding.value is None or not named:
            written = binding.original.string
            line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
            raise UserError(
                "not a `NAME=value` line, or a quote that is not closed",
                where=f"{path}:{line}",
                remedy="put a value with `#`, several lines, or spaces at its ends into quotes",
            )
        variables[str(binding.key)] = binding.value
    return variables

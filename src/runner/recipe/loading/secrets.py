"""Find secrets in a recipe, which would be written into its run's record and shown to all who see the store."""

import re
from collections.abc import Iterator
from typing import Any

from runner.recipe.problems import Problem, RecipePath
from runner.recipe.webhooks import VARIABLE
from runner.redaction import holds_token, is_secret_name

_SETTINGS = ("hub_token", "push_to_hub_token", "token", "use_auth_token", "api_key", "password")
"""Settings that hold a secret. (Others, such as ``eos_token``, end in the same words and hold none.)"""

_ASSIGNMENT = re.compile(r"(?<![\w-])([A-Za-z_]\w{0,100})=(?![\s$]|[\"'](?:\$|[\"'])|\.{3}|…)\S")
"""``NAME=value`` in a script; a value that begins with ``$`` comes from elsewhere."""

_VALUE = r"[\"']?(?![$\"'<{-])[^\s\"']"
_OPTION = re.compile(rf"(?<![\w-])--([a-z][\w-]{{0,60}})(?:=|[ \t]+){_VALUE}")
"""``--token VALUE`` in a script."""
_LOGINS = re.compile(
    rf"""
    (?i:\bauthorization:\s*(?:bearer|basic|token)\s+){_VALUE}
    | (?<![\w-])(?:-u|--user)[= ]?["']?(?![$"']|\d+:\d+\b)[^\s:"'/]{{1,100}}:{_VALUE}   # curl; not ``1000:1000``
    | \bwandb[ ]+login[ ]+(?:--\S+[ ]+)*[0-9A-Za-z_]{{20,}}
    | \blogin\b[^\n|;&]{{0,200}}[ ]-p[ ]*{_VALUE}
    """,
    re.VERBOSE,
)
"""Other ways in which commands take secrets."""

_IMAGE_LOGIN = re.compile(r":[^/@]{1,200}@(?!sha256:)")

_URL_REMEDY = (
    "leave it out, export a variable that holds the URL, and write its name: `notify: [{secret: SLACK_WEBHOOK}]`"
)
_REMEDY = "leave it out, export the variable, and name it: `--secret {name}`, or `sky: {{secrets: {{{name}: null}}}}`"


def find_secrets(data: Any, path: RecipePath = ()) -> Iterator[Problem]:
    """Yield a problem for each secret in a recipe's mapping; no problem shows one.

    A secret is what has the form of a token, a value under the name of one, and ``NAME=value`` with such a name in a
    script.

    Args:
        data: the mapping, or any value in it. The schema need not accept it.
        path: where it stands.
    """
    if isinstance(data, dict):
        for key, value in data.items():
            if holds_token(str(key)):
                yield Problem(path, "a key of a recipe must not be a secret", _REMEDY.format(name="NAME"))
                continue
            yield from find_secrets(value, (*path, str(key)))
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from find_secrets(value, (*path, index))
    elif (
        isinstance(data, str | int | float)
        and not isinstance(data, bool)
        and (name := _secret_at(path, str(data))) is not None
    ):
        remedy = _URL_REMEDY if path[:1] == ("notify",) else _REMEDY.format(name=name)
        yield Problem(path, "a recipe must not contain a secret", remedy)


def _secret_at(path: RecipePath, text: str) -> str | None:
    """Return the name of the variable that a secret belongs in; None if the text holds none."""
    key = str(path[-1]) if path else ""
    in_environment = path[:-1] in (("sky", "envs"), ("sky", "secrets"))
    if in_environment and is_secret_name(key) and text and not text.startswith("$"):
        return key
    if path[:2] == ("sky", "secrets") and len(path) > 2 and text:  # whatever its name: its value is never written here
        return str(path[2])
    if path[:1] == ("notify",) and text and ("/" in text or (key == "secret" and not VARIABLE.fullmatch(text))):
        return "NAME"  # a webhook's URL: whoever knows it can write to the channel
    if key in _SETTINGS and text and text.lower() not in ("true", "false"):
        return "HF_TOKEN" if "token" in key else key.upper()
    if key == "image_id" and _IMAGE_LOGIN.search(text):
        return "SKYPILOT_DOCKER_PASSWORD"
    if holds_token(text):
        return key if in_environment else "HF_TOKEN" if "hf_" in text else "NAME"
    if path[:1] == ("sky",):
        if _LOGINS.search(text):
            return "NAME"
        named = (*_ASSIGNMENT.finditer(text), *_OPTION.finditer(text))
        name = next((match[1] for match in named if is_secret_name(match[1])), None)
        return name and name.replace("-", "_").upper() if name and "-" in name else name
    return None

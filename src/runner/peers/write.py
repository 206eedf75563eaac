"""Write a converted recipe, with where each line came from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.peers.convert import Converted
from runner.recipe.loading.other_tools import PEERS
from runner.redaction import hide_tokens


class _Dumper(yaml.SafeDumper):
    """Writes short lists and mappings in one line, and texts with line breaks as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether a value that stands twice is written twice: always."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    if exponent and "." not in mantissa:
        text = f"{mantissa}.0e{power}"  # without a point, YAML 1.1 takes it for text
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def written(converted: Converted, source: str, *, files: Path | None = None) -> str:
    """A recipe's text: what was left out above it, and behind each line the key that it comes from.

    Args:
        converted: what was converted.
        source: the file's name or the command, in one line.
        files: the folder where the draft's files are; None: beside the recipe.
    """
    draft = converted.draft
    lines = [f"# From {PEERS[converted.peer]}: {_in_a_line(source)}"]
    lines += [f"# NOT THE SAME: {_in_a_line(f'{remark.key}: {remark.text}')}" for remark in draft.impossible]
    by_path: dict[str, str] = {}
    for remark in draft.remarks:
        if remark.path is not None and remark.mark != "taken":
            words = [remark.key] if remark.key else []
            by_path[remark.path] = ": ".join([*words, remark.text] if remark.text else words)
    recipe = draft.recipe
    if files is not None and draft.files:
        training = {
            key: str(files / value) if value in draft.files else value
            for key, value in recipe["training"].items()
            if isinstance(value, str)
        }
        recipe = recipe | {"training": recipe["training"] | training}
    for section, value in recipe.items():
        lines += _section(section, value, by_path)
    return "\n".join(lines) + "\n"


def _section(section: str, value: Any, comments: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _commented(f"{section}: {_inline(value)}", comments.get(section))
        return
    yield ""
    yield _commented(f"{section}:" if value else f"{section}: {{}}", comments.get(section))
    for key, one in value.items():
        comment = comments.get(f"{section}.{key}")
        flat = f"  {key}: {_inline(one)}"
        if (len(flat) <= 100 and not isinstance(one, list | dict)) or len(flat) <= 70:
            yield _commented(flat, comment)
        else:
            yield _commented(f"  {key}:", comment)
            block = yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
            yield from (f"    {line}" if line else "" for line in block.splitlines())


def _inline(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _commented(line: str, comment: str | None) -> str:
    return line if not comment else f"{line:<50} # {_in_a_line(comment)}"


def _in_a_line(text: str) -> str:
    """What a config says, as a part of a comment; what looks like a token is hidden."""
    return hide_tokens(" ".join(text.split()))

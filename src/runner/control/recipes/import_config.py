"""Convert another tool's config, hold the recipe against the rules, and write it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner.errors import UserError
from runner.files import read_whole
from runner.peers.convert import Converted, convert, read_config
from runner.peers.skypilot import is_task, training_of
from runner.peers.trl import parse_command
from runner.peers.write import written
from runner.recipe.loading.load import check_recipe
from runner.recipe.loading.other_tools import PEERS, Peer
from runner.recipe.loading.strict_yaml import parse_document

_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Imported:
    """A config that was converted."""

    converted: Converted
    """What became of each key."""
    text: str
    """The recipe."""
    problems: Sequence[str]
    """What `runner check` says against it."""

    @property
    def ok(self) -> bool:
        """Whether the recipe trains the same, and is one that can be launched."""
        return not self.converted.draft.impossible and not self.problems

    def as_json(self) -> dict[str, Any]:
        """The same as ``runner import --json`` prints it."""
        return {
            "from": self.converted.peer,
            "ok": self.ok,
            "recipe": self.converted.draft.recipe,
            "remarks": [vars(remark) for remark in self.converted.draft.remarks],
            "problems": list(self.problems),
        }


def import_config(arguments: Sequence[str], *, peer: Peer | None, cwd: Path, beside: Path | None = None) -> Imported:
    """Convert a config's file, a SkyPilot task that trains with one, or a command line of TRL's.

    Args:
        arguments: a file, or the command's words.
        peer: the tool; None: found by the keys.
        cwd: where relative paths begin.
        beside: the folder that the recipe is for, where the paths in it will begin; None: `cwd`.

    Raises:
        UserError: nothing can be read, or nobody's config is like that.
    """
    found, source = _converted(arguments, peer, cwd)
    problems = () if found.draft.impossible else _problems(found, beside or cwd)
    return Imported(found, written(found, source), problems)


def _converted(arguments: Sequence[str], peer: Peer | None, cwd: Path) -> tuple[Converted, str]:
    """Return what was converted, and what it was made from in one line."""
    if len(arguments) > 1:
        settings = parse_command(list(arguments))
        return convert(settings, peer="trl", name="imported", folder=cwd), " ".join(arguments)
    source = arguments[0]
    file = cwd / source
    folder = file.resolve().parent
    content = _read(file, source)
    if not is_task(content):
        return convert(content, peer=peer, name=file.name, folder=folder), source
    training = training_of(content, name=source)
    if training.peer == "trl":
        settings = parse_command(list(training.words))
        return convert(settings, peer="trl", name=file.name, folder=folder, task=content), source
    if training.config is None:
        raise UserError(
            f"the training names no config: {' '.join(training.words)}",
            where=f"{source}: run",
            remedy="give the config that the training reads",
        )
    config = _beside(folder, training.config, content.get("workdir"))
    settings = _read(config, training.config)
    return convert(settings, peer=training.peer, name=file.name, folder=config.parent, task=content), source


def _read(file: Path, shown_as: str) -> dict[str, Any]:
    if not file.is_file():
        raise UserError("there is no such file", where=shown_as, remedy="give the config of another tool")
    try:
        text = read_whole(file, _MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the file cannot be read: {error}", where=shown_as) from None
    return read_config(text, name=shown_as)


def _beside(folder: Path, config: str, workdir: Any) -> Path:
    """The config that a task's command names, in its working directory or beside the task; there by its name alone."""
    folders = [folder / workdir, folder] if isinstance(workdir, str) else [folder]
    places = [base / name for base in folders for name in (config.removeprefix("~/sky_workdir/"), Path(config).name)]
    return next((place for place in places if place.is_file()), places[0])


def _problems(converted: Converted, folder: Path) -> list[str]:
    draft = converted.draft
    with TemporaryDirectory() as beside:  # files that are not written yet
        for name, content in draft.files.items():
            (Path(beside) / name).write_text(content, encoding="utf-8")
        recipe = written(converted, "", files=Path(beside))
        try:
            document = parse_document(recipe, name="the recipe")
            check_recipe(document, folder / "recipe.yaml", shown_as="the recipe", flags={}, cwd=folder)
        except UserError as error:
            return [str(error)]
    return []


def report(imported: Imported, say: Callable[[str], None]) -> None:
    """Say what became of the config's keys, what cannot be said at the end."""
    draft = imported.converted.draft
    say(f"a config of {PEERS[imported.converted.peer]}, as a recipe for {draft.method}:")
    for remark in draft.remarks:
        if remark.mark == "said otherwise" or remark.mark == "added":
            what = f"{remark.key} → {remark.path}" if remark.key else f"{remark.path} is written out"
            say(f"  {what}{f': {remark.text}' if remark.text else ''}")
    left: dict[str, list[str]] = {}
    for remark in draft.remarks:
        if remark.mark == "left out":
            left.setdefault(remark.text, []).append(remark.key)
    for why, keys in left.items():
        say(f"  left out: {', '.join(dict.fromkeys(keys))}: {why}")
    for remark in draft.impossible:
        say(f"  cannot be said: {remark.key}: {remark.text}")
    for problem in imported.problems:
        say(f"  the recipe is not right yet: {problem}")

"""Chat templates that a recipe names, for base models without one: ``training: {chat_template_path: chatml}``.

Each is of our own writing, and has TRL's marks of what the assistant says. The layouts are those of OpenAI's ChatML, of
Llama 3, Gemma, Mistral 7B Instruct and Phi-3, and of Zephyr. Gemma and Mistral have no turn for a system prompt: it
comes before the first user's words.
"""

import pathlib

_FOLDER = pathlib.Path(__file__).parent


def template_names() -> list[str]:
    """The names that there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.jinja"))


def template_file(name: str) -> pathlib.Path | None:
    """Return the file of a named template; None if there is none of that name."""
    return _FOLDER / f"{name}.jinja" if name in template_names() else None

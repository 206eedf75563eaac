"""Ollama's `Modelfile` beside a GGUF file: the model's own chat template in Go's template language, and its stop words.

A Jinja template cannot be translated in general. `recognise` renders conversations of marked turns instead, and reads
off what stands before and after each role's content; if those pieces do not render all of the conversations again, the
template is of another form. Ollama's side: docs/modelfile.md and docs/template.md of github.com/ollama/ollama.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

MODELFILE = "Modelfile"
"""The file's name, as `ollama create` looks for it."""

Messages = list[dict[str, str]]
"""A conversation: ``role`` and ``content`` of each message."""

_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Ollama's names of what a ``generation_config.json`` sets."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A chat template as the texts around the contents of a conversation's messages."""

    head: str
    """Before the first user's turn if there is no system prompt; models with a default one have it here."""
    before_system: str | None
    """Before the system prompt; None if the template takes none."""
    after_system: str
    """Between the system prompt and the first user's turn."""
    before_user: str
    after_user: str
    before_assistant: str
    after_assistant: str
    generation: str
    """What the answer follows, after the last user's turn."""
    bare_first: bool
    """Whether the first user's turn has no `before_user`: it is in `head` and `after_system`, in another form."""

    def render(self, messages: Messages) -> str:
        """Return a conversation of an optional system prompt and alternating turns; a user's is the last."""
        has_system = messages[0]["role"] == "system"
        text = self.head
        if has_system:
            text = f"{self.before_system or ''}{messages[0]['content']}{self.after_system}"
        for index, message in enumerate(messages[1:] if has_system else messages):
            if message["role"] == "user":
                before = "" if self.bare_first and index == 0 else self.before_user
                text += before + message["content"] + self.after_user
            else:
                text += self.before_assistant + message["content"] + self.after_assistant
        return text + self.generation


_MARKER = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
"""A marker such as ``<|im_end|>`` or ``[/INST]``; of several in a row the first one already ends an answer."""
_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What a template raises for a conversation that it does not take: on purpose, or by what it calls."""


class OtherForm(Exception):
    """A chat template does more than put texts around each message; the message says what."""


def write_modelfile(file: Path, model: Path, tokenizer: Any) -> str | None:
    """Write the `Modelfile` of a GGUF file beside it.

    Args:
        file: the GGUF file.
        model: the folder that it was made of, for its generation config.
        tokenizer: the model's.

    Returns:
        Why the `Modelfile` has no template, if the model has one; else None.
    """
    turns, why = None, None
    if tokenizer.chat_template is not None:
        try:
            turns = recognise(tokenizer)
        except OtherForm as error:
            why = str(error)
    generation = _json(model / "generation_config.json")
    text = modelfile(
        file.name,
        turns,
        stops=stop_words(tokenizer, turns, eos_ids=_ids(generation.get("eos_token_id"))),
        generation=generation,
        why=why,
        dated="strftime_now" in str(tokenizer.chat_template),
    )
    (file.parent / MODELFILE).write_text(text, encoding="utf-8")
    return why


def modelfile(
    name: str,
    turns: Turns | None,
    *,
    stops: Sequence[str],
    generation: dict[str, Any],
    why: str | None = None,
    dated: bool = False,
) -> str:
    """Return the text of a `Modelfile`.

    Args:
        name: the GGUF file's name.
        turns: the chat template; None to leave it to Ollama, which knows some from the GGUF file's own metadata.
        stops: texts that end an answer.
        generation: the model's ``generation_config.json``.
        why: why there is no template, for a comment.
        dated: whether the template tells the day, for a comment.
    """
    lines = ["# For Ollama: ollama create my-model -f Modelfile", f"FROM ./{name}"]
    if turns is not None:
        if dated:
            lines.append("# The template has a date in it: that of the day on which this file was made.")
        lines += ["", f'TEMPLATE """{go_template(turns)}"""']
    elif why is not None:
        lines += [f"# No TEMPLATE: {' '.join(why.split())}. Ollama takes the one in the GGUF file, if it knows it."]
    lines += ["", *(f"PARAMETER stop {_value(stop)}" for stop in stops)]
    if generation.get("do_sample"):
        found = {ours: generation.get(theirs) for theirs, ours in _PARAMETERS.items()}
        lines += [f"PARAMETER {name} {value}" for name, value in found.items() if isinstance(value, int | float)]
    return "\n".join(lines).rstrip() + "\n"


def go_template(turns: Turns) -> str:
    """Return the template in Go's language, for Ollama's `.Messages`.

    All literal text is in quoted strings, and all actions trim the white space around them, so that the layout below
    adds none. An assistant's turn that is the last one stays open: Ollama lets the model go on with it.
    """
    system = turns.before_system is not None
    before_user = _text(turns.before_user)
    if turns.bare_first:  # with a system prompt the first user's turn is message 1, else 0
        before_user = _if("gt $i 1", before_user)
    head = _text(turns.head)
    if system:
        given = f"{_text(turns.before_system or '')}{{{{- .System -}}}}\n{_text(turns.after_system)}"
        head = f"{{{{- if .System -}}}}\n{given}" + (f"{{{{- else -}}}}\n{head}" if head else "") + "{{- end -}}\n"
    user = f"{before_user}{{{{- .Content -}}}}\n{_text(turns.after_user)}"
    closed = _if("not $last", _text(turns.after_assistant))
    assistant = f"{_text(turns.before_assistant)}{{{{- .Content -}}}}\n{closed}"
    prompt = _if('and $last (ne .Role "assistant")', _text(turns.generation))
    return (
        f"{head}"
        "{{- range $i, $_ := .Messages -}}\n"
        "{{- $last := eq (len (slice $.Messages $i)) 1 -}}\n"
        '{{- if eq .Role "user" -}}\n'
        f"{user}"
        '{{- else if eq .Role "assistant" -}}\n'
        f"{assistant}"
        "{{- end -}}\n"
        f"{prompt}"
        "{{- end -}}"
    )


def recognise(tokenizer: Any) -> Turns:
    """Return the pieces of a tokenizer's chat template, without the BOS token that llama.cpp adds itself.

    Raises:
        OtherForm: the template is more than texts around each message.
    """
    one = _conversation(1)
    try:
        asked = _pieces(_render(tokenizer, one), one)
        longer = _conversation(2)
        before, answered, between, _ = _pieces(_render(tokenizer, longer), longer)
    except _ERRORS as error:
        raise OtherForm(f"the chat template refuses a question and an answer ({error})") from error
    after_user = _end_of(tokenizer, one, (answered, asked[1]))
    after_assistant = _end_of(tokenizer, longer[:2], (between,))
    before_user = between.removeprefix(after_assistant)
    before_system, after_system = None, ""
    system = _conversation(1, system=True)
    try:
        before_system, after_system, _ = _pieces(_render(tokenizer, system), system)
    except _ERRORS:
        pass  # as Gemma's, which has no such role
    except OtherForm as error:
        if "is left out" not in str(error):
            raise
    plain = before.endswith(before_user) and (before_system is None or after_system.endswith(before_user))
    turns = Turns(
        head=before.removesuffix(before_user) if plain else before,
        before_system=before_system,
        after_system=after_system.removesuffix(before_user) if plain else after_system,
        before_user=before_user,
        after_user=after_user,
        before_assistant=answered.removeprefix(after_user),
        after_assistant=after_assistant,
        generation=asked[1].removeprefix(after_user),
        bare_first=not plain,
    )
    for messages in _probes(system=before_system is not None):
        try:
            same = _render(tokenizer, messages) == turns.render(messages)
        except _ERRORS as error:
            raise OtherForm(f"the chat template refuses a conversation of {len(messages)} turns ({error})") from error
        if not same:
            raise OtherForm("the chat template renders a message otherwise by its place in the conversation")
    return turns


def stop_words(tokenizer: Any, turns: Turns | None, *, eos_ids: Sequence[int]) -> list[str]:
    """Return what ends an answer: the tokens that the model's configs name, and the end of an assistant's turn.

    Args:
        tokenizer: the model's.
        turns: its chat template, if it was recognised. If it ends a turn with white space only, the beginning of the
            user's turn is taken.
        eos_ids: the generation config's tokens.
    """
    found = [tokenizer.eos_token, *(tokenizer.convert_ids_to_tokens(number) for number in eos_ids)]
    if turns is not None:
        follows = (turns.after_assistant.strip() or turns.before_user.strip()).strip()
        marker = _MARKER.match(follows)
        found.append(marker[0] if marker else follows)
    return list(dict.fromkeys(text for text in found if text))


def _conversation(questions: int, *, system: bool = False, mark: str = "") -> Messages:
    """Return a conversation that ends with a question, each content of which is found again."""
    messages = [{"role": "system", "content": f"System{mark}Zq0z"}] if system else []
    for number in range(1, questions + 1):
        messages.append({"role": "user", "content": f"Question{mark}Zq{number}z"})
        if number < questions:
            messages.append({"role": "assistant", "content": f"Answer{mark}Zq{number}z"})
    return messages


def _probes(*, system: bool) -> list[Messages]:
    """Return the conversations that tell whether the pieces are all that a template is."""
    lengths = (1, 2, 3, 4)
    return [
        _conversation(length, system=with_system, mark=mark)
        for with_system in ((False, True) if system else (False,))
        for mark in ("", " of more\n\nthan 1 line, and {{ .Content }} ")
        for length in lengths
    ]


def _render(tokenizer: Any, messages: Messages, *, prompt: bool = True) -> str:
    text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))
    bos = tokenizer.bos_token
    return text.removeprefix(bos) if bos and _adds_bos(tokenizer) else text


def _adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer begins every text with its BOS; then llama.cpp does so too, by the GGUF file's metadata."""
    return bool(tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id])


def _pieces(text: str, messages: Messages) -> list[str]:
    """Return the texts before, between and after the contents.

    Raises:
        OtherForm: a content is not there exactly once, in its order.
    """
    pieces = []
    for message in messages:
        if text.count(message["content"]) != 1:
            what = "is left out" if message["content"] not in text else "comes twice, or in another order"
            raise OtherForm(f"in the chat template the content of a {message['role']} message {what}")
        before, _, text = text.partition(message["content"])
        pieces.append(before)
    return [*pieces, text]


def _end_of(tokenizer: Any, messages: Messages, follows: Sequence[str]) -> str:
    """Return what closes the last message's turn, if what follows it in longer conversations begins with that."""
    try:
        end = _render(tokenizer, messages, prompt=False).rpartition(messages[-1]["content"])[2]
    except _ERRORS:
        return ""
    # Some close the whole conversation with an EOS token, which is not a part of the turn.
    ends = (end, end.removesuffix(tokenizer.eos_token or ""))
    return next((end for end in ends if all(text.startswith(end) for text in follows)), "")


def _text(text: str) -> str:
    return f"{{{{- {_quoted(text)} -}}}}\n" if text else ""


def _if(condition: str, body: str) -> str:
    return f"{{{{- if {condition} -}}}}\n{body}{{{{- end -}}}}\n" if body else ""


def _quoted(text: str) -> str:
    """Return a string literal of Go's. It never has the three quotes in a row that end a template in a Modelfile."""
    return json.dumps(text, ensure_ascii=False)


def _value(text: str) -> str:
    """Return a parameter's value as Ollama's parser reads it, which knows quotes but no escapes."""
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_bytes())) if file.is_file() else {}


def _ids(value: Any) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]

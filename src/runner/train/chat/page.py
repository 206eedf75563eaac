"""The chat in a browser: two columns, the base model and the fine-tuned one, on loopback."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from runner.train.chat.guard import SameOrigin
from runner.train.chat.pair import ModelPair

# Before gradio is imported: it asks for its newest version and reports its use otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio

_THINKING = [("<think>", "</think>")]
_SILENCE = "*(nothing)*"  # gradio draws no bubble around an empty answer
_STOP_SECONDS = 60.0  # more than the slowest model takes for the token that it computes when it is stopped
_MOST_CHARACTERS = 200_000  # of a conversation, more than any small model reads
_MOST_SESSIONS = 64
_MOST_TOKENS = 4096
_HOTTEST = 2
_UPDATE_SECONDS = 0.1  # each update sends the whole conversation; a browser freezes if they come faster than it draws


class _Conversations:
    """The newest answers of each session, of the newest sessions only."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, _Answering] = OrderedDict()

    def begin(self, session: str) -> "_Answering":
        """Return the events of a new question; the oldest session is forgotten if there are too many."""
        ends = self._newest[session] = _Answering()
        self._newest.move_to_end(session)
        while len(self._newest) > _MOST_SESSIONS:
            _, oldest = self._newest.popitem(last=False)
            oldest.stop.set()
        return ends

    def get(self, session: str) -> "_Answering | None":
        """Return the events of a session's newest question; None if it has asked none."""
        return self._newest.get(session)


class _Answering:
    """Events of the answers to one question, which may be stopped early."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        """Stop all answers; the text so far remains."""
        self.forget = threading.Event()
        """Discard the conversation."""
        self.over = threading.Event()
        """All answers have ended: the page takes the next question."""


def page(pair: ModelPair, title: str, *, with_base: bool, temperature: float, max_new_tokens: int) -> Any:
    """Return the page, a gradio app.

    Args:
        pair: the models that answer.
        title: the page's title.
        with_base: whether the base has a column.
        temperature, max_new_tokens: initial values of the sliders.
    """
    # The browser must not load fonts from the network either.
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    conversations = _Conversations()

    def talk(
        text: str,
        of_base: list[dict[str, Any]],
        of_tuned: list[dict[str, Any]],
        temperature: float,
        max_new_tokens: float,
        request: gradio.Request,
    ) -> Iterator[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
        if not text.strip():
            yield text, of_base, of_tuned
            return
        if len(text) + sum(len(_plain(message)["content"]) for message in (*of_base, *of_tuned)) > _MOST_CHARACTERS:
            raise gradio.Error(f"more than {_MOST_CHARACTERS:,} characters: begin a new conversation")
        # The sliders' limits hold for the page; a request may say anything.
        temperature, max_new_tokens = min(max(temperature, 0), _HOTTEST), min(max(max_new_tokens, 1), _MOST_TOKENS)
        ends = conversations.begin(str(request.session_hash))
        try:
            yield from stream_answer(ends, text, of_base, of_tuned, temperature, max_new_tokens)
        finally:
            ends.over.set()

    def stream_answer(
        ends: _Answering,
        text: str,
        of_base: list[dict[str, Any]],
        of_tuned: list[dict[str, Any]],
        temperature: float,
        max_new_tokens: float,
    ) -> Iterator[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
        asked = {"role": "user", "content": text}
        columns = {True: [*of_base, asked], False: [*of_tuned, asked]}
        yield "", columns[True], columns[False]
        for base in (False, True) if with_base else (False,):
            answer = {"role": "assistant", "content": ""}
            if not ends.stop.is_set():
                messages = [_plain(message) for message in columns[base]]
                settings = {"temperature": temperature, "max_new_tokens": int(max_new_tokens)}
                shown_at = 0.0
                for answer["content"] in pair.stream_answer(messages, base=base, **settings, stop=ends.stop):  # type: ignore[arg-type]
                    if time.monotonic() - shown_at > _UPDATE_SECONDS and not ends.stop.is_set():
                        yield "", _with_answer(columns, True, base, answer), _with_answer(columns, False, base, answer)
                        shown_at = time.monotonic()
            # A stopped answer is kept too: chat templates need an answer to every question.
            columns[base].append({**answer, "content": answer["content"] if answer["content"].strip() else _SILENCE})
        # An update that arrives after a new conversation began would bring the old one back.
        yield ("", [], []) if ends.forget.is_set() else ("", columns[True], columns[False])

    def stop_talking(request: gradio.Request) -> None:
        if (ends := conversations.get(str(request.session_hash))) is not None:
            ends.stop.set()

    def begin_anew(request: gradio.Request) -> tuple[list[Any], list[Any]]:
        if (ends := conversations.get(str(request.session_hash))) is not None:
            ends.forget.set()
            ends.stop.set()
            ends.over.wait(_STOP_SECONDS)
        return [], []

    with gradio.Blocks(title=title, analytics_enabled=False, fill_height=True) as app:
        gradio.Markdown(f"### {title}")
        with gradio.Row():
            look: dict[str, Any] = {"height": "60vh", "reasoning_tags": _THINKING}
            of_base = gradio.Chatbot(label="base", visible=with_base, elem_id="base", **look)
            of_tuned = gradio.Chatbot(label="fine-tuned", elem_id="fine-tuned", **look)
        text = gradio.Textbox(
            placeholder="Say something, and press Enter", show_label=False, elem_id="say", autofocus=True
        )
        with gradio.Row():
            heat = gradio.Slider(0, _HOTTEST, temperature, step=0.05, label="temperature", elem_id="temperature")
            limit = gradio.Slider(1, _MOST_TOKENS, max_new_tokens, step=1, label="token limit", elem_id="limit")
            stopping = gradio.Button("Stop", elem_id="stop")
            fresh = gradio.Button("New conversation", elem_id="fresh")
        text.submit(talk, [text, of_base, of_tuned, heat, limit], [text, of_base, of_tuned])
        stopping.click(stop_talking, None, None)
        fresh.click(begin_anew, None, [of_base, of_tuned])
    app.theme = theme
    return app


def serve(app: Any, port: int) -> None:
    """Serve a page on 127.0.0.1 until the process is stopped; print the address.

    Args:
        app: from `page`.
        port: 0 for any free port.
    """
    _, address, _ = app.queue(max_size=_MOST_SESSIONS).launch(
        server_name="127.0.0.1",
        server_port=port or _free_port(),
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        enable_monitoring=False,
        max_file_size=1,  # byte: nothing is uploaded
        app_kwargs={"middleware": [(SameOrigin, (), {})]},  # as starlette.middleware.Middleware unpacks
        footer_links=[],
        theme=app.theme,
    )
    print(f"chat: {address}", flush=True)
    app.block_thread()


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _plain(message: dict[str, Any]) -> dict[str, str]:
    """Return a message as models take it: gradio adds keys, and gives the content as a list of parts."""
    content = message["content"]
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    return {"role": str(message["role"]), "content": "" if content == _SILENCE else str(content)}


def _with_answer(columns: dict[bool, list[Any]], column: bool, answering: bool, answer: dict[str, str]) -> list[Any]:
    """Return the messages of a column, with the answer so far if it is the one that is being answered."""
    return [*columns[column], dict(answer)] if column is answering else columns[column]

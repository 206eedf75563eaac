"""The chat in a browser: two columns, the base model and the fine-tuned one, on loopback."""

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

from runner.train.chat.pair import ModelPair

# Before gradio is imported: it asks for its newest version and reports its use otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio

_THINKING = [("<think>", "</think>")]
_SILENCE = "*(nothing)*"  # gradio draws no bubble around an empty answer
_ONE_TOKEN_SECONDS = 60.0  # more than the slowest model takes for what it is at when it is told to stop
_SHOWN_EVERY_SECONDS = 0.1  # the whole conversation travels each time; faster than it can be drawn, a browser freezes


class _Ends:
    """How a question's answers are ended before their time."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        """All of them; what was said remains."""
        self.forget = threading.Event()
        """Nothing remains."""
        self.over = threading.Event()
        """They have ended: the page takes the next question."""


def page(pair: ModelPair, title: str, *, with_base: bool, temperature: float, max_new_tokens: int) -> Any:
    """The page as a gradio app.

    Args:
        pair: who answers.
        title: what stands above.
        with_base: whether the base has a column.
        temperature, max_new_tokens: where the sliders stand at first.
    """
    # The browser asks nobody for fonts either.
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    talks: dict[str, _Ends] = {}

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
        ends = talks[str(request.session_hash)] = _Ends()
        try:
            yield from stream_answer(ends, text, of_base, of_tuned, temperature, max_new_tokens)
        finally:
            ends.over.set()

    def stream_answer(
        ends: _Ends,
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
            said = {"role": "assistant", "content": ""}
            if not ends.stop.is_set():
                messages = [_plain(message) for message in columns[base]]
                settings = {"temperature": temperature, "max_new_tokens": int(max_new_tokens)}
                shown_at = 0.0
                for said["content"] in pair.stream_answer(messages, base=base, **settings, stop=ends.stop):  # type: ignore[arg-type]
                    if time.monotonic() - shown_at > _SHOWN_EVERY_SECONDS and not ends.stop.is_set():
                        yield "", _so_far(columns, True, base, said), _so_far(columns, False, base, said)
                        shown_at = time.monotonic()
            # What was stopped is answered too: chat templates want an answer to every question.
            columns[base].append({**said, "content": said["content"] if said["content"].strip() else _SILENCE})
        # What was on its way when a new conversation began would bring the old one back.
        yield ("", [], []) if ends.forget.is_set() else ("", columns[True], columns[False])

    def stop_talking(request: gradio.Request) -> None:
        if (ends := talks.get(str(request.session_hash))) is not None:
            ends.stop.set()

    def begin_anew(request: gradio.Request) -> tuple[list[Any], list[Any]]:
        if (ends := talks.get(str(request.session_hash))) is not None:
            ends.forget.set()
            ends.stop.set()
            ends.over.wait(_ONE_TOKEN_SECONDS)
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
            heat = gradio.Slider(0, 2, temperature, step=0.05, label="temperature", elem_id="temperature")
            limit = gradio.Slider(1, 4096, max_new_tokens, step=1, label="token limit", elem_id="limit")
            stopping = gradio.Button("Stop", elem_id="stop")
            fresh = gradio.Button("New conversation", elem_id="fresh")
        text.submit(talk, [text, of_base, of_tuned, heat, limit], [text, of_base, of_tuned])
        stopping.click(stop_talking, None, None)
        fresh.click(begin_anew, None, [of_base, of_tuned])
    app.theme = theme
    return app


def serve(app: Any, port: int) -> None:
    """Serve a page on 127.0.0.1 until the process is told to stop; prints the address.

    Args:
        app: from `page`.
        port: 0 for any that is free.
    """
    _, address, _ = app.queue().launch(
        server_name="127.0.0.1",
        server_port=port or _free_port(),
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        enable_monitoring=False,
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
    """A message as models take it: gradio gives contents as lists of parts, and marks of its own."""
    content = message["content"]
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    return {"role": str(message["role"]), "content": "" if content == _SILENCE else str(content)}


def _so_far(columns: dict[bool, list[Any]], column: bool, talking: bool, said: dict[str, str]) -> list[Any]:
    return [*columns[column], dict(said)] if column is talking else columns[column]

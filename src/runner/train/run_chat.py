"""Talk to a run's model, in a browser or in the terminal. Started by `runner chat`.

``python -m runner.train.run_chat --store URL --run RUN_ID --cache-dir DIR [--cli | --json]``
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO

from runner.errors import UserError
from runner.exit_codes import CTRL_C, FAILED, MISTAKE, SUCCEEDED
from runner.runs.layout import CheckpointName
from runner.storage.manifest import Damaged
from runner.storage.open import open_store
from runner.storage.store import NotFound, Store, StoreUnavailable
from runner.terminal import visible
from runner.train.agent.log import LOGGER, set_up_logging
from runner.train.loggers.libraries import quiet_libraries

if TYPE_CHECKING:
    from runner.train.chat.pair import ModelPair, TunedModel

_log = logging.getLogger(f"{LOGGER}.run_chat")


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the models, and chat until told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.run_chat")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--cache-dir", type=Path, required=True)
    parser.add_argument("--cli", action="store_true")
    parser.add_argument("--json", action="store_true", help="answer a program: a JSON object in a line each")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--without-base", action="store_true")
    parser.add_argument("--checkpoint", help="the checkpoint to talk to, by its whole name")
    options = parser.parse_args(arguments)
    events = _take_standard_output() if options.json else None
    set_up_logging(only_stderr=True)
    quiet_libraries()
    _log.info("loading %s …", options.run)
    from runner.train.chat.pair import ModelPair  # imports torch, which takes seconds

    with_base = not options.without_base
    settings = {"temperature": options.temperature, "max_new_tokens": options.max_new_tokens}
    try:
        store = open_store(options.store)
        checkpoint = None if options.checkpoint is None else CheckpointName.parse(options.checkpoint)
        tuned = None
        if checkpoint is not None:
            tuned = checkpoint_model(store, options.run, checkpoint, options.cache_dir)
        pair = ModelPair(store, options.run, options.cache_dir, with_base=with_base, tuned=tuned)
        if pair.is_plain:
            what = f"was trained on {pair.layout}" if pair.layout else "has no chat template"
            _log.info("%s %s: what you say goes to it as it is, without a chat template", options.run, what)
        if events is not None:
            answer_program(pair, events, **settings)
        elif options.cli:
            in_terminal(pair, with_base=with_base, **settings)
        else:
            from runner.train.chat.page import page, serve

            serve(page(pair, options.run, with_base=with_base, **settings), options.port)
    except UserError as error:
        _say_error(error, events)
        return MISTAKE
    except StoreUnavailable as error:
        _say_error(UserError(f"the store does not answer: {error}"), events)
        return FAILED
    except (Damaged, NotFound) as error:
        _say_error(UserError(f"damaged in the store: {error}"), events)
        return FAILED
    except KeyboardInterrupt:
        return CTRL_C
    return SUCCEEDED


def _take_standard_output() -> TextIO:
    """Return a stream to standard output for events, and lead what libraries print there to standard error."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _send(events: TextIO, event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), file=events, flush=True)


def _say_error(error: UserError, events: TextIO | None) -> None:
    if events is not None:
        _send(events, "error", what=error.what, where=error.where, remedy=error.remedy)
    else:
        print(f"Error: {error}", file=sys.stderr)  # as the command line prints it


def checkpoint_model(store: Store, run_id: str, checkpoint: CheckpointName, cache_dir: Path) -> "TunedModel":
    """Make a model of a checkpoint in the cache, unless it is there.

    Raises:
        UserError: a model or dataset of the run cannot be read from this machine.
    """
    from runner.train.chat.pair import TunedModel
    from runner.train.loggers.libraries import quiet_libraries
    from runner.train.stored_model import no_events, reading_attempt, save_checkpoint, stored_model

    quiet_libraries()
    above = cache_dir / "chat" / run_id
    above.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=above) as work:
        attempt = reading_attempt(store, run_id, work_dir=Path(work), cache_dir=cache_dir, events=no_events())
        model = stored_model(attempt, None, checkpoint)
        folder = above / f"checkpoint-{checkpoint}"
        if not folder.is_dir():
            made = Path(work, "model")
            save_checkpoint(attempt, model, made)
            made.replace(folder)
    return TunedModel(recipe=model.stage, folder=folder, base=model.start["base"])


def answer_program(pair: "ModelPair", events: TextIO, *, temperature: float, max_new_tokens: int) -> None:
    """Answer each line of standard input, until it ends: ``{"id", "messages", "base", …}`` in, an event out.

    Args:
        pair: the models.
        events: where ``ready`` goes, and an ``answer`` with ``id`` and ``text`` for each line.
        temperature, max_new_tokens: how the models answer if a line does not say it.
    """
    _send(events, "ready")
    for line in sys.stdin:
        request = json.loads(line)
        settings: dict[str, Any] = {"temperature": temperature, "max_new_tokens": max_new_tokens}
        settings |= {name: request[name] for name in settings if name in request}
        answer = ""
        for answer in pair.stream_answer(request["messages"], base=request["base"], **settings):  # noqa: B007
            pass
        _send(events, "answer", id=request["id"], text=answer)


def in_terminal(pair: "ModelPair", *, with_base: bool, temperature: float, max_new_tokens: int) -> None:
    """Answer each line of standard input on standard output, until it ends. An empty line begins a new conversation."""
    speakers = {"fine-tuned": False, **({"base": True} if with_base else {})}
    conversations: dict[str, list[dict[str, str]]] = {name: [] for name in speakers}
    is_interactive = sys.stdin.isatty()
    if is_interactive:
        print("Say something; an empty line begins a new conversation, Ctrl-D ends.", file=sys.stderr)
    while True:
        if is_interactive:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if not line.strip():
            for messages in conversations.values():
                messages.clear()
            continue
        for name, base in speakers.items():
            messages = conversations[name]
            messages.append({"role": "user", "content": line.strip()})
            print(f"{name}: ", end="", flush=True)
            answer = ""
            for text in pair.stream_answer(messages, base=base, temperature=temperature, max_new_tokens=max_new_tokens):
                print(visible(text[len(answer) :]), end="", flush=True)
                answer = text
            print(flush=True)
            messages.append({"role": "assistant", "content": answer})


if __name__ == "__main__":
    sys.exit(main())

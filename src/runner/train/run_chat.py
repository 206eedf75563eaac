"""Talk to a run's model, in a browser or in the terminal. Started by `runner chat`.

``python -m runner.train.run_chat --store URL --run RUN_ID --cache-dir DIR [--cli]``
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

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
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--without-base", action="store_true")
    parser.add_argument("--checkpoint", help="the checkpoint to talk to, by its whole name")
    options = parser.parse_args(arguments)
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
        if options.cli:
            in_terminal(pair, with_base=with_base, **settings)
        else:
            from runner.train.chat.page import page, serve

            serve(page(pair, options.run, with_base=with_base, **settings), options.port)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)  # as the command line prints it
        return MISTAKE
    except StoreUnavailable as error:
        print(f"Error: the store does not answer: {error}", file=sys.stderr)
        return FAILED
    except (Damaged, NotFound) as error:
        print(f"Error: damaged in the store: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return CTRL_C
    return SUCCEEDED


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

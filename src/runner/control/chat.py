"""Chat with a run's model: this process is replaced by one of the training side, or asks one."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

from runner.backends.local.training_side import require_training_side
from runner.distribution import install_command
from runner.errors import UserError
from runner.paths import cache_folder
from runner.runs.checkpoints.choice import choose_checkpoint, no_model
from runner.runs.records import run_document, run_result
from runner.storage.store import Store


def chat(
    store: Store,
    run_id: str,
    *,
    cli: bool,
    port: int,
    temperature: float,
    max_new_tokens: int,
    with_base: bool,
    checkpoint: str | None = None,
) -> NoReturn:
    """Become the process that loads the models and answers; it has this one's terminal, signals and exit code.

    Args:
        store: where the run lives.
        run_id: the run.
        cli: talk in the terminal instead of serving a page on loopback.
        port: the page's port; 0 for any that is free.
        temperature, max_new_tokens: how the models answer until the user changes it.
        with_base: whether the base model answers too.
        checkpoint: which checkpoint to talk to, as `choose_checkpoint` reads it; None for the run's model.

    Raises:
        UserError: a package that this needs is not installed.
    """
    command = _command(store, run_id, with_base=with_base, checkpoint=checkpoint)
    if not cli and find_spec("gradio") is None:
        raise UserError(
            "the page needs gradio, which is not installed",
            where="runner chat",
            remedy=f"{install_command('chat')}, or add --cli to talk in the terminal",
        )
    command += ["--port", str(port), "--temperature", str(temperature), "--max-new-tokens", str(max_new_tokens)]
    command += ["--cli"] * cli
    sys.stdout.flush()
    os.execve(sys.executable, command, _environment())


class ChatProcess:
    """A process that has loaded a run's models and answers a program. It ends with the program that asks.

    Args:
        store: where the run lives.
        run_id: the run.
        temperature, max_new_tokens: how the models answer if a question does not say it.
        with_base: whether the base model can be asked too.
        checkpoint: which checkpoint to talk to, as `choose_checkpoint` reads it; None for the run's model.

    Raises:
        UserError: a package that this needs is not installed, or the models cannot be loaded.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        temperature: float,
        max_new_tokens: int,
        with_base: bool,
        checkpoint: str | None = None,
    ) -> None:
        self._run_id = run_id
        self._numbers = itertools.count(1)
        command = _command(store, run_id, with_base=with_base, checkpoint=checkpoint)
        command += ["--json", "--temperature", str(temperature), "--max-new-tokens", str(max_new_tokens)]
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed by `close`)
        # In a session of its own: Ctrl-C in a notebook ends the question and not the models.
        self._process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            self._event("ready")
        except BaseException:
            self.close()
            raise

    def answer(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        base: bool,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
    ) -> str:
        """Return the answer to a conversation.

        Args:
            messages: ``role`` and ``content`` of user and assistant, the last one a user's.
            base: whether the base answers instead of the fine-tuned model.
            temperature: 0 for the most likely answer; None for the process's own.
            max_new_tokens: the longest answer, in tokens; None for the process's own.

        Raises:
            UserError: the process has ended.
        """
        number = next(self._numbers)
        request = {"id": number, "messages": list(messages), "base": base}
        request |= {} if temperature is None else {"temperature": temperature}
        request |= {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._ended() from error
        while True:
            event = self._event("answer")
            if event["id"] == number:  # not that of a question that was given up
                return str(event["text"])

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                with contextlib.suppress(OSError):  # it has ended before
                    stream.close()
        self._process.kill()  # it may be in the middle of an answer; it has nothing to lose
        self._process.wait()
        self._log.close()

    def _event(self, expected: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = "" if self._process.stdout.closed else self._process.stdout.readline()
        if not line:
            raise self._ended()
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "error":
            raise UserError(event["what"], where=event["where"], remedy=event["remedy"])
        assert event["event"] == expected, event
        return event

    def _ended(self) -> UserError:
        said = ""
        if not self._log.closed:
            self._log.seek(0)
            said = next((line.strip() for line in reversed(self._log.read().splitlines()) if line.strip()), "")
        what = f"the process with the models has ended: {said}" if said else "the chat is closed"
        return UserError(what, where=self._run_id, remedy="begin a new one with `run.chat()`")


def _command(store: Store, run_id: str, *, with_base: bool, checkpoint: str | None) -> list[str]:
    """Return the program that loads the models, without the options that say how it is talked to.

    Raises:
        UserError: there is no such model, or a package that this needs is not installed.
    """
    run_document(store, run_id)
    if checkpoint is None:
        require_model(store, run_id)
    chosen = None if checkpoint is None else choose_checkpoint(store, run_id, checkpoint)
    require_training_side("runner chat")
    # -P: a `datasets.py` in the working directory must not be taken for the library.
    command = [sys.executable, "-P", "-m", "runner.train.run_chat", "--store", store.url, "--run", run_id]
    command += ["--cache-dir", str(cache_folder())]
    command += ["--checkpoint", str(chosen)] if chosen is not None else []
    return command + ["--without-base"] * (not with_base)


def _environment() -> dict[str, str]:
    environment = {"TQDM_DISABLE": "1", **os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    return environment


def require_model(store: Store, run_id: str) -> None:
    """Refuse a run without a model before the libraries are loaded that would find that out.

    Raises:
        UserError: it has not ended, or ended without a model.
    """
    result = run_result(store, run_id)
    if result is None or "model" not in result.get("artifacts", {}):
        raise no_model(store, run_id)

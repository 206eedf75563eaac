"""Chat with a run's model: this process is replaced by one of the training side."""

import os
import sys
from importlib.util import find_spec
from typing import NoReturn

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
    run_document(store, run_id)
    if checkpoint is None:
        require_model(store, run_id)
    chosen = None if checkpoint is None else choose_checkpoint(store, run_id, checkpoint)
    require_training_side("runner chat")
    if not cli and find_spec("gradio") is None:
        raise UserError(
            "the page needs gradio, which is not installed",
            where="runner chat",
            remedy=f"{install_command('chat')}, or add --cli to talk in the terminal",
        )
    # -P: a `datasets.py` in the working directory must not be taken for the library.
    command = [sys.executable, "-P", "-m", "runner.train.run_chat", "--store", store.url, "--run", run_id]
    command += ["--cache-dir", str(cache_folder()), "--port", str(port)]
    command += ["--temperature", str(temperature), "--max-new-tokens", str(max_new_tokens)]
    command += ["--checkpoint", str(chosen)] if chosen is not None else []
    command += ["--cli"] * cli + ["--without-base"] * (not with_base)
    environment = {"TQDM_DISABLE": "1", **os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)


def require_model(store: Store, run_id: str) -> None:
    """Refuse a run without a model before the libraries are loaded that would find that out.

    Raises:
        UserError: it has not ended, or ended without a model.
    """
    result = run_result(store, run_id)
    if result is None or "model" not in result.get("artifacts", {}):
        raise no_model(store, run_id)

"""Exports: what they need before a launch, and how they are made from a run that has ended, on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner.backends.environment import chosen_environment
from runner.backends.local.training_side import require_training_side
from runner.control.results.pull import artifact_prefixes
from runner.errors import UserError
from runner.hub.check import run_token
from runner.paths import state_folder
from runner.recipe.quantizations import GGUF_PACKAGES, LLAMA_FTYPE, gguf_missing
from runner.recipe.rules.export import is_repository
from runner.recipe.suggestions import closest
from runner.runs.checkpoints.choice import choose_checkpoint, no_model
from runner.runs.layout import CheckpointName
from runner.runs.records import run_document, run_recipe, run_result
from runner.storage.store import Store

MODULE = "runner.train.run_export"
"""The program that exports."""

_ENVIRONMENT = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
_MISTAKE = 2


class ExportFailed(Exception):
    """The export ended without all that was asked for; what was made before stays.

    Args:
        reason: why.
        code: the exit code of the program that exports.
    """

    def __init__(self, reason: str, code: int) -> None:
        self.code = code
        super().__init__(reason)


def require_exports(export: Mapping[str, Any], token: str | None, *, here: bool) -> None:
    """Make sure, before a run is launched, that its exports can be made at its end.

    Args:
        export: the recipe's `export`.
        token: the run's ``HF_TOKEN``.
        here: whether the run uses this Python's packages.

    Raises:
        UserError: llama.cpp's tools are not installed, or there is no token for the hub.
    """
    missing = [name for name in GGUF_PACKAGES if find_spec(name) is None]
    if export.get("gguf") and here and missing:
        raise gguf_missing(missing)
    if export.get("push_to_hub") and token is None:
        raise UserError(
            "pushing to the hub needs a token that may write",
            where="export.push_to_hub",
            remedy="make one at https://huggingface.co/settings/tokens, export HF_TOKEN=… and pass `--secret HF_TOKEN`",
        )


def quantization(text: str) -> str:
    """Return llama.cpp's name of a quantization, in lower case.

    Raises:
        UserError: the name is unknown; the message lists them.
    """
    name = text.lower()
    if name not in LLAMA_FTYPE:
        meant = closest(name, LLAMA_FTYPE)
        hint = f"did you mean `{meant}`? " if meant else ""
        raise UserError(
            f"there is no quantization {text!r}", where="--gguf", remedy=f"{hint}choices: {', '.join(LLAMA_FTYPE)}"
        )
    return name


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is to be made of a run's model."""

    merge: bool = False
    """The adapter merged into its base."""
    gguf: Sequence[str] = ()
    """llama.cpp's quantizations, in any case."""
    hub_model_id: str | None = None
    """Push to this repository; None to push nothing."""
    private: bool | None = None
    """Whether a new repository is private; None for its owner's default."""
    space: str | None = None
    """Make a Gradio Space of this name; new ones are private unless `private` is False."""
    out: Path | None = None
    """Write the Space's files into this folder, and upload nothing."""
    checkpoint: str | None = None
    """Which checkpoint to make it of, as `choose_checkpoint` reads it; None for the run's model."""
    base: str | None = None
    """What an adapter is merged into if the run's model came quantized; None for what the recipe says."""
    env_files: Sequence[Path] = ()
    """Files of variables for the export."""
    secrets: Sequence[str] = ()
    """Names of variables for the export; their values come from this process's environment."""

    @property
    def uploads_space(self) -> bool:
        """Whether a Space is uploaded, not only written."""
        return self.space is not None and self.out is None

    def as_recipe(self) -> dict[str, Any]:
        """The same as a recipe's `export`, checked.

        Raises:
            UserError: nothing is asked for, or something that does not exist.
        """
        if not (self.merge or self.gguf or self.hub_model_id or self.checkpoint or self.space):
            raise UserError(
                "nothing to export",
                remedy="say what: --merge, --gguf q4_k_m, --push-to-hub OWNER/NAME, --space OWNER/NAME",
            )
        if self.space is not None and not is_repository(self.space):
            raise UserError(f"{self.space!r} cannot be a Space's name", where="--space", remedy="write OWNER/NAME")
        if self.out is not None and self.space is None:
            raise UserError("there are no files to write without --space", where="--out", remedy="add --space NAME")
        if self.out is not None and (self.out.is_file() or (self.out.is_dir() and any(self.out.iterdir()))):
            raise UserError("is not an empty folder", where=str(self.out), remedy="name one that does not exist yet")
        if self.hub_model_id is not None and not is_repository(self.hub_model_id):
            raise UserError(
                f"{self.hub_model_id!r} cannot be a repository's name", where="--push-to-hub", remedy="write OWNER/NAME"
            )
        if self.private is not None and self.hub_model_id is None and (self.space is None or self.out is not None):
            raise UserError("there is no repository without --push-to-hub or --space", where="--private")
        return {
            "merge": self.merge,
            "base": self.base,
            "gguf": list(dict.fromkeys(quantization(name) for name in self.gguf)),
            "push_to_hub": self.hub_model_id is not None,
            "hub_model_id": self.hub_model_id,
            "hub_private_repo": self.private,
        }


def export(
    store: Store,
    run_id: str,
    options: ExportOptions,
    *,
    say: Callable[[str], None],
    confirm: Callable[[str], bool] = lambda question: True,
) -> dict[str, str]:
    """Make exports of an ended run, or of any run's checkpoint, on this machine, except for those that exist already.

    Args:
        store: where the run lives.
        run_id: the run.
        options: what is asked for.
        say: receives what is being done.
        confirm: answers whether to upload a Space.

    Returns:
        The artifacts' keys in the run by their names.

    Raises:
        UserError: the options make no sense, the run has not ended, this machine lacks something, or the hub refuses.
        ExportFailed: the export failed; what was made before stays.
    """
    wanted = options.as_recipe()
    environment = chosen_environment(options.env_files, options.secrets)
    checkpoint = None if options.checkpoint is None else choose_checkpoint(store, run_id, options.checkpoint)
    _require_model(store, run_id, checkpoint, merge=options.merge)
    require_training_side()
    token = run_token(environment, here=True)
    require_exports(wanted, token, here=True)
    if options.uploads_space and token is None:
        raise UserError(
            "uploading a Space needs a token that may write",
            where="--space",
            remedy="make one at https://huggingface.co/settings/tokens, export HF_TOKEN=… and pass "
            "`--secret HF_TOKEN`; or write the files only: --out DIR",
        )
    if options.uploads_space and not confirm(
        f"Upload the model as a {'public' if options.private is False else 'private'} Space, {options.space}?"
    ):
        raise UserError("nothing was uploaded", where="--space")
    above = state_folder(store.url, run_id).parent
    above.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="export-", dir=above) as folder:
        command = [sys.executable, "-P", "-m", MODULE, "--store", store.url, "--run", run_id]
        command += ["--work-dir", str(Path(folder, "work")), "--export", json.dumps(wanted)]
        command += ["--checkpoint", str(checkpoint)] if checkpoint is not None else []
        command += ["--space", options.space] if options.space is not None else []
        command += ["--out", str(options.out.absolute())] if options.out is not None else []
        command += ["--public"] if options.private is False else []
        process = subprocess.Popen(
            [*command, "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**_ENVIRONMENT, **os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
        )
        reason = _pass_on(process, say)
        assert process.stdout is not None
        answer = process.stdout.read()
        code = process.wait()
    if code == _MISTAKE:
        what, _, remedy = reason.partition("\n")
        raise UserError(what, remedy=remedy.strip() or None)
    if code != 0:
        raise ExportFailed(reason or f"the export ended with exit code {code}", code)
    made: dict[str, str] = json.loads(answer)
    return made


def _require_model(store: Store, run_id: str, checkpoint: CheckpointName | None, *, merge: bool) -> None:
    """Refuse what the store alone shows to be impossible, before the libraries are loaded.

    Raises:
        UserError: there is no model to export, or no adapter to merge.
    """
    result = run_result(store, run_id)
    if checkpoint is None and (result is None or "model" not in artifact_prefixes(store, run_id, result)):
        raise no_model(store, run_id)
    stages = run_recipe(run_document(store, run_id)).in_order
    if merge and all(stage.adapter is None for stage in stages):
        raise UserError(
            "the run was trained in full: there is no adapter to merge", where=run_id, remedy="leave --merge out"
        )


def _pass_on(process: "subprocess.Popen[str]", say: Callable[[str], None]) -> str:
    """Pass on what an export reports; return why it failed, or an empty text."""
    assert process.stderr is not None
    reason: list[str] = []
    for line in process.stderr:
        if reason or line.startswith("error: "):
            reason.append(line.removeprefix("error: ").rstrip())
        else:
            say(line.rstrip())
    return "\n".join(reason)

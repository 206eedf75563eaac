"""Find the mistake behind a library's error.

Whatever a library raises while it reads its own configuration is the caller's mistake too (`_refused_setting`).
"""

import re
from collections.abc import Iterator

from runner.errors import UserError, causes
from runner.train.library_errors import datasets, deepspeed, peft, transformers_models, transformers_training, trl

ROWS = (
    *transformers_models.ROWS,
    *transformers_training.ROWS,
    *trl.ROWS,
    *peft.ROWS,
    *datasets.ROWS,
    *deepspeed.ROWS,
)
"""All tables: the first row that fits counts."""

_LONGEST = 400

_SECTIONS = (
    ("/deepspeed/runtime/config", "training.deepspeed"),
    ("/peft/tuners/", "adapter"),
    ("/peft/config", "adapter"),
    ("/peft/mapping", "adapter"),
    ("/peft/utils/peft_types", "adapter"),
    ("/transformers/utils/quantization_config", "model"),
    ("/transformers/quantizers/", "model"),
    ("/transformers/training_args", "training"),
    ("/transformers/trainer_optimizer", "training.optim"),
    ("/transformers/optimization", "training.lr_scheduler_kwargs"),
    ("/transformers/generation/configuration_utils", "training.generation_kwargs"),
    ("/trl/trainer/", "training"),
    ("/accelerate/utils/dataclasses", "training"),
)
"""Parts of the libraries' paths that read settings, and the section that they come from."""

_BUILDERS = {
    "get_peft_model": ("adapter", "peft cannot make this adapter"),
    "create_optimizer": ("training.optim", "the optimizer cannot be made"),
    "create_scheduler": ("training.lr_scheduler_type", "the learning rate's schedule cannot be made"),
    "get_scheduler": ("training.lr_scheduler_type", "the learning rate's schedule cannot be made"),
}
"""Functions of the libraries that make something from settings alone: whatever they raise is about these."""

_OF_SETTINGS = ("init", "validate", "check", "config", "optimizer", "schedule", "inject", "update")
"""Functions of these names check settings; others, such as a training step, meet data too."""


def explain(error: BaseException) -> UserError | None:
    """Return a library's error as the mistake that caused it; None if the table does not know it.

    Args:
        error: what was raised; its causes are looked at too.
    """
    for cause in causes(error, contexts=True):
        if isinstance(cause, UserError):
            return None
        names = {kind.__name__ for kind in type(cause).__mro__}
        message = _message(cause)
        frames = list(_frames(cause))
        file = frames[-1][0] if frames else ""
        for row in ROWS:
            if names.isdisjoint(row.types) or row.file not in file:
                continue
            if row.through and not any(row.through in path for path, _ in frames):
                continue
            if (match := re.search(row.words, message, re.DOTALL)) is not None:
                groups = [group or "" for group in match.groups()]
                fill = {"message": _short(message)}
                where = row.where or next(
                    (part for path, _ in reversed(frames) if (part := _section(path))), "training"
                )
                return UserError(
                    row.what.format(*groups, **fill),
                    where=where.format(*groups),
                    remedy=row.remedy.format(*groups, **fill),
                )
    return _refused_setting(error)


def _refused_setting(error: BaseException) -> UserError | None:
    """Return an error that a library raised while it read its settings."""
    if not isinstance(error, Exception) or re.search(r"(?i)cuda|nccl|out of memory", str(error)):
        return None
    said = _short(_message(error)) or type(error).__name__
    remedy = "The library refuses it: change the setting that it names, or leave it out."
    frames = list(_frames(error))
    for file, function in frames:
        if function in _BUILDERS and "/site-packages/" in file:
            section, what = _BUILDERS[function]
            return UserError(f"{what}: {said}", where=section, remedy=remedy)
    if isinstance(error, ValueError | TypeError | ImportError | NotImplementedError | KeyError) and frames:
        file, function = frames[-1]
        where = _section(file)
        if where is not None and any(word in function.lower() for word in _OF_SETTINGS):
            return UserError(said, where=where, remedy=remedy)
    return None


def _section(file: str) -> str | None:
    """Return the section whose settings a library's file reads."""
    return next((section for part, section in _SECTIONS if part in file), None)


def _frames(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield the file and the function of each frame of an error, the innermost last."""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename.replace("\\", "/"), code.co_name
        traceback = traceback.tb_next


def _message(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # `str` of a KeyError is the `repr` of its text
    return str(error)


def _short(message: str) -> str:
    """Return a message in one line, without its full stop, shortened."""
    text = " ".join(message.split()).rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

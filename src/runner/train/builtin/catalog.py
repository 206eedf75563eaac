"""The models and datasets that recipes name as ``builtin:…``, made on this machine, offline and reproducibly.

``model_name_or_path: builtin:tiny-llama`` and ``path: builtin:python-docstrings``.
"""

import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import blake3

from runner.errors import UserError
from runner.paths import make_folder
from runner.train.builtin.arithmetic import arithmetic
from runner.train.builtin.docstrings import Example, docstrings, sources_digest

PREFIX = "builtin:"

_DATASETS: dict[str, Callable[[], Sequence[Example]]] = {
    "python-docstrings": docstrings,
    "arithmetic": arithmetic,
}
_MODELS = ("tiny-llama",)
_REVISION = 1
"""Part of a cached model's name. Raise it with every change of the bytes that this code makes."""


def is_builtin(path: str) -> bool:
    """Whether a recipe's `path` or `model_name_or_path` names something built in."""
    return path.startswith(PREFIX)


def builtin_dataset(path: str, *, where: str) -> Sequence[Example]:
    """Return the rows of the dataset that `path` (``builtin:<name>``) names.

    Args:
        path: the name.
        where: the place in the recipe that has it, for errors.

    Raises:
        UserError: there is no such dataset.
    """
    make = _DATASETS.get(path.removeprefix(PREFIX))
    if make is None:
        raise _unknown(path, "dataset", _DATASETS, where)
    return make()


def materialize(path: str, cache_dir: Path) -> Path:
    """Return the folder of the model that `path` (``builtin:<name>``) names; make it in `cache_dir` if it is missing.

    The folder appears complete or not at all, also when several processes make it at once. The same Python and the same
    libraries make the same bytes.

    Raises:
        UserError: there is no such model.
    """
    name = path.removeprefix(PREFIX)
    if name not in _MODELS:
        raise _unknown(path, "model", _MODELS, "model.model_name_or_path")
    folder = cache_dir / f"builtin-{name}-{_provenance()}"
    if folder.is_dir():
        return folder
    from runner.train.builtin.tiny_llama import save_tiny_llama  # imports torch, which a dataset does not need

    make_folder(cache_dir)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache_dir))
    try:
        save_tiny_llama(unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process has made the same bytes
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _provenance() -> str:
    """Return a short digest of all that the bytes depend on: another Python or library makes its own folder."""
    import tokenizers
    import torch
    import transformers

    versions = (platform.python_version(), tokenizers.__version__, torch.__version__, transformers.__version__)
    text = repr((_REVISION, *versions, sources_digest()))
    return blake3.blake3(text.encode()).hexdigest(length=6)


def _unknown(
    path: str, kind: str, known: Sequence[str] | dict[str, Callable[[], Sequence[Example]]], where: str
) -> UserError:
    names = ", ".join(PREFIX + name for name in known)
    return UserError(f"there is no built-in {kind} {path!r}", where=where, remedy=f"Built in: {names}.")

"""Make the secrets of a Colab or Kaggle notebook available to runs that are started in it.

    from runner.notebook import secrets
    secrets("HF_TOKEN", "WANDB_API_KEY")

puts them into the environment, where ``!runner launch`` and everything else finds them. Colab gives a notebook's
secrets only to its kernel and not to the programs that a cell starts, so the kernel has to call a function.
"""

import importlib
import os
from types import ModuleType

from runner.errors import UserError


def secrets(*names: str) -> None:
    """Put secrets of the notebook into the environment of its kernel. Prints their names, never their values.

    Args:
        names: such as ``HF_TOKEN``. A variable that is already set stays.

    Raises:
        UserError: a secret does not exist, or the notebook may not read it.
    """
    for name in names:
        if os.environ.get(name):
            print(f"{name}: set already")
            continue
        value = notebook_secret(name)
        if value is None:
            raise UserError(
                f"there is no secret {name} that this notebook may read",
                remedy="Colab: the key on the left, with notebook access on; Kaggle: Add-ons > Secrets, attached",
            )
        os.environ[name] = value
        print(f"{name}: set")


def notebook_secret(name: str) -> str | None:
    """Return a secret of the Colab or Kaggle notebook; None outside of both, or if it is not available.

    Colab's ``google.colab.userdata.get`` and Kaggle's ``kaggle_secrets.UserSecretsClient().get_secret`` raise errors of
    their own classes, which cannot be imported elsewhere.
    """
    colab = _module("google.colab.userdata")
    if colab is not None:
        try:
            return str(colab.get(name)) or None
        except Exception:  # noqa: BLE001 (SecretNotFoundError, NotebookAccessError, TimeoutException; no kernel)
            return None
    kaggle = _module("kaggle_secrets")
    if kaggle is not None:
        try:
            return str(kaggle.UserSecretsClient().get_secret(name)) or None
        except Exception:  # noqa: BLE001 (BackendError, CredentialError, ConnectionError)
            return None
    return None


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None

"""What the API's modules share: stores as a person names them, and errors as a person reads them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from runner.control.launching.cost import Confirm, CostQuestion
from runner.errors import UserError
from runner.remembered import default_store
from runner.storage.manifest import Damaged
from runner.storage.open import open_store
from runner.storage.store import NotFound, Store, StoreFull, StoreUnavailable


def opened_store(store: str | os.PathLike[str] | None) -> Store:
    return open_store(os.fspath(store) if store is not None else os.environ.get("RUNNER_STORE") or default_store())


def several(values: str | Sequence[str] | None) -> tuple[str, ...]:
    """One string stands for a list of one."""
    return (values,) if isinstance(values, str) else tuple(values or ())


def confirm_or_refuse(confirm: Confirm | None) -> Confirm:
    return confirm or _refuse


def _refuse(question: CostQuestion) -> NoReturn:
    raise UserError(
        f"not launched: it may cost more than ${question.limit:g} ({question.plan})",
        where="runner.launch",
        remedy="pass confirm=lambda question: True, or raise RUNNER_ASK_ABOVE",
    )


@contextmanager
def user_errors(store: Store) -> Iterator[None]:
    """Turn what a store raises into a `UserError`."""
    try:
        yield
    except StoreUnavailable as error:
        raise UserError(f"the store does not answer: {error}", where=store.url, remedy="try again") from error
    except StoreFull as error:
        raise UserError(str(error), where=store.url, remedy="make room there, or use another store") from error
    except Damaged as error:
        raise UserError(f"damaged in the store: {error}", where=store.url) from error
    except NotFound as error:
        raise UserError(f"not in the store: {error}", where=store.url) from error

"""Keys that no store of ours has: they are passed over, and said once."""

import logging
from collections.abc import Iterable, Iterator

from runner.storage.manifest import is_relative_name
from runner.storage.store import ObjectInfo

_log = logging.getLogger(__name__)
_SHOWN = 100


class OddKeys:
    """Passes over the odd keys of one store.

    Args:
        url: the store's.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._said = False

    def objects(self, infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
        """Return the objects whose keys can be ours."""
        return (info for info in infos if self._is_ours(info.key))

    def names(self, names: Iterable[str]) -> Iterator[str]:
        """Return the names of folders that can be ours."""
        return (name for name in names if self._is_ours(name))

    def _is_ours(self, key: str) -> bool:
        if is_relative_name(key):
            return True
        if not self._said:
            self._said = True
            _log.warning(
                "%s: objects whose keys runner never writes are passed over, such as %s", self._url, ascii(key)[:_SHOWN]
            )
        return False

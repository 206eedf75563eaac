"""Open a store by its URL."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import UserError
from runner.storage.local import LocalStore
from runner.storage.manifest import is_relative_name
from runner.storage.store import Store

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_REMEDY = "A store is a folder, file:///FOLDER, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or az://CONTAINER/FOLDER."


def open_store(url: str) -> Store:
    """Return the store at `url`. Reads and writes nothing yet; a local folder need not exist.

    Args:
        url: a path (``~`` is expanded; relative paths start at the working directory), or a URL with one of the
            schemes file, s3, gs and az.

    Raises:
        UserError: it is none of these, or credentials or a region are missing.
    """
    match = _SCHEME.match(url)
    if match is None:
        return _folder(url)
    scheme = match["scheme"].lower()
    parts = urlsplit(url)
    check_no_credentials(url)
    if parts.query or parts.fragment:
        # Without what follows: it may be a signature.
        raise UserError("a store's URL has no ? and no #", where=re.split("[?#]", url)[0], remedy=_REMEDY)
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise UserError("not a file URL: it names a host", where=url, remedy="Write file:///FOLDER.")
        return _folder(unquote(parts.path))
    prefix = parts.path.strip("/")
    if scheme not in ("s3", "gs", "az"):
        raise UserError(f"unknown store scheme {scheme!r}", where=url, remedy=_REMEDY)
    if not parts.netloc or (prefix and not is_relative_name(prefix)):
        raise UserError("not a bucket and a folder in it", where=url, remedy=_REMEDY)
    url = f"{scheme}://{parts.netloc}/{prefix}".rstrip("/")
    if scheme == "s3":
        from runner.storage.s3 import open_s3  # not above: a command on a local store need not load obstore

        return open_s3(url, parts.netloc, prefix)
    from runner.storage.gcs_azure import open_cloud

    return open_cloud(url)


def check_no_credentials(url: str) -> None:
    """Refuse a store's URL with credentials in it: it stands in records, tasks and messages.

    Raises:
        UserError: it has some; the message does not repeat the URL.
    """
    match = _SCHEME.match(url)
    if match is not None and "@" in urlsplit(url).netloc:
        raise UserError(
            f"a store's URL must hold no credentials ({match['scheme'].lower()}://…@…)",
            remedy="Set them in the environment, for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )


def _folder(text: str) -> LocalStore:
    if not text or re.match(r"(file|s3|gs|az):", text):
        raise UserError(f"not a store: {text!r}", remedy=_REMEDY)
    try:
        root = Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"no such home folder: {text!r}", remedy=_REMEDY) from error
    if root.exists() and not root.is_dir():
        raise UserError("not a folder", where=str(root), remedy=_REMEDY)
    return LocalStore(root)

"""The manifest: which files a checkpoint or an artifact consists of, with sizes and checksums.

It is the last object that is written to a folder. A folder without a manifest, or with a file that differs from it, is
not a checkpoint. The manifest has a digest of its own contents, which shows damage to the manifest itself.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

MANIFEST = "manifest.json"
VERSION = 1
_HEX = frozenset("0123456789abcdef")
_DRIVE = re.compile(r"[A-Za-z]:(?!:)")
_LONGEST_NAME = 1024
"""Bytes: S3's keys."""
_LONGEST_PART = 255
"""Bytes: what file systems take."""
_DEEPEST = 64
_MOST_BYTES = 64 << 20
"""Some 300,000 files. A manifest of ours is never larger."""


class Damaged(Exception):
    """An object in the store is not what was committed: missing, cut short or altered.

    Args:
        name: the file's name in its folder, or its key.
        reason: what is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: {reason}")


class DamagedManifest(Damaged):
    """A manifest cannot be trusted: not JSON, wrong fields, or a digest that does not match."""

    def __init__(self, reason: str) -> None:
        super().__init__(MANIFEST, reason)


def is_relative_name(text: str) -> bool:
    """Whether `text` is a relative path that stays below its folder, on any file system.

    No ``..``, no root, no drive, no empty part, nothing that does not print, and no longer than S3 and file systems
    take.
    """
    if not text or "\\" in text or _DRIVE.match(text) or not text.isprintable():
        return False
    if len(text) > _LONGEST_PART and len(text.encode()) > _LONGEST_NAME:
        return False
    return all(part not in ("", ".", "..") and _fits(part) for part in text.split("/"))


def _fits(part: str) -> bool:
    return 4 * len(part) <= _LONGEST_PART or len(part.encode()) <= _LONGEST_PART


def canonical_json(value: object) -> bytes:
    """Serialize `value` in one fixed way, so that equal values have equal digests.

    Raises:
        ValueError: `value` contains NaN or infinity.
        TypeError: `value` contains something that is not JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, order=True)
class ManifestFile:
    """One file of a committed folder."""

    name: str
    """Relative to the folder; may have folders of its own (``tokenizer/vocab.json``)."""
    size: int
    """Bytes."""
    blake3: str
    """BLAKE3 of its bytes, 64 hexadecimal digits."""


@dataclass(frozen=True)
class Manifest:
    """What a committed folder holds.

    Raises:
        ValueError: on construction, if a name or digest is invalid, or two files have the same name.
    """

    files: tuple[ManifestFile, ...]
    """Sorted by name."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the writer adds (stage, step, token, …): any JSON."""

    def __post_init__(self) -> None:
        names = {file.name for file in self.files}
        if len(names) != len(self.files):
            raise ValueError("two files have the same name")
        for file in self.files:
            if not is_relative_name(file.name) or file.name == MANIFEST:
                raise ValueError(f"not a file's name: {file.name!r}")
            if any(parent in names for parent in _parents(file.name)):
                raise ValueError(f"{file.name!r} lies below another file")
            if file.size < 0 or len(file.blake3) != 64 or not _HEX.issuperset(file.blake3):
                raise ValueError(f"{file.name!r} has no proper size or digest")
        object.__setattr__(self, "files", tuple(sorted(self.files)))

    @property
    def size(self) -> int:
        """Total bytes of all files."""
        return sum(file.size for file in self.files)

    def to_json(self) -> bytes:
        """Return the manifest as it is stored.

        Raises:
            ValueError, TypeError: the metadata is not JSON.
        """
        body = self._body()
        body["digest"] = blake3(canonical_json(body)).hexdigest()
        return json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"

    def _body(self) -> dict[str, Any]:
        files = [{"name": file.name, "size": file.size, "blake3": file.blake3} for file in self.files]
        return {"version": VERSION, "files": files, "metadata": dict(self.metadata)}

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Parse what `to_json` returned.

        Raises:
            DamagedManifest: it is anything else.
        """
        if len(data) > _MOST_BYTES:
            raise DamagedManifest(f"it has {len(data)} bytes")
        try:
            body = json.loads(data, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
            if not isinstance(body, dict) or body.keys() != {"version", "files", "metadata", "digest"}:
                raise DamagedManifest("not a manifest's keys")
            digest = body.pop("digest")
            computed = blake3(canonical_json(body)).hexdigest()
        except (ValueError, RecursionError) as error:
            raise DamagedManifest(f"not JSON ({error})") from error
        if digest != computed:
            raise DamagedManifest("its digest does not match its contents")
        if body["version"] != VERSION:
            raise DamagedManifest(f"written by another version of runner (format {body['version']!r}, not {VERSION})")
        if not isinstance(body["files"], list) or not isinstance(body["metadata"], dict):
            raise DamagedManifest("not a manifest's shape")
        try:
            return cls(tuple(_file(entry) for entry in body["files"]), body["metadata"])
        except ValueError as error:
            raise DamagedManifest(str(error)) from error


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _file(entry: object) -> ManifestFile:
    if not isinstance(entry, dict) or entry.keys() != {"name", "size", "blake3"}:
        raise ValueError("a file's entry has other keys than name, size and blake3")
    name, size, digest = entry["name"], entry["size"], entry["blake3"]
    if not isinstance(name, str) or not isinstance(digest, str) or type(size) is not int:
        raise ValueError("a file's entry has values of the wrong type")
    return ManifestFile(name, size, digest)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key appears twice")
    return mapping


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")

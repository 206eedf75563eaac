"""A manifest says what was committed, and notices when it was tampered with itself."""

import contextlib
import json

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from runner.storage.manifest import (
    Damaged,
    DamagedManifest,
    Manifest,
    ManifestFile,
    canonical_json,
    is_relative_name,
)

DIGEST = blake3(b"").hexdigest()
parts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters="/\\"), min_size=1)
names = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
manifests = st.builds(
    lambda names, sizes, metadata: Manifest(
        tuple(
            ManifestFile(f"{number}-{name}", size, DIGEST)
            for number, (name, size) in enumerate(zip(names, sizes, strict=False))
        ),
        metadata,
    ),
    st.lists(names, max_size=4),
    st.lists(st.integers(min_value=0, max_value=2**60), min_size=4, max_size=4),
    st.dictionaries(st.text(), values, max_size=4),
)


@given(manifests)
def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    """Names in any script, sizes beyond 32 bits, any metadata."""
    assert Manifest.parse(manifest.to_json()) == manifest


@given(manifests, st.data())
def test_any_flipped_bit_is_noticed(manifest: Manifest, data: st.DataObject) -> None:
    """Damage makes it another manifest for nobody: it is refused, or what it says is the same (blank space)."""
    stored = bytearray(manifest.to_json())
    place = data.draw(st.integers(min_value=0, max_value=len(stored) - 1))
    stored[place] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))
    with contextlib.suppress(DamagedManifest):
        assert Manifest.parse(bytes(stored)) == manifest


@given(manifests, st.data())
def test_a_manifest_cut_short_is_noticed(manifest: Manifest, data: st.DataObject) -> None:
    """At any byte before the last brace."""
    stored = manifest.to_json().rstrip()
    end = data.draw(st.integers(min_value=0, max_value=len(stored) - 1))
    with pytest.raises(DamagedManifest):
        Manifest.parse(stored[:end])


@given(st.binary(max_size=200))
def test_other_bytes_are_a_damaged_manifest(data: bytes) -> None:
    """Never another error, never a manifest."""
    with pytest.raises(DamagedManifest):
        Manifest.parse(data)


def _signed(body: dict[str, object]) -> bytes:
    return json.dumps({**body, "digest": blake3(canonical_json(body)).hexdigest()}).encode()


@pytest.mark.parametrize(
    "body",
    [
        {"version": 2, "files": [], "metadata": {}},
        {"version": 1, "files": {}, "metadata": {}},
        {"version": 1, "files": [], "metadata": []},
        {"version": 1, "files": []},
        {"version": 1, "files": [{"name": "a", "size": 1}], "metadata": {}},
        {"version": 1, "files": ["a"], "metadata": {}},
        *(
            {"version": 1, "files": [{"name": name, "size": size, "blake3": digest}], "metadata": {}}
            for name, size, digest in [
                ("../a", 1, DIGEST),
                ("/a", 1, DIGEST),
                ("", 1, DIGEST),
                ("manifest.json", 1, DIGEST),
                (7, 1, DIGEST),
                ("a", -1, DIGEST),
                ("a", True, DIGEST),
                ("a", 1.0, DIGEST),
                ("a", 1, "abc"),
                ("a", 1, DIGEST.upper()),
                ("a", 1, None),
            ]
        ),
        {"version": 1, "files": [{"name": "a", "size": 1, "blake3": DIGEST}] * 2, "metadata": {}},
        {
            "version": 1,
            "files": [{"name": "a", "size": 1, "blake3": DIGEST}, {"name": "a/b", "size": 1, "blake3": DIGEST}],
            "metadata": {},
        },
    ],
)
def test_a_wrong_shape_is_refused_even_with_a_right_digest(body: dict[str, object]) -> None:
    """Somebody else's program, or a newer version, wrote it: no file of it is ever opened."""
    with pytest.raises(DamagedManifest):
        Manifest.parse(_signed(body))


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"a": NaN}', b'{"version": 1, "version": 1}', b"1e999", b"\xff\xfe", b"9" * 5000],
)
def test_hostile_json_is_a_damaged_manifest(data: bytes) -> None:
    """Deep nesting, numbers that JSON has not, keys that stand there twice."""
    with pytest.raises(DamagedManifest):
        Manifest.parse(data)


def test_a_number_too_large_is_a_damaged_manifest() -> None:
    """It reads as infinity, which no digest can be taken of."""
    with pytest.raises(DamagedManifest):
        Manifest.parse(b'{"version": 1, "files": [], "metadata": {"loss": 1e999}, "digest": ""}')


def test_a_newer_format_is_named() -> None:
    """The message says what to do rather than that a digest is wrong."""
    with pytest.raises(DamagedManifest, match="another version of runner"):
        Manifest.parse(_signed({"version": 9, "files": [], "metadata": {}}))


def test_metadata_that_json_cannot_say_is_our_bug() -> None:
    """NaN would come back as something else, or not at all."""
    with pytest.raises(ValueError, match="Out of range"):
        Manifest((), {"loss": float("nan")}).to_json()


def test_files_are_sorted_and_summed() -> None:
    """Equal contents make equal manifests, whatever the order they were uploaded in."""
    one, two = ManifestFile("a", 1, DIGEST), ManifestFile("b", 2, DIGEST)
    assert Manifest((two, one)) == Manifest((one, two))
    assert Manifest((two, one)).size == 3


@pytest.mark.parametrize("name", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\0b", "a\nb"])
def test_names_that_leave_their_folder(name: str) -> None:
    """A path in a manifest is a path on the disk of whoever fetches it."""
    assert not is_relative_name(name)


def test_a_damaged_manifest_is_damage_like_any_other() -> None:
    """One handler suffices to fall back to the checkpoint before."""
    error = DamagedManifest("not JSON")
    assert isinstance(error, Damaged)
    assert str(error) == "manifest.json: not JSON"

"""What comes from a store is written inside its folder, whatever its name or a link says."""

from pathlib import Path

import pytest
from blake3 import blake3

from runner.errors import UserError
from runner.storage.commit import commit, fetch
from runner.storage.local import LocalStore
from runner.storage.manifest import Damaged, DamagedManifest, Manifest, canonical_json, is_relative_name
from runner.storage.names.placing import check_names, place
from support.fakes.memory_store import MemoryStore

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "../../../.ssh/authorized_keys",
    "a/../../x",
    "a//x",
    "/tmp/x",
    "a/",
    "C:/x",
    "c:x",
    "..\\x",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    "x" * 256,
    "ü" * 128,
    "/".join(["x" * 200] * 6),
    ".runner-part-0123",
    "a/.runner-part-0123",
]
"""Names that nothing may be written under."""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Damaged):
        place(tmp_path / "out", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "a/b/c", "größe.txt", "a::b.jsonl", "train[v2].jsonl", ". .", "...", "x" * 255])
def test_other_names_are_taken(name: str, tmp_path: Path) -> None:
    path = place(tmp_path / "out", name)
    path.write_bytes(b"1")
    assert path.resolve().is_relative_to(tmp_path / "out")
    assert is_relative_name(name)


@pytest.mark.parametrize("target", ["..", "../elsewhere", "/tmp", "missing/../../x"])
def test_a_link_that_leads_out_of_the_folder_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(target)
    with pytest.raises(UserError, match="leads out of"):
        place(out, "link/below/x")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "disk/real").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/artifacts").symlink_to("real")
    place(tmp_path / "out", "artifacts/x").write_bytes(b"1")
    assert (tmp_path / "disk/real/x").read_bytes() == b"1"


@pytest.mark.parametrize(
    "names", [["a", "A"], ["a/b", "A/c"], ["weights/x", "Weights"], ["\N{LATIN SMALL LETTER SHARP S}", "SS"]]
)
def test_names_that_differ_only_in_case_are_refused(names: list[str]) -> None:
    with pytest.raises(Damaged, match="only in case"):
        check_names(names)
    check_names(["a/b", "a/c", "ab"])


@pytest.mark.parametrize("name", [name for name in HOSTILE if ".runner-part-" not in name])
def test_no_manifest_has_such_a_name(name: str) -> None:
    assert Manifest.parse(_manifest_of("a/b")).files[0].name == "a/b"
    with pytest.raises(DamagedManifest):
        Manifest.parse(_manifest_of(name))


def _manifest_of(name: str) -> bytes:
    """A manifest whose digest is right, with a file of this name."""
    body = {"version": 1, "files": [{"name": name, "size": 0, "blake3": blake3(b"").hexdigest()}], "metadata": {}}
    return canonical_json({**body, "digest": blake3(canonical_json(body)).hexdigest()})


def test_what_is_fetched_follows_no_link_in_a_folder_that_is_full(tmp_path: Path) -> None:
    store = MemoryStore()
    source = tmp_path / "source"
    source.write_bytes(b"new")
    commit(store, "a/", {"sub/x": source, "y": source}, {})
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "x").write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to(victim)
    with pytest.raises(UserError, match="leads out of"):
        fetch(store, "a/", out)
    assert (victim / "x").read_bytes() == b"precious"


def test_a_store_that_is_a_folder_writes_and_deletes_nothing_through_a_link(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.tex").write_bytes(b"precious")
    source = tmp_path / "source"
    source.write_bytes(b"1")
    store.put("runs/r/run.json", b"1")
    (store.root / "runs/r/checkpoints").symlink_to(victim)
    assert [info.key for info in store.objects("runs/r/checkpoints/")] == ["runs/r/checkpoints/thesis.tex"]
    key = "runs/r/checkpoints/thesis.tex"
    for write in (
        lambda: store.delete([key]),
        lambda: store.put(key, b"2"),
        lambda: store.create(key + "2", b"2"),
        lambda: store.upload(key, source),
        lambda: store.delete(["runs/r/run.json", key]),
    ):
        with pytest.raises(UserError, match="leads out of the store"):
            write()
    assert [path.name for path in victim.iterdir()] == ["thesis.tex"]
    assert (victim / "thesis.tex").read_bytes() == b"precious"
    assert store.get("runs/r/run.json") == b"1"


def test_links_that_form_a_ring_end_no_listing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("runs/r/run.json", b"1")
    for name in ("one", "two", "three"):
        (store.root / "runs/r" / name).symlink_to("..")
    (store.root / "runs/r/self").symlink_to("self")
    assert "runs/r/run.json" in [info.key for info in store.objects("runs/")]

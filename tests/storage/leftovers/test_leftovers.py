"""Half-written uploads and old versions are found with their sizes, and are gone when they are deleted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import boto3
import pytest

from runner.control.keeping.du import usage
from runner.control.keeping.gc import collect, find_garbage
from runner.control.keeping.rm import plan_removal, remove
from runner.storage.leftovers.find import delete_leftovers, find_leftovers
from runner.storage.open import open_store
from runner.storage.store import Store
from support.servers.s3 import BUCKET, S3Server
from support.stored import ended, submitted

PART = b"x" * (5 << 20)


def client() -> Any:
    return boto3.client("s3")


def begin_upload(store: Store, key: str) -> None:
    """An upload in parts whose writer was killed."""
    key = f"{store.url.removeprefix(f's3://{BUCKET}/')}/{key}"
    upload = client().create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    client().upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=PART)


@pytest.fixture
def versioned(use_server: Callable[[str], S3Server]) -> Store:
    """A store in a bucket that keeps versions."""
    use_server("moto")
    bucket = f"versioned-{uuid4().hex[:8]}"
    client().create_bucket(Bucket=bucket)
    client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return open_store(f"s3://{bucket}/store")


@pytest.mark.parametrize("server", ["ministack", "moto"])
def test_an_upload_that_was_never_completed_is_found_and_aborted(
    use_server: Callable[[str], S3Server], server: str
) -> None:
    use_server(server)
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")
    begin_upload(store, "runs/run/checkpoints/x/model.safetensors")
    begin_upload(store, "runs/run-2/checkpoints/x/model.safetensors")
    (upload,) = find_leftovers(store, "runs/run/")
    assert (upload.kind, upload.key, upload.size) == ("upload", "runs/run/checkpoints/x/model.safetensors", len(PART))
    delete_leftovers(store, [upload])
    delete_leftovers(store, [upload])  # gone meanwhile: no error
    assert find_leftovers(store, "runs/run/") == []
    assert len(find_leftovers(store, "runs/")) == 1


@pytest.mark.usefixtures("bench")
def test_gc_aborts_an_upload_only_after_a_day_and_du_shows_it(use_server: Callable[[str], S3Server]) -> None:
    use_server("ministack")
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")
    submitted(store, "run")
    begin_upload(store, "runs/run/checkpoints/x/model.safetensors")
    assert usage(store).others == {"uploads": len(PART)}
    assert find_garbage(store).items == []
    garbage = find_garbage(store, now=datetime.now(UTC) + timedelta(hours=25))
    assert garbage.bytes_by_kind == {"uploads not completed": len(PART)}
    collect(store, garbage)
    assert find_leftovers(store, "runs/") == []


@pytest.mark.usefixtures("bench")
def test_a_deleted_run_leaves_no_version_in_a_versioned_bucket(versioned: Store) -> None:
    submitted(versioned, "run")
    ended(versioned, "run")
    submitted(versioned, "other")
    versioned.put("runs/run/attempts/0001.heartbeat.json", b"{}" * 100)
    versioned.put("runs/run/attempts/0001.heartbeat.json", b"{}")
    assert usage(versioned).others == {"versions": 200}
    plan = plan_removal(versioned, ["run"])
    assert plan.bytes_by_kind["versions"] == 200
    remove(versioned, plan)
    bucket = versioned.url.split("/")[2]
    listing = client().list_object_versions(Bucket=bucket, Prefix="store/runs/")
    assert {entry["Key"] for entry in listing["Versions"]} == {"store/runs/other/run.json"}
    assert "DeleteMarkers" not in listing


@pytest.mark.usefixtures("bench")
def test_gc_deletes_versions_that_were_overwritten_and_never_the_newest(versioned: Store) -> None:
    submitted(versioned, "run")
    for step in range(3):
        versioned.put("runs/run/attempts/0001.heartbeat.json", b"%d" % step)
    versioned.delete(["runs/run/inputs/0/x"])
    collect(versioned, find_garbage(versioned, now=datetime.now(UTC) + timedelta(days=2)))
    assert versioned.get("runs/run/attempts/0001.heartbeat.json") == b"2"
    assert find_leftovers(versioned, "runs/") == []

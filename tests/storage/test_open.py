"""What a store's URL may look like, and what is said of one that it may not."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.storage.local import LocalStore
from runner.storage.object_store import RemoteStore
from runner.storage.open import open_store


@pytest.fixture
def credentials(no_cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


@pytest.mark.parametrize("spelling", ["{}", "file://{}", "file://localhost{}", "{}/", "{}/../store"])
def test_a_folder(tmp_path: Path, spelling: str) -> None:
    """As a path or a file URL; nothing is made yet."""
    url = spelling.format(tmp_path / "store")
    store = open_store(url)
    assert isinstance(store, LocalStore)
    assert not (tmp_path / "store").exists()
    store.put("runs/r/a", b"1")
    assert open_store(store.url).get("runs/r/a") == b"1"


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL of the store is absolute, so that an attempt in another working directory opens the same one."""
    monkeypatch.chdir(tmp_path)
    store = open_store("runs here")
    monkeypatch.chdir("/")
    store.put("runs/r/a", b"1")
    assert store.url == str(tmp_path / "runs here")
    assert (tmp_path / "runs here/runs/r/a").exists()


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is expanded by us too, for the shell does not in RUNNER_STORE=~/runs inside quotes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/runs").url == str(tmp_path / "runs")


def test_a_file_url_may_hold_escapes(tmp_path: Path) -> None:
    """A space is %20 there."""
    assert open_store(f"file://{tmp_path}/my%20runs").url == str(tmp_path / "my runs")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not a store"),
        ("s3:/bucket", "not a store"),
        ("s3:bucket", "not a store"),
        ("ftp://host/folder", "unknown store scheme 'ftp'"),
        ("http://host/bucket", "unknown store scheme 'http'"),
        ("s3://", "not a bucket"),
        ("s3:///folder", "not a bucket"),
        ("s3://bucket/../other", "not a bucket"),
        ("s3://bucket/a//b", "not a bucket"),
        ("s3://bucket/folder?region=x", "no ? and no #"),
        ("s3://Bucket_/x", "is not a valid bucket name"),
        ("s3://b/x", "is not a valid bucket name"),
        ("file://host/folder", "names a host"),
        ("~nobody-has-this-name/x", "no such home folder"),
    ],
)
def test_what_is_no_store(credentials: None, url: str, said: str) -> None:
    """Each is one clear message, and nothing is made."""
    with pytest.raises(UserError) as caught:
        open_store(url)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_a_file_is_no_store(tmp_path: Path) -> None:
    """Found out before anything else is done."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        open_store(str(tmp_path / "file"))


def test_credentials_in_a_url_are_refused_and_not_repeated(credentials: None) -> None:
    """The URL is kept in run.json and printed everywhere."""
    with pytest.raises(UserError) as caught:
        open_store("s3://AKIDEXAMPLE:hunter2@bucket/folder")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kept"),
    [("s3://bucket", "s3://bucket"), ("s3://bucket/", "s3://bucket"), ("S3://bucket/a/b/", "s3://bucket/a/b")],
)
def test_a_bucket(credentials: None, url: str, kept: str) -> None:
    """One spelling is kept of those that mean the same."""
    store = open_store(url)
    assert isinstance(store, RemoteStore)
    assert store.url == kept


@pytest.mark.usefixtures("no_cloud")
def test_missing_credentials_are_the_callers_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found before a run is begun, with the variables to set."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket/folder")


def test_a_missing_region_is_the_callers_mistake(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """At AWS; another server's endpoint needs none."""
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(UserError, match="AWS_REGION"):
        open_store("s3://bucket/folder")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    open_store("s3://bucket/folder")


def test_an_unknown_profile_is_the_callers_mistake(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In boto3's words."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match="nobody"):
        open_store("s3://bucket/folder")


def test_missing_certificates_are_the_callers_mistake(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said with the path."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(UserError, match=r"/nowhere/ca\.pem"):
        open_store("s3://bucket/folder")


@pytest.mark.parametrize("place", ["service", "profile"])
def test_the_endpoint_of_a_profile(
    credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """What boto3 and awscli read in ~/.aws/config is read here too: nothing answers there, so that it is told."""
    config = {
        "service": "[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = http://127.0.0.1:9\n",
        "profile": "[default]\nendpoint_url = http://127.0.0.1:9\n",
    }[place]
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store = open_store("s3://bucket/folder")
    assert isinstance(store, RemoteStore)
    assert store.endpoint == "http://127.0.0.1:9"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    other = open_store("s3://bucket/folder")
    assert isinstance(other, RemoteStore)
    assert other.endpoint is None


@pytest.mark.usefixtures("no_cloud")
@pytest.mark.parametrize("url", ["gs://bucket/folder", "az://container/folder"])
def test_other_clouds_open_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore knows where their own tools leave the credentials."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    assert open_store(url).url == url


def test_a_folder_opens_without_the_clouds_libraries() -> None:
    """A command on a local store pays for no client."""
    program = (
        "import sys; from runner.storage.open import open_store; open_store('/tmp/x');"
        "print([name for name in ('boto3', 'botocore', 'obstore') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

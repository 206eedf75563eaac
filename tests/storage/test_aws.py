"""What is set of S3, found without boto3 where that would find the same."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.storage.aws import AwsSettings, aws_settings

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "the-secret"}


def told(settings: AwsSettings) -> tuple[Any, ...]:
    """All that they say; when credentials expire is left out, for these never do."""
    given = settings.credentials() if settings.credentials else {}
    keys = tuple(given.get(name) for name in ("access_key_id", "secret_access_key", "token"))
    return (settings.region, settings.endpoint, settings.ca_bundle, keys)


@pytest.mark.usefixtures("no_cloud")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (None, None, None, None)),
        ({"AWS_REGION": "eu-central-1"}, ("eu-central-1", None, None, None)),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, ("eu-west-1", None, None, None)),
        ({"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-west-1"}, ("eu-central-1", None, None, None)),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9/"}, (None, "http://127.0.0.1:9", None, None)),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:8"},
            (None, "http://127.0.0.1:8", None, None),
        ),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            (None, None, None, None),
        ),
        ({"AWS_CA_BUNDLE": "/etc/ca.pem"}, (None, None, "/etc/ca.pem", None)),
        ({"AWS_SESSION_TOKEN": "the-token"}, (None, None, None, "the-token")),
        ({"AWS_SESSION_TOKEN": "the-token", "AWS_SECURITY_TOKEN": "older"}, (None, None, None, "older")),
    ],
)
def test_boto3_says_the_same(
    more: dict[str, str], expected: tuple[str | None, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked as soon as there is a file that it reads, were it an empty one."""
    for name, value in {**KEYS, **more}.items():
        monkeypatch.setenv(name, value)
    ours = told(aws_settings("s3://bucket"))
    (tmp_path / "config").write_text("")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    *rest, token = expected
    assert ours == told(aws_settings("s3://bucket")) == (*rest, (*KEYS.values(), token))


@pytest.mark.usefixtures("no_cloud")
def test_what_a_file_says_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the keys stand in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "credentials").write_text("[default]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert aws_settings("s3://bucket").region == "eu-north-1"


@pytest.mark.usefixtures("no_cloud")
def test_a_public_bucket_needs_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert aws_settings("s3://bucket").credentials is None
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert aws_settings("s3://bucket").credentials is None


@pytest.mark.usefixtures("no_cloud")
def test_variables_alone_are_read_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer to import than a command that lists runs may take."""
    for name, value in {**KEYS, "AWS_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    program = (
        "import sys; from runner.storage.open import open_store; open_store('s3://bucket/x');"
        "print([name for name in ('boto3', 'botocore') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

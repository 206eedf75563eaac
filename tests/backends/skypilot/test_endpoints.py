"""A machine elsewhere is not sent to itself for the store."""

from pathlib import Path

import pytest

from runner.backends.base import ResourceOptions
from runner.backends.skypilot.endpoints import is_loopback, refuse_loopback
from runner.backends.skypilot.resources import resolve_resources
from runner.backends.skypilot.store_access import access
from runner.errors import UserError
from runner.storage.aws import configured_endpoint

KEYS = {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"}
AWS_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:9000",
        "https://LOCALHOST",
        "http://minio.localhost:9000/path",
        "localhost:9000",
        "http://user:secret@127.0.0.1:9000",
        "http://127.1:9000",
        "http://127.5.5.5",
        "http://2130706433:9000",
        "http://0x7f000001",
        "http://0.0.0.0:9000",
        "http://0:9000",
        "http://[::1]:9000",
        "http://[::]:9000",
        "http://[::ffff:127.0.0.1]:9000",
        "http://localhost.:9000",
        "http://host.docker.internal:9000",
    ],
)
def test_each_way_to_write_this_machine_is_known(endpoint: str) -> None:
    assert is_loopback(endpoint)
    with pytest.raises(UserError) as caught:
        refuse_loopback({"AWS_ENDPOINT_URL_S3": endpoint})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    ["https://objects.example.com", "http://10.0.0.4:9000", "http://[fd00::1]:9000", "http://localhosts.example", ""],
)
def test_other_machines_are_not_refused(endpoint: str) -> None:
    assert not is_loopback(endpoint)


def test_only_variables_that_name_a_service_are_looked_at() -> None:
    refuse_loopback({"MASTER_ADDR": "127.0.0.1", "NOTE": "localhost"})
    with pytest.raises(UserError, match=r"sky\.envs: https_proxy names this machine"):
        refuse_loopback({"https_proxy": "http://127.0.0.1:3128"}, where="sky.envs")


@pytest.mark.parametrize(
    ("store", "variables"),
    [
        ("s3://bucket", {"AWS_ENDPOINT_URL": "http://localhost:9000"}),
        ("s3://bucket", {"AWS_ENDPOINT_URL_S3": "http://[::1]:9000"}),
        ("az://container", {"AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:10000"}),
        ("gs://bucket", {"STORAGE_EMULATOR_HOST": "http://0.0.0.0:4443"}),
    ],
)
@pytest.mark.parametrize("infra", ["aws", "gcp", "slurm/here"])
def test_a_store_on_this_machine_is_refused_for_a_run_elsewhere(
    store: str, variables: dict[str, str], infra: str
) -> None:
    machines = resolve_resources({}, ResourceOptions(infra=(infra,)))
    with pytest.raises(UserError, match="names this machine"):
        access(store, machines, {**KEYS, **variables})


@pytest.mark.parametrize(
    ("profile", "endpoint"),
    [
        ("[default]\nendpoint_url = http://127.0.0.1:9000\n", "http://127.0.0.1:9000"),
        (
            "[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = http://localhost:9000\n",
            "http://localhost:9000",
        ),
        ("[default]\nendpoint_url = https://objects.example.com\n", "https://objects.example.com"),
    ],
)
def test_an_endpoint_in_a_profile_is_refused_or_goes_along(
    profile: str, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left behind, the machine would look for the run at Amazon."""
    for name in AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config").write_text(profile)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert configured_endpoint("s3://bucket") == endpoint
    machines = resolve_resources({}, ResourceOptions(infra=("gcp",)))
    if is_loopback(endpoint):
        with pytest.raises(UserError, match="names this machine"):
            access("s3://bucket", machines)
    else:
        assert access("s3://bucket", machines).environment["AWS_ENDPOINT_URL"] == endpoint

"""Secrets are hidden in whatever form a text has them; what is no secret stays readable."""

import base64
import html
import json
import re
import shlex
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UserError
from runner.redaction import Redactor, hide_tokens, holds_token, is_secret_name

HF = "hf_abcdefghijklmnopqrstuvwxyz012345"


@pytest.mark.parametrize(
    "token",
    [
        HF,
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "sk-proj-abcdefghijklmnopqrstuvwx",
        "AKIAIOSFODNN7EXAMPLE",
        "glpat-abcdefghijklmnopqrst",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_a_token_is_known_by_its_form(token: str) -> None:
    assert holds_token(f"export X={token}\n")
    assert token not in hide_tokens(f"login with '{token}', please")
    assert hide_tokens(f"a {token} b") == "a *** b"


def test_a_password_in_a_url_is_hidden_and_the_host_stays() -> None:
    assert hide_tokens("cannot reach https://me:hunter2@host/x") == "cannot reach https://***@host/x"
    assert not holds_token("s3://bucket/a:b@c and user@host.example")


def test_what_a_signed_url_is_signed_with_is_hidden() -> None:
    for name in ("X-Amz-Signature", "sig", "token", "api_key", "X-Goog-Credential"):
        assert (
            hide_tokens(f"GET https://host/x?a=1&{name}=s3cret-value&b=2 failed")
            == "GET https://host/x?a=1&***&b=2 failed"
        )
    assert hide_tokens("https://host/x?token=$TOKEN&page=token") == "https://host/x?token=$TOKEN&page=token"
    assert hide_tokens("Authorization: Bearer abcdefghijklmnopqrstuvwxyz") == "Authorization: Bearer ***"


@pytest.mark.parametrize(
    "text", ["hf_transfer", "sk-learn is scikit-learn", "meta-llama/Llama-3.2-1B", "0" * 64, "runs/x:1@2", "task-sk-1"]
)
def test_what_is_no_token_is_left_alone(text: str) -> None:
    assert hide_tokens(text) == text


def test_names_of_secrets_are_known_by_their_last_word() -> None:
    for name in (
        "HF_TOKEN",
        "MY_API_KEY",
        "DB_PASSWORD",
        "SECRET",
        "hub_token",
        "aws_secret_access_key",
        "SMTP_PASS",
        "MYSQL_PWD",
        "x-api-key",
    ):
        assert is_secret_name(name), name
    for name in (
        "TOKENIZERS_PARALLELISM",
        "MAX_TOKENS",
        "AWS_REGION",
        "PATH",
        "KEYBOARD",
        "WANDB_MODE",
        "PWD",
        "OLDPWD",
    ):
        assert not is_secret_name(name), name


@given(st.text(min_size=6, max_size=40).filter(lambda text: len(text.strip()) >= 6 and text.isprintable()), st.binary())
def test_a_value_is_hidden_however_it_is_written(value: str, before: bytes) -> None:
    value = value.strip()
    hide = Redactor({"NAME": value})
    data = value.encode()
    quoted = [urllib.parse.quote(value, safe=safe) for safe in ("", "/")] + [urllib.parse.quote_plus(value)]
    lower = [re.sub("%..", lambda match: match[0].lower(), text) for text in quoted]
    twice = json.dumps({"body": json.dumps({"key": value})})
    others = (data.hex(), data.hex().upper(), base64.b32encode(data).decode(), html.escape(value), shlex.quote(value))
    for text in (value, json.dumps(value), twice, repr(value), repr(data), *quoted, *lower, *others):
        assert "***NAME***" in hide(f"x {text} y")
    if len(data) >= 12:  # of shorter ones, base64 shows too few characters of their own
        assert "***NAME***" in hide(base64.b64encode(before + data + b"!").decode())


def test_short_values_stay_and_the_others_name_their_variable() -> None:
    hide = Redactor.of_environment({"A": "1", "HF_TOKEN": HF, "DEBUG": "verbose"}, ["A", "MISSING"])
    assert hide(f"1 verbose {HF}") == "1 verbose ***HF_TOKEN***"
    assert Redactor({})("as it is") == "as it is"


def test_each_line_of_a_secret_of_several_lines_is_hidden() -> None:
    assert "c2VjcmV0" not in Redactor({"KEY": "-----BEGIN-----\nc2VjcmV0\n"})("line c2VjcmV0 of it")


def test_no_error_shows_a_token() -> None:
    error = UserError(f"{HF} is wrong", where=f"--set a={HF}", remedy=f"write {HF}")
    assert HF not in str(error) + error.what + (error.where or "") + (error.remedy or "")

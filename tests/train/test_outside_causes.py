"""Which errors interrupt a run, because something outside of it failed, and which end it."""

import errno
import http.client
import socket
import sqlite3
import subprocess
import urllib.error
from email.message import Message

import httpx2
import pytest
import requests
import torch
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from safetensors import SafetensorError

from runner.errors import UserError
from runner.train.export.errors import HubUnavailable
from runner.train.failures import Failure, Shown, classify
from runner.train.outside_causes import MOST_CHARACTERS, is_data_on_gpu, outside_cause

REQUEST = httpx2.Request("GET", "http://127.0.0.1:9/judge")


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} for url", response=response)


def hub_answered(status: int) -> HfHubHTTPError:
    return HfHubHTTPError(f"{status}", response=httpx2.Response(status, request=REQUEST))


def caused_by(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class APIConnectionError(Exception):
    """As openai's: no relative of any class that Python has."""


class RateLimitError(Exception):
    status_code = 429


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("the judge at http://localhost:1 does not answer"), "a service does not answer"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "a service does not answer"),
        (TimeoutError("timed out"), "a service does not answer"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "a service does not answer"),
        (http.client.RemoteDisconnected("closed"), "a service does not answer"),
        (urllib.error.URLError(ConnectionRefusedError(111, "refused")), "a service does not answer"),
        (urllib.error.HTTPError("http://x", 503, "busy", Message(), None), "a service does not answer"),
        (requests.exceptions.ReadTimeout("read timed out"), "a service does not answer"),
        (requests.exceptions.ChunkedEncodingError("cut"), "a service does not answer"),
        (answered(502), "a service does not answer"),
        (answered(429), "a service does not answer"),
        (httpx2.ConnectError("refused"), "a service does not answer"),
        (httpx2.PoolTimeout("none free"), "a service does not answer"),
        (hub_answered(504), "a service does not answer"),
        (HubUnavailable("503"), "a service does not answer"),
        (APIConnectionError("Connection error."), "a service does not answer"),
        (RateLimitError("slow down"), "a service does not answer"),
        (subprocess.TimeoutExpired("verify", 10), "a service does not answer"),
        (caused_by(RuntimeError("the judge is silly"), TimeoutError("timed out")), "a service does not answer"),
        (ExceptionGroup("all judges", [ValueError("x"), ConnectionResetError("reset")]), "a service does not answer"),
        (OSError(errno.EIO, "Input/output error", "/mnt/x"), "a disk or network mount failed"),
        (OSError(errno.ESTALE, "Stale file handle"), "a disk or network mount failed"),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), "a disk or network mount failed"),
        (SafetensorError("I/O error: Stale file handle (os error 116)"), "a disk or network mount failed"),
        (RuntimeError("CUDA error: unspecified launch failure"), "the GPU failed"),
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), "the GPU failed"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), "the GPU failed"),
        (RuntimeError("CUDA error: the launch timed out and was terminated"), "the GPU failed"),
        (RuntimeError("NCCL error in: x.cpp:1, unhandled system error"), "the training processes lost each other"),
        (
            RuntimeError("[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(...)"),
            "the training processes lost each other",
        ),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}"[:60] if isinstance(value, BaseException) else None,
)
def test_what_fails_outside_interrupts_the_run(error: Exception, words: str) -> None:
    assert outside_cause(error) is not None
    end = classify(Failure(error=error))
    if isinstance(error, HubUnavailable):
        return  # a row of its own: the push is repeated when the owner says so
    assert (end.outcome.kind, end.outcome.retry, end.outcome.outside, end.exit_code) == ("interrupted", True, True, 75)
    assert end.outcome.reason is not None
    assert end.outcome.reason.startswith(words)
    assert "`runner resume` goes on from the last checkpoint" in end.outcome.reason


@pytest.mark.parametrize(
    "error",
    [
        KeyError("answer"),
        ValueError("nonsense"),
        FileNotFoundError(errno.ENOENT, "No such file", "/x"),
        PermissionError(errno.EACCES, "Permission denied"),
        answered(401),
        answered(404),
        hub_answered(403),
        OfflineModeIsEnabled("HF_HUB_OFFLINE=1"),
        caused_by(OSError("cannot reach the hub"), OfflineModeIsEnabled("HF_HUB_OFFLINE=1")),
        ConnectionError("Couldn't reach 'org/data' on the Hub (OfflineModeIsEnabled)"),  # datasets: `from None`
        requests.exceptions.MissingSchema("Invalid URL 'judge'"),
        http.client.InvalidURL("nonnumeric port"),
        sqlite3.OperationalError("no such table: rewards"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        RuntimeError("CUDA error: device-side assert triggered"),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}"[:60],
)
def test_a_mistake_is_none_of_them(error: Exception) -> None:
    assert outside_cause(error) is None
    end = classify(Failure(error=error))
    assert (end.outcome.kind, end.outcome.retry, end.outcome.outside, end.exit_code) == ("failed", False, False, 1)


def test_an_error_that_hides_its_context_is_taken_by_its_word() -> None:
    error = KeyError("score")
    error.__context__ = ConnectionError("away")
    assert outside_cause(error) is not None
    error.__suppress_context__ = True  # as by `raise KeyError("score") from None`
    assert outside_cause(error) is None


def test_a_page_of_html_is_cut() -> None:
    reason = str(outside_cause(ConnectionError("<html>\n" * 1000)))
    assert len(reason) < MOST_CHARACTERS + 100
    assert "\n" not in reason


def test_an_assertion_on_the_gpu_names_the_data() -> None:
    error = torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be …")
    assert is_data_on_gpu(error)
    end = classify(Failure(error=error))
    assert (end.outcome.kind, end.exit_code, end.shown) == ("failed", 1, Shown.TRACEBACK)
    assert "a token id that the model's embeddings do not have" in str(end.outcome.reason)


def test_a_hub_that_is_away_is_no_mistake_of_the_recipes() -> None:
    error = UserError("some/model cannot be loaded", where="model.model_name_or_path")
    error.__cause__ = caused_by(OSError("We couldn't connect"), httpx2.ConnectError("refused"))
    end = classify(Failure(error=error))
    assert (end.outcome.kind, end.outcome.outside, end.exit_code) == ("interrupted", True, 75)


@pytest.mark.parametrize("where", ["model.model_name_or_path", "data.train.0.path", "model"])
def test_what_was_there_before_is_away_and_not_a_mistake(where: str) -> None:
    """A folder that is not mounted for a moment; at the first attempt it is a mistake."""
    error = UserError("there is no folder /mnt/models/x", where=where)
    assert classify(Failure(error=error)).exit_code == 2
    end = classify(Failure(error=error, restored=True))
    assert (end.outcome.kind, end.outcome.retry, end.outcome.outside, end.exit_code) == ("interrupted", True, True, 75)
    before = f"{where}: there is no folder /mnt/models/x (it was there before)"
    assert end.outcome.reason == f"{before}; `runner resume` goes on from the last checkpoint"


def test_a_reward_that_is_missing_is_a_mistake_at_any_time() -> None:
    error = UserError("rewards.py has no function `judge`", where="training.reward_funcs.0")
    assert classify(Failure(error=error, restored=True)).exit_code == 2

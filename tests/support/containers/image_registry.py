"""A real registry on loopback, with a password: Debian's docker-registry."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("docker-registry", "apache2-utils")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry that runs."""

    host: str
    """``127.0.0.1:PORT``, as image names begin."""
    user: str
    password: str
    """Who may use it."""


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """Run one, with its images in `folder`; installed with apt if it is missing."""
    if not all(shutil.which(program) for program in ("docker-registry", "htpasswd")):
        command = ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *PACKAGES]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    made = Registry(host=f"127.0.0.1:{port}", user="tester", password=secrets.token_hex(8))
    passwords = subprocess.run(
        ["htpasswd", "-niB", made.user], input=made.password, check=True, capture_output=True, text=True
    )
    (folder / "htpasswd").write_text(passwords.stdout)
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'images'}}}}}\n"
        f"http: {{addr: {made.host}}}\nauth: {{htpasswd: {{realm: tests, path: {folder / 'htpasswd'}}}}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_it_answers(made.host)
        yield made
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_it_answers(host: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://{host}/v2/", timeout=2)
        except urllib.error.HTTPError:
            return  # it wants a password
        except OSError:
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.1)
        else:
            return

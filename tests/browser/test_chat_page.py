"""The chat as somebody sees it: in a browser, with streaming, sliders and two models side by side."""

import http.client
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import chromium, until

pytestmark = pytest.mark.browser

RECIPE = """\
method: sft
model: {model_name_or_path: builtin:tiny-llama}
adapter: {r: 4, target_modules: all-linear}
data: {train: [{path: builtin:python-docstrings, sample: 20}]}
training: {max_steps: 1, effective_batch_size: 2, max_length: 32}
"""
QUESTION = "Function os.remove(path):"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a small run."""
    folder = tmp_path_factory.mktemp("chat")
    (folder / "tiny.yaml").write_text(RECIPE)
    environment = {**os.environ, "RUNNER_STORE": str(folder / "store"), "XDG_CACHE_HOME": str(folder / "cache")}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "runner"]
    subprocess.run([*command, "launch", "tiny.yaml"], cwd=folder, env=environment, check=True)
    # Long answers: a model that has learned nothing ends one by chance only.
    chat = [*command, "chat", "last", "--port", "0", "--max-new-tokens", "450"]
    with subprocess.Popen(chat, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("chat: "))
            yield line.removeprefix("chat: ").strip()
        finally:
            process.terminate()


@pytest.fixture
def browser(address: str) -> Iterator[Any]:
    """Chromium on the page."""
    with chromium() as driver:
        driver.get(address)
        yield driver


def answers(browser: Any, column: str) -> list[str]:
    """What a column's model has said."""
    return [
        one.get_attribute("textContent")
        for one in browser.find_elements("css selector", f"#{column} [data-testid=bot]")
    ]


def say(browser: Any, text: str) -> None:
    """Ask, and see that it was taken: as long as the page is at the last question it does not listen."""
    from selenium.webdriver.common.keys import Keys

    box = until(browser, lambda: browser.find_element("css selector", "#say textarea"))
    before, empty = len(asked(browser)), 0
    box.send_keys(text, Keys.ENTER)

    def is_taken() -> bool:
        nonlocal empty
        if len(asked(browser)) > before:
            return True
        if box.get_attribute("value"):
            box.send_keys(Keys.ENTER)
            return False
        empty += 1
        if empty % 25 == 0:  # the end of the last answers took it away
            box.send_keys(text, Keys.ENTER)
        return False

    until(browser, is_taken)


def set_limit(browser: Any, tokens: int) -> None:
    from selenium.webdriver.common.keys import Keys

    number = until(browser, lambda: browser.find_element("css selector", "#limit input[type=number]"))
    number.send_keys(Keys.CONTROL, "a")
    number.send_keys(str(tokens), Keys.TAB)


def begin_anew(browser: Any) -> None:
    browser.find_element("id", "fresh").click()
    until(browser, lambda: not asked(browser) and not answers(browser, "fine-tuned"))


def asked(browser: Any) -> list[str]:
    return [one.text.strip() for one in browser.find_elements("css selector", "#fine-tuned [data-testid=user]")]


def is_growing(browser: Any) -> bool:
    """Ask, and see the first model's answer grow. False where chance ended it before it was seen to."""
    say(browser, QUESTION)
    begun = until(browser, lambda: answers(browser, "fine-tuned"))[0]
    until(browser, lambda: len(answers(browser, "fine-tuned")[0]) > len(begun) or answers(browser, "base"))
    return answers(browser, "base") == []


def see_growth(browser: Any) -> None:
    for _ in range(5):
        if is_growing(browser):
            return
        begin_anew(browser)
    raise AssertionError("no answer was seen to grow before the other model's")


def test_an_answer_grows_until_it_is_stopped(browser: Any) -> None:
    """One after the other answers: they share their weights. Who stops the one has stopped the other."""
    for _ in range(8):
        see_growth(browser)
        browser.find_element("id", "stop").click()
        until(browser, lambda: answers(browser, "base"))
        if answers(browser, "base")[0].strip() == "(nothing)":
            break
        begin_anew(browser)  # chance had ended the one just before, and the other had begun
    else:
        raise AssertionError("the other model answered each time")
    assert asked(browser) == [QUESTION]
    said = answers(browser, "fine-tuned")
    set_limit(browser, 3)
    say(browser, "And why?")
    until(browser, lambda: len(answers(browser, "base")) == 2)
    assert answers(browser, "fine-tuned")[0] == said[0]
    assert len(answers(browser, "fine-tuned")) == 2


def test_a_new_conversation_ends_the_answer_of_the_old(browser: Any) -> None:
    see_growth(browser)
    begin_anew(browser)
    set_limit(browser, 3)
    say(browser, "And why?")
    until(browser, lambda: answers(browser, "base"))
    assert asked(browser) == ["And why?"]
    assert len(answers(browser, "fine-tuned")) == 1


def test_both_models_answer_within_the_limit(browser: Any) -> None:
    set_limit(browser, 3)
    say(browser, QUESTION)
    until(browser, lambda: answers(browser, "fine-tuned") and answers(browser, "base"))
    for column in ("base", "fine-tuned"):
        [said] = answers(browser, column)
        assert len(said.split()) <= 3
    say(browser, "And why?")
    until(browser, lambda: len(answers(browser, "base")) == 2)
    assert len(answers(browser, "fine-tuned")) == 2


def test_the_page_speaks_to_this_machine_only(browser: Any, address: str) -> None:
    """Nothing is loaded from elsewhere, and nobody elsewhere can reach it."""
    until(browser, lambda: browser.find_elements("css selector", "#temperature input"))
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert loaded
    assert [url for url in loaded if not url.startswith((address, "data:", "blob:"))] == []
    port = int(re.search(r":(\d+)/?$", address)[1])  # type: ignore[index]
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    listening = {
        line[1].partition(":")[0] for line in lines if line[3] == "0A" and int(line[1].rpartition(":")[2], 16) == port
    }
    assert listening == {"0100007F"}, "127.0.0.1, as the kernel writes it"


def status_of(address: str, path: str, *, body: bytes | None = None, **headers: str) -> int:
    """The status that the page's server answers a request with."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address.rstrip("/") + path, data=body, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_requests_of_other_sites_and_names_are_refused(address: str) -> None:
    """A page elsewhere that a browser shows, a name that was made to lead here, and more than anybody types."""
    join = "/gradio_api/queue/join"
    question = b'{"data": [], "fn_index": 0, "session_hash": "x"}'
    own = {"Content_Type": "application/json", "Origin": address.rstrip("/")}
    assert status_of(address, "/") == 200
    assert status_of(address, join, body=question, **own) not in (403, 404, 413)
    assert status_of(address, "/", Host="evil.example") == 403
    assert status_of(address, join, body=question, **{**own, "Origin": "http://evil.example"}) == 403
    assert status_of(address, join, body=question, Sec_Fetch_Site="cross-site") == 403
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=60)
    connection.putrequest("POST", join)  # the body is announced, and refused before it is sent
    for name, value in (*own.items(), ("Content-Length", str(2 << 20))):
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()

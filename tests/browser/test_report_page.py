"""Reports as somebody sees them: of a sweep of 500 trials and of a run, on a screen and on a phone, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runner.cli.main import cli
from runner.runs.attempts import read_claim
from runner.runs.measured.machine import write_inputs
from runner.storage.open import open_store
from support.browser import chromium, show_as, until
from support.compared import trained
from support.sweeping.reported import SWEEP_ID, reported_sweep

pytestmark = pytest.mark.browser

TRIALS = 500
CLIPPED = """
const clipped = [];
const visible = (it) => it.checkVisibility() && it.getBoundingClientRect().width > 0;
for (const it of document.querySelectorAll("main *")) {
  if (!visible(it) || it.closest(".wide")?.scrollWidth > innerWidth - 40 && !it.matches(".wide")) continue;
  const {left, right} = it.getBoundingClientRect();
  if (left < 0 || right > innerWidth + 0.5) clipped.push(`${it.tagName} ${it.textContent.slice(0, 40)}: ${right}`);
}
for (const svg of document.querySelectorAll(".plot svg")) {
  const frame = svg.getBoundingClientRect();
  for (const it of svg.querySelectorAll("text")) {
    const {left, right, top, bottom} = it.getBoundingClientRect();
    const isWide = left < frame.left - 1 || right > frame.right + 1;
    const isHigh = top < frame.top - 1 || bottom > frame.bottom + 1;
    if (it.textContent && (isWide || isHigh)) clipped.push(`${svg.closest(".plot").id}: ${it.textContent}`);
  }
}
return clipped;
"""
CONTRASTS = """
const luminance = (color) => {
  const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((it) => it / 255)
    .map((it) => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const back = luminance(getComputedStyle(document.body).backgroundColor);
const found = {};
for (const it of document.querySelectorAll("h1, h2, p, dt, dd, caption, th, td, summary, button, input, svg text")) {
  if (!it.checkVisibility()) continue;
  const style = getComputedStyle(it);
  const ink = luminance(it.matches("svg text") ? style.fill : style.color);
  const contrast = (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
  found[it.tagName] = Math.min(contrast, found[it.tagName] ?? 21);
}
return found;
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the two reports."""
    folder = tmp_path_factory.mktemp("reports")
    store = open_store(str(folder / "store"))
    reported_sweep(store, folder, trials=TRIALS, steps=90, runs=3)
    result: dict[str, Any] = {
        "generations": [{"prompt": "A long word: " + "x" * 200, "before": "early", "after": "late " * 50}],
        "dropped_rows": [{"entry": "data.train.0", "reason": "without messages", "rows": 3, "of": 9, "first": 1}],
    }
    losses: list[float | None] = [4.0 / step for step in range(1, 50)]
    trained(store, folder, "single", losses=losses, evaluations={0: 4.0, 49: 1.0}, result=result)
    lengths: Any = {
        "examples": 4,
        "tokens": 40,
        "least": 3,
        "median": 8,
        "greatest": 20,
        "width": 7,
        "counts": [1, 2, 1],
    }
    inputs: Any = {"model": "m", "model_commit": None, "tokenizer": "1", "rows": "2", "row_count": 4, "datasets": []}
    token = read_claim(store, "single", 1)["token"]
    write_inputs(store, "single", 1, "sft", {**inputs, "token": token, "lengths": lengths})
    files = {name: folder / f"{name}.html" for name in (SWEEP_ID, "single")}
    for name, path in files.items():
        made = CliRunner().invoke(cli, ["report", name, "--out", str(path), "--store", store.url])
        assert made.exit_code == 0, made.output
    return files


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for all tests of this file."""
    with chromium(1440, 900) as driver:
        yield driver


def look_at(browser: Any, page: Path, *, width: int = 1440, dark: bool = False) -> None:
    """Open a page, and see that all of its plots are drawn."""
    show_as(browser, width=width, dark=dark)
    browser.get(page.as_uri())
    until(browser, lambda: not browser.find_elements("css selector", ".plot:not([data-drawn])"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("name", [SWEEP_ID, "single"])
def test_nothing_is_clipped_or_hard_to_read_and_the_console_is_empty(
    browser: Any, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    look_at(browser, pages[name], width=width, dark=dark)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CLIPPED) == []
    contrasts = browser.execute_script(CONTRASTS)
    assert {"H1", "P", "text"} <= set(contrasts)
    assert {name: contrast for name, contrast in contrasts.items() if contrast < 4.5} == {}


def test_the_keyboard_reaches_all_that_can_be_used_and_each_has_a_name(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    look_at(browser, pages[SWEEP_ID])
    names: list[tuple[str, str]] = []
    while True:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        element = browser.switch_to.active_element
        if element.tag_name == "body" or len(names) > 100:
            break
        names.append((element.aria_role, element.accessible_name))
        assert element.value_of_css_property("outline-style") != "none", names[-1]
    assert all(name for _, name in names), names
    expected = {("searchbox", "Filter"), ("combobox", "Order"), ("button", "Clear"), ("button", "learning_rate")}
    assert expected | {("region", "Every trial, the best first")} <= set(names)


def test_plots_and_tables_have_names(browser: Any, pages: dict[str, Path]) -> None:
    look_at(browser, pages[SWEEP_ID], width=360)
    plots = browser.find_elements("css selector", ".plot")
    assert len(plots) == 6
    for plot in plots:
        assert plot.get_attribute("role") == "graphics-document"
        assert plot.get_attribute("aria-label")
    tables = browser.find_elements("css selector", "table")
    assert all(table.find_element("css selector", "caption").get_attribute("textContent") for table in tables)


def test_a_title_sorts_both_ways_and_the_page_can_be_had_as_it_was(browser: Any, pages: dict[str, Path]) -> None:
    look_at(browser, pages[SWEEP_ID])
    before = _column(browser, 1)
    title = next(it for it in browser.find_elements("css selector", "#trials th") if it.text == "learning_rate")
    number = browser.find_elements("css selector", "#trials th").index(title) + 1
    for direction, sign in (("ascending", 1), ("descending", -1)):
        browser.execute_script("arguments[0].focus()", title.find_element("css selector", "button"))
        browser.switch_to.active_element.send_keys(" ")
        assert title.get_attribute("aria-sort") == direction
        rates = [sign * float(text) for text in _sorted_by(browser, number)]
        assert rates == sorted(rates)
    browser.find_element("css selector", ".filter button").click()
    assert _column(browser, 1) == before
    assert title.get_attribute("aria-sort") is None


def test_a_filter_leaves_the_same_trials_in_the_table_and_in_the_plots(browser: Any, pages: dict[str, Path]) -> None:
    look_at(browser, pages[SWEEP_ID])
    states, rates = _column(browser, 2), [float(text) for text in _sorted_by(browser, 7)]
    assert browser.find_elements("css selector", "#trials th")[6].text == "learning_rate"
    wanted = sum(state == "finished" and rate < 5e-4 for state, rate in zip(states, rates, strict=True))
    assert 0 < wanted < TRIALS
    search = browser.find_element("css selector", ".filter input")
    search.send_keys("state=finished training.learning_rate<5e-4")
    assert _said(browser) == f"{wanted} of {TRIALS} rows"
    assert len(browser.find_elements("css selector", "#trials tbody tr:not([hidden])")) == wanted
    for plot in ("parallel", "best_so_far"):
        out = len(browser.find_elements("css selector", f"#{plot} path.out"))
        assert out == TRIALS - wanted, plot
    browser.find_element("css selector", ".filter button").click()
    assert _said(browser) == f"{TRIALS} rows"
    assert not browser.find_elements("css selector", "path.out")


def test_a_filter_that_means_no_column_looks_for_the_word(browser: Any, pages: dict[str, Path]) -> None:
    look_at(browser, pages[SWEEP_ID], width=360)
    search = browser.find_element("css selector", ".filter input")
    search.send_keys("nothing<3")
    assert _said(browser) == f"0 of {TRIALS} rows"


def test_dragging_over_an_axis_chooses_the_trials_that_pass_there(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    look_at(browser, pages[SWEEP_ID])
    plot = browser.find_element("css selector", "#parallel svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    axes = browser.find_elements("css selector", "#parallel .role-axis-grid line")
    axis = max(axes, key=lambda line: line.rect["x"])  # the score
    drag = ActionChains(browser, duration=50).move_to_element_with_offset(axis, -15, axis.rect["height"] / 2 - 40)
    drag.click_and_hold().move_by_offset(10, 15).move_by_offset(15, 15).release().perform()
    until(browser, lambda: " of " in _said(browser))
    chosen = browser.find_elements("css selector", "#trials tbody tr:not([hidden])")
    assert 0 < len(chosen) < TRIALS
    assert {row.find_elements("css selector", "td")[0].get_attribute("textContent") for row in chosen} >= {"finished"}
    browser.find_element("css selector", ".filter button").click()
    until(browser, lambda: _said(browser) == f"{TRIALS} rows")


def test_pointing_at_a_trial_says_what_it_is_and_shows_it_everywhere(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    look_at(browser, pages[SWEEP_ID])
    point = browser.find_elements("css selector", "#best_so_far .role-mark.mark-symbol path")[-1]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    shown = until(browser, lambda: browser.find_element("css selector", "#vg-tooltip-element.visible"))
    assert "trial" in shown.text
    row = until(browser, lambda: browser.find_element("css selector", "#trials tr.pointed"))
    trial = row.get_attribute("data-trial")
    assert trial in shown.text
    assert browser.find_elements("css selector", "#parallel path.pointed")


def test_plots_zoom_and_come_back(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    look_at(browser, pages["single"])
    plot = browser.find_element("css selector", "#loss svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    labels = _labels(browser, "loss")
    drag = ActionChains(browser, duration=50).move_to_element(plot).click_and_hold()
    drag.move_by_offset(60, 10).move_by_offset(60, 10).release().perform()
    until(browser, lambda: _labels(browser, "loss") != labels)
    ActionChains(browser).move_to_element(plot).double_click().perform()
    until(browser, lambda: _labels(browser, "loss") == labels)


def _column(browser: Any, number: int) -> list[str]:
    """The texts of a column of the trials, counted from 1."""
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.textContent)"
    texts: list[str] = browser.execute_script(script, f"#trials tbody tr > :nth-child({number})")
    return texts


def _sorted_by(browser: Any, number: int) -> list[str]:
    """What a column of the trials is sorted by."""
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.dataset.sort)"
    values: list[str] = browser.execute_script(script, f"#trials tbody tr > :nth-child({number})")
    return values


def _said(browser: Any) -> str:
    return str(browser.find_element("css selector", ".filter output").text)


def _labels(browser: Any, plot: str) -> list[str]:
    """The texts of a plot's axes, in any order: Vega adds new ones at the end."""
    script = "return [...document.querySelectorAll(arguments[0])].map((text) => text.textContent)"
    return sorted(browser.execute_script(script, f"#{plot} .role-axis-label text"))

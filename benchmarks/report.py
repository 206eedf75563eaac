"""How long `runner report` takes for a sweep of 500 trials of 500 steps, how large its file is, how fast it answers.

    python benchmarks/report.py [--trials 500] [--steps 500] [--rounds 5]
    python benchmarks/report.py --trials 30 --steps 20 --rounds 1 --no-browser    # seconds: does it still run?

The sweep is simulated (`tests/support/sweeping/reported.py`): the real controller writes the real journal, successive
halving over six parameters, and each trial leaves a run with its metrics in a folder store. Times are those of the
whole process, start-up included. The page is then opened in Chromium (needs Selenium: ``.venv-browser/bin/python``,
see the Makefile), and each of what a reader can do with the trials is done ten times: the time until the frame after it
has been drawn. Of the page's own thread, the processor time is counted
too, which other work on the machine changes less. Targets: 5 s, 3 MB, 100 ms.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from runner.storage.open import open_store
from support.browser import chromium, show_as, until
from support.sweeping.reported import SWEEP_ID, reported_sweep

TIMES = 10
SET = (
    "const input = document.querySelector('.filter input'); input.value = {}; input.dispatchEvent(new Event('input'));"
)
POINT = (
    "const {} = [...document.querySelectorAll('{} path')].filter((path) => path.__data__?.datum?.trial !== undefined);"
)
ACTIONS = {
    "sort by a number": "document.querySelectorAll('#trials th button')[6].click();",
    "filter by a value": SET.format("`learning_rate<${(index % 5 + 1) * 1e-4}`"),
    "filter by a word": SET.format("index % 2 ? 'finished' : 'stopped'"),
    "clear": "document.querySelector('.filter button').click();",
    "point at a line": POINT.format("lines", "#parallel .mark-line")
    + "lines[index * 20].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));",
    "point at a point": POINT.format("points", "#best_so_far .mark-symbol")
    + "points[index * 20].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));",
}
"""What is done, as scripts; `index` counts the times."""
MEASURE = """
const [action, index, done] = arguments;
const act = new Function("index", action);
const began = performance.now();
act(index);
requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
"""


def main() -> None:
    """Measure, and print a table and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reported_sweep(open_store(str(folder / "store")), folder, trials=options.trials, steps=options.steps)
        page = folder / "report.html"
        seconds = [measure(folder, page) for _ in range(options.rounds)]
        answers = {} if options.no_browser else respond(page)
        size = page.stat().st_size
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "trials": options.trials,
        "steps": options.steps,
        "seconds": [round(taken, 3) for taken in seconds],
        "megabytes": round(size / 1e6, 3),
        "milliseconds": {action: [round(taken, 1) for taken in times] for action, times in answers.items()},
    }
    print(f"report: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s; {size / 1e6:.2f} MB")
    for action, times in answers.items():
        print(f"{action:<24} median {statistics.median(times):>6.1f} ms, slowest {max(times):>6.1f} ms")
    print(json.dumps(figures))


def measure(folder: Path, page: Path) -> float:
    """Return the wall seconds of the report's process."""
    command = [sys.executable, "-m", "runner", "report", SWEEP_ID, "--out", str(page), "--store", str(folder / "store")]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def respond(page: Path) -> dict[str, list[float]]:
    """Return the milliseconds that a page takes to answer, by what is done, and its thread's processor time."""

    def thread_milliseconds() -> float:
        metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return 1000 * next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")

    with chromium(1440, 900) as browser:
        show_as(browser, width=1440)
        browser.get(page.as_uri())
        until(browser, lambda: not browser.find_elements("css selector", ".plot:not([data-drawn])"))
        browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        found: dict[str, list[float]] = {}
        for action, script in ACTIONS.items():
            where = "#parallel" if action.startswith("point") else "#trials"
            browser.execute_script("document.querySelector(arguments[0]).scrollIntoView()", where)
            found[action], found[f"{action}, CPU"] = [], []
            for index in range(TIMES):
                before = thread_milliseconds()
                found[action].append(browser.execute_async_script(MEASURE, script, index))
                found[f"{action}, CPU"].append(thread_milliseconds() - before)
        return found


if __name__ == "__main__":
    main()

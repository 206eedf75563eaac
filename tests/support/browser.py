"""A browser that finds no address but loopback. Selenium is imported here alone: it is in an environment of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 300
"""Seconds: a busy machine's browser is slow, and that is no failure."""


@contextmanager
def chromium(width: int = 1200, height: int = 900) -> Iterator[Any]:
    """Start Chromium without a window; it is closed at the end. What pages say is kept (``get_log("browser")``)."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-proxy-server",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.command_executor.client_config.timeout = 2 * PATIENCE
    driver.set_script_timeout(PATIENCE)
    driver.set_page_load_timeout(PATIENCE)
    try:
        yield driver
    finally:
        driver.quit()


def until(browser: Any, condition: Callable[[], Any]) -> Any:
    """Wait for something that has to come, and return it; the limit only ends a test that has failed."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, PATIENCE, poll_frequency=0.2, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(lambda driver: condition())


def show_as(browser: Any, *, width: int, dark: bool = False) -> None:
    """Show pages as a device with this width does, in the light or in the dark."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

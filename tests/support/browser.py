"""A real browser for tests: Debian's chromium, driven by its chromedriver through selenium.

Where none is installed, tests skip; in CI (the variable CI is set) they fail.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1"),
)
DESKTOP = (1280, 860)
PHONE = (390, 844)


def browser_paths() -> tuple[str, str]:
    """chromium and chromedriver; skips the test, or fails it in CI, where they are missing."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        reason = "needs the Debian packages chromium and chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return chromium, driver


class Browser:
    """One window. `console` collects what pages complained about."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def resize(self, size: tuple[int, int]) -> None:
        """Set the page's own size, which a window cannot do below some width."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def prefer(self, **features: str) -> None:
        """Emulate media features, such as prefers_color_scheme="dark"."""
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {
                "features": [
                    {"name": name.replace("_", "-"), "value": value}
                    for name, value in features.items()
                ]
            },
        )

    def allow_scripts(self, allowed: bool) -> None:
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: object) -> object:
        """The value of a script's `return`, promises awaited."""
        return self.driver.execute_script(script, *arguments)

    def module(self, script: str) -> object:
        """Run `script` as an async function's body, with `load(name)` to import a page's module."""
        return self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "const load = (name) => import('/assets/' + name);"
            f"(async () => {{ {script} }})()"
            ".then((value) => done({value}), (error) => done({error: String(error.stack)}))"
        )

    def console(self) -> list[str]:
        """Warnings and errors since the last call."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] in {"WARNING", "SEVERE"}
        ]

    def accessibility_tree(self) -> list[tuple[str, str]]:
        """(role, name) of what a screen reader meets, in order."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A headless window with a profile of its own."""
    chromium, driver_path = browser_paths()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    # Tests that use TLS make their own authority.
    options.accept_insecure_certs = True
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    try:
        driver.set_script_timeout(30)
        yield Browser(driver)
    finally:
        driver.quit()


def texts(elements: list[WebElement]) -> list[str]:
    return [element.text for element in elements]

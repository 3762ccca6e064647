"""Headless Chromium, driven by selenium: what the tests and pictures of pages look with."""

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@dataclass(frozen=True)
class Page:
    """What a browser made of a page: its width, its log, its requests, its title, its text."""

    scroll_width: int
    console: list[str]
    requests: list[str]
    title: str
    text: str


class Browser:
    """Headless Chromium with a new profile. Raises FileNotFoundError where there is none."""

    def __init__(self, profile: Path) -> None:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        driver = shutil.which("chromedriver")
        if chromium is None or driver is None:
            raise FileNotFoundError(
                "there is no Chromium with its driver here (Debian: apt install chromium-driver)"
            )
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            "--headless",
            # What a page keeps for offline is then in memory. On a disk that has less than 2 GB
            # left a browser keeps nothing.
            "--incognito",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._driver = webdriver.Chrome(options=options, service=Service(driver))
        self._driver.get("about:blank")

    def look(
        self,
        page: Path | str,
        width: int = 1280,
        scheme: str = "light",
        media: str = "",
        height: int = 900,
        scale: float = 1,
    ) -> Page:
        """Opens a file or an address in a window of so many pixels, with a fresh log."""
        driver = self._driver
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600},
        )
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        for log in ("browser", "performance"):
            driver.get_log(log)
        driver.get(page.as_uri() if isinstance(page, Path) else page)
        scroll_width = driver.execute_script("return document.documentElement.scrollWidth")
        events = [
            json.loads(entry["message"])["message"] for entry in driver.get_log("performance")
        ]
        return Page(
            scroll_width=scroll_width,
            console=[entry["message"] for entry in driver.get_log("browser")],
            requests=[
                event["params"]["request"]["url"]
                for event in events
                if event["method"] == "Network.requestWillBeSent"
            ],
            title=driver.title,
            text=driver.execute_script("return document.body.textContent"),
        )

    def picture(self) -> bytes:
        """What is in the window, as a PNG."""
        shot = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        return base64.b64decode(shot["data"])

    def run(self, script: str) -> Any:
        """The value that a script returns in the page."""
        return self._driver.execute_script(script)

    def complaints(self) -> list[str]:
        """What the log has got since it was last looked at."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def quit(self) -> None:
        """Ends the browser."""
        self._driver.quit()

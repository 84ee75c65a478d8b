"""Pages as people meet them: on a screen and a phone, light and dark, with and without sight; in headless Chromium.

axe-core says what keeps people out. Its rules are those of WCAG 2.1 A and AA, and its authors' best practices.

Source: https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md, by axe-playwright-python.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.helpers.browser import CHROMIUM

WIDTHS = (1400, 390)
SCHEMES = ("light", "dark")
_GRAVE = ("serious", "critical")
_UNFOLD = "document.querySelectorAll('details').forEach(fold => fold.open = true)"

# What fades in is hard to see on its way. A sheet of a script is let in by every Content-Security-Policy.
_REST = """() => {
    const still = new CSSStyleSheet()
    still.replaceSync("*, *::before, *::after { transition: none !important; animation: none !important }")
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, still]
}"""


@dataclass
class Look:
    """findings: what is seriously wrong, and in which view; requests: every address that the page asked for."""

    findings: list[str] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)

    @property
    def elsewhere(self) -> set[str]:
        """What was asked of any place but this machine's disk."""
        return {address for address in self.requests if urlsplit(address).scheme not in ("file", "data", "blob")}

    @property
    def size(self) -> int:
        """Bytes of the page and of all files that it loads."""
        files = {unquote(urlsplit(address).path) for address in self.requests if address.startswith("file:")}
        return sum(os.path.getsize(file) for file in files)


@contextmanager
def open_browser() -> Iterator[Any]:
    """One Chromium for many pages. Playwright allows one at a time in a process: a module's fixture, not the session's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def look_at(browser: Any, address: str, widths: Sequence[int] = WIDTHS) -> Look:
    """Opens a page light and dark, at each width, with all that folds unfolded."""
    look = Look()
    for scheme in SCHEMES:
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.on("request", lambda request: look.requests.add(request.url))
        page.goto(address)
        page.evaluate(_UNFOLD)
        page.evaluate(_REST)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            # The dark page differs by its colours alone.
            rules = [] if scheme == "light" else ["color-contrast"]
            look.findings += [f"{scheme}, {width} px: {text}" for text in grave_findings(page, rules)]
        context.close()
    return look


def grave_findings(page: Any, rules: Sequence[str] = ()) -> list[str]:
    """What axe-core calls serious or critical on a page of Playwright as it is now, and a page wider than its window.

    Args:
        rules: of axe-core; all by default.
    """
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    findings = [
        f"{rule['id']} ({rule['impact']}) at {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in Axe().run(page, options=options).response["violations"]
        for node in rule["nodes"]
        if rule["impact"] in _GRAVE
    ]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [*findings, *([f"the page scrolls sideways by {wide} px"] if wide > 0 else [])]

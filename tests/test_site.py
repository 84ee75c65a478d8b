"""The documentation builds strictly, without a network, and asks nothing of another machine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.accessibility import WIDTHS, look_at, open_browser
from tests.helpers.browser import CHROMIUM
from tests.helpers.prose import ROOT

# Attributes by which a browser loads something by itself; a link that a reader follows is none.
LOADED = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=["']?(https?:)?//[^"'>\s]+""")
MOST_BYTES = 600_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    # A proxy that nobody listens on: what would need a network fails.
    environment = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


def test_every_page_of_docs_is_in_the_site(site: Path) -> None:
    assert {page.with_suffix(".html").name for page in (ROOT / "docs").glob("*.md")} <= {
        p.name for p in site.glob("*.html")
    }


def test_no_page_loads_anything_from_another_machine(site: Path) -> None:
    outside = [
        (page.name, hit.group(0)) for page in site.rglob("*.html") for hit in LOADED.finditer(page.read_text("utf-8"))
    ]
    canonical = [hit for hit in outside if 'rel="canonical"' not in hit[1]]
    assert not canonical


def test_no_page_is_heavy(site: Path) -> None:
    heavy = {page.name: page.stat().st_size for page in site.rglob("*.html") if page.stat().st_size > MOST_BYTES}
    assert not heavy


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize(("name", "widths"), [("index", WIDTHS), ("report", WIDTHS), ("reference", WIDTHS[1:])])
def test_a_page_keeps_nobody_out_and_asks_nobody(name: str, widths: tuple[int, ...], site: Path, browser: Any) -> None:
    """The reference is too long to be looked at twice."""
    look = look_at(browser, (site / f"{name}.html").as_uri(), widths)
    assert not look.findings, "\n".join(look.findings)
    assert not look.elsewhere


def test_the_python_page_shows_what_a_function_takes(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    assert "from_pretrained" in page and "batch_tokens" in page and "Raises" in page

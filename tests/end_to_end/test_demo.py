"""The demo page as a visitor uses it, in headless Chromium: examples, bars, a swap, style off, a telephone, a report."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from reward_model.api import RewardModel
from reward_model.publish.demo.examples import EXAMPLES
from tests.helpers.browser import CHROMIUM
from tests.helpers.run_directories import make_run

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "arena_data" / "sample.csv"
BATTLE = (
    "What is 2 + 2? <script>document.title='broken'</script>",
    "Four ${document.title='broken'} {{constructor.constructor('document.title=1')()}}",
    "- Five!\n- <b onclick=x>Or six!</b> ![x](https://evil.example/x.png) [y](javascript:document.title='broken')",
)

# Elements whose text is wider than their box, and the sizes of all letters, in pixels.
CUT = """[...document.querySelectorAll("#result :is(span, td, th, p, h2)")]
  .filter((element) => element.clientWidth && element.scrollWidth > element.clientWidth + 1)
  .map((element) => element.outerHTML)"""
SIZES = (
    """[...document.querySelectorAll("#result *")].map((element) => parseFloat(getComputedStyle(element).fontSize))"""
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", model_type="adapter", outcomes="four")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server puts all that is temporary."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def address(run: Path, kept: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "reward_model", "demo", str(run), "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_PROXY": "*", "TMPDIR": str(kept)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 240
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                        break
                except OSError:
                    assert server.poll() is None and time.monotonic() < deadline
                    time.sleep(0.3)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, opened; nothing that it does while it is open asks another machine for anything."""
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(60_000)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.wait_for_selector(".bars")
    yield page
    page.close()
    assert len(requests) > 10
    assert {urlsplit(url).netloc for url in requests if url.startswith("http")} == {urlsplit(address).netloc}


def test_foreign_pages_and_names_are_refused(address: str) -> None:
    def status(**headers: str) -> int:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{address}/config", headers=headers), timeout=30
            ) as page:
                return int(page.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == 200 and status(Origin=address) == 200
    assert status(Host="rebound.evil.example") == 403 and status(Origin="http://evil.example") == 403


def test_a_report_ends_when_its_visitor_leaves(address: str, kept: Path) -> None:
    api = f"{address}/gradio_api"
    upload = (
        b'--cut\r\nContent-Disposition: form-data; name="files"; filename="battles.csv"\r\n\r\n'
        + SAMPLE.read_bytes()
        + b"\r\n--cut--\r\n"
    )
    [path] = asked(f"{api}/upload", upload, "multipart/form-data; boundary=cut")
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    report = next(
        n for n, call in enumerate(asked(f"{address}/config")["dependencies"]) if call["api_name"] == "report"
    )
    join = {"data": [file], "fn_index": report, "session_hash": "leaves"}
    asked(f"{api}/queue/join", json.dumps(join).encode(), "application/json")
    with urllib.request.urlopen(f"{api}/queue/data?session_hash=leaves", timeout=60) as events:
        while b"process_generating" not in events.readline():
            pass  # the report is being made
    deadline = time.monotonic() + 60
    while files := [file for file in kept.rglob("*") if file.is_file() and file.suffix in (".csv", ".arrow", ".html")]:
        assert time.monotonic() < deadline, files
        time.sleep(0.3)


def test_every_answer_tells_the_browser_to_ask_no_other_machine(address: str) -> None:
    with urllib.request.urlopen(f"{address}/", timeout=30) as page:
        policy = page.headers["content-security-policy"]
    assert "default-src 'self' data: blob:" in policy and "http" not in policy


def test_a_visit(run: Path, address: str, page: Any, tmp_path: Path) -> None:
    model = RewardModel.from_pretrained(run, device="cpu")
    check_comparison(page, model, EXAMPLES[0][1:])  # there without a click
    widths = [bar.bounding_box()["width"] for bar in page.locator(".bars .bar").all()]
    np.testing.assert_allclose(np.divide(widths, sum(widths)), np.divide(shares(page), 100), atol=0.01)
    picture = tmp_path / "demo.png"
    page.screenshot(path=picture)
    with Image.open(picture) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    assert {(0, 0x72, 0xB2), (0xD5, 0x5E, 0), (0x8B, 0x8F, 0x96)} <= colours  # the three bars are there to see

    page.get_by_role("button", name=EXAMPLES[4].label).click()
    check_comparison(page, model, EXAMPLES[4][1:])
    assert page.locator("#response_a textarea").input_value() == EXAMPLES[4].a
    for name, text in zip(("prompt", "response_a", "response_b"), BATTLE, strict=True):
        page.locator(f"#{name} textarea").fill(text)
    page.get_by_role("button", name="Compare").click()
    check_comparison(page, model, BATTLE)
    assert "the order changes nothing" in page.locator(".swap").inner_text()
    assert BATTLE[1] in page.locator(".card.a").inner_text() and page.locator(".card.b li").count() == 2
    assert page.locator("#result :is(b, img, script, [onclick], a[href^=javascript])").count() == 0

    before = shares(page)
    page.get_by_role("button", name="Swap A and B").click()
    check_comparison(page, model, (BATTLE[0], BATTLE[2], BATTLE[1]))
    np.testing.assert_allclose(shares(page), before[::-1], atol=0.11)
    assert page.locator("#response_b textarea").input_value() == BATTLE[1]

    assert "all style" in page.locator(".style").inner_text()
    page.locator("#style input").uncheck()
    page.wait_for_selector("#result .style", state="detached")
    assert shares(page) != before[::-1]
    assert page.title() == "Which response do people prefer?"


def test_on_a_telephone_in_the_dark_nothing_is_cut(page: Any) -> None:
    assert ink(page) == "rgb(27, 29, 33)" and page.locator("html").get_attribute("lang") == "en"
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    page.wait_for_selector(".bars")
    assert ink(page) == "rgb(232, 233, 236)" and page.locator("h1").count() == 1
    a, b = (page.locator(f".card.{side}").bounding_box() for side in "ab")
    assert a["y"] + a["height"] < b["y"]  # one response below the other
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(CUT) == [] and min(page.evaluate(SIZES)) >= 12


def test_a_file_of_battles(page: Any, kept: Path, tmp_path: Path) -> None:
    wrong, few = tmp_path / "wrong.csv", tmp_path / "few.csv"
    wrong.write_text("a,b\n1,2\n")
    few.write_bytes(b"\n".join(SAMPLE.read_bytes().split(b"\n")[:41]) + b"\n")
    ask_for_report(page, wrong)
    said = page.get_by_text("missing column").first.inner_text()
    assert said.startswith("wrong.csv, column")  # and not where the server keeps it
    page.reload()
    ask_for_report(page, few)
    frame = page.frame_locator("#report iframe")
    frame.get_by_role("heading", name="Can this model be trusted?").wait_for()
    assert frame.locator(".lead").inner_text().startswith("This model is ")
    page.locator("#saved", has_text="report").wait_for()
    assert not list(kept.rglob("few.csv"))


def check_comparison(page: Any, model: RewardModel, battle: tuple[str, str, str]) -> None:
    """Waits until the page shows the battle, then compares its numbers with the API's."""
    word = re.findall(r"\w+", battle[1])[0]  # without its Markdown
    page.locator("#result .card.a .response", has_text=word).wait_for()
    page.locator("#result .asked", has_text=battle[0][:20]).wait_for()
    a, b, tie = model.compare(*battle)
    np.testing.assert_allclose(shares(page), [100 * a, 100 * tie, 100 * b], atol=0.06)
    for side, text in zip("ab", battle[1:], strict=True):
        facts = page.locator(f".card.{side} .facts").inner_text()
        reward, usable = facts.removeprefix("reward ").split(" · usable ")
        assert float(reward.replace("−", "-")) == pytest.approx(model.reward(battle[0], text), abs=0.006)
        assert float(usable.removesuffix(" %")) == pytest.approx(100 * model.usable(battle[0], text), abs=0.06)


def asked(url: str, content: bytes | None = None, kind: str = "") -> Any:
    with urllib.request.urlopen(
        urllib.request.Request(url, content, {"Content-Type": kind} if kind else {}), timeout=60
    ) as answer:
        return json.load(answer)


def ink(page: Any) -> str:
    return str(page.locator("#result").evaluate("element => getComputedStyle(element).color"))


def ask_for_report(page: Any, file: Path) -> None:
    page.get_by_role("tab", name="A file of battles").click()
    page.set_input_files("#battles input[type=file]", file)
    page.locator("#battles", has_text=file.stem).wait_for()
    page.locator("#make_report").click()


def shares(page: Any) -> list[float]:
    """The percentages that the page shows, A, tie, B."""
    shown = re.findall(r"([\d.]+) %", page.locator(".bars").inner_text())
    assert len(shown) == 3
    return [float(value) for value in shown]

"""The pages that this project writes keep nobody out, load nothing and are light; the site's are in tests/test_site.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import markdown
import numpy as np
import pytest
from scipy.special import log_softmax

from arena_data.exploration.report import render
from arena_data.exploration.statistics import describe
from arena_data.loading import load_battles
from reward_model import leaderboard
from reward_model.audit.audit import audit
from reward_model.audit.card import card_of
from reward_model.calibration.calibration import Calibration
from reward_model.report.audit_card import render_card
from reward_model.report.data import ReportData
from reward_model.report.page import render_report, report_json
from reward_model.run_directory.model_card import model_card
from reward_model.run_directory.settings import RewardModelConfig
from tests.helpers.accessibility import look_at, open_browser
from tests.helpers.browser import CHROMIUM
from tests.helpers.prose import ROOT
from tests.reward_model.report.test_page import by_length

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
MOST_BYTES = 600_000
PAGES = ("report", "audit", "battles", "ranking", "card")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each kind, about the sample."""
    folder = tmp_path_factory.mktemp("pages")
    battles = load_battles(ROOT / "arena_data" / "sample.csv", labels="required")
    assert isinstance(battles, datasets.Dataset)
    log_probs = by_length(battles)
    audited = audit(battles, log_probs, by_length, max_battles=25, progress=False)
    peers = {"length": log_softmax(0.5 * log_probs, axis=1)}
    cut = np.arange(len(battles)) % 3 == 0
    data = ReportData(
        battles, log_probs, log_softmax(3 * log_probs, axis=1), truncated=cut, peers=peers,
        audit=audited, audit_style_off=audited, facts={"model": "by length"},
    )  # fmt: skip
    settings = RewardModelConfig("separate", "davidson", 256, "tiny", "full", "score", True)
    card = model_card(settings, Calibration(), {"log_loss": 1.09, "prior": [0.4, 0.3, 0.3]}, pictures=())
    written = {
        "report": render_report(data, report_json(data)),
        "audit": render_card(card_of("by length", None, audited, audited)),
        "battles": render(describe(battles, num_proc=1, progress=False), ["sample.csv"]),
        "ranking": leaderboard(battles).page(),
        "card": as_html(card),
    }
    assert set(written) == set(PAGES)
    for name, page in written.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


def as_html(card: str) -> str:
    """A model card as a hub shows it, without the hub's own frame."""
    body = markdown.markdown(card.split("\n---\n", 1)[1], extensions=["tables", "fenced_code"])
    style = "<style>pre { white-space: pre-wrap; overflow-wrap: anywhere }</style>"
    return f'<!doctype html><html lang="en"><title>Model card</title>{style}<main>{body}</main></html>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_nobody_out_loads_nothing_and_is_light(name: str, pages: Path, browser: Any) -> None:
    address = (pages / f"{name}.html").as_uri()
    look = look_at(browser, address)
    assert not look.findings, "\n".join(look.findings)
    assert look.requests == {address}
    assert look.size < MOST_BYTES


def test_what_keeps_people_out_is_found(tmp_path: Path, browser: Any) -> None:
    """The check above can fail: pale text, a picture without words, a page wider than a phone, a request."""
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><html lang="en"><title>x</title><main><h1>x</h1><p style="color:#ccc;width:500px">pale</p>'
        '<img src="http://127.0.0.1:9/x.png"></main></html>'
    )
    look = look_at(browser, page.as_uri())
    assert {"color-contrast", "image-alt", "the"} <= {finding.split(": ")[1].split()[0] for finding in look.findings}
    assert look.elsewhere == {"http://127.0.0.1:9/x.png"}

"""The report: its figures equal hand-computed ones, and its page holds whatever the data holds, safely."""

import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix
from sklearn.metrics import log_loss as sklearn_log_loss

from arena_data.loading import load_battles
from arena_data.schema import FEATURES
from reward_model.audit.audit import audit
from reward_model.report.data import ReportData
from reward_model.report.page import render_report, report_json, write_report
from reward_model.report.text import number_text, points_text, signed
from tests.helpers.browser import CHROMIUM, visit

Battles = datasets.Dataset
SCRIPT = "<script>document.title='broken'</script><img src=leak.png>"


def by_length(battles: Battles) -> np.ndarray:
    lengths = [[sum(len(turn or "") for turn in turns) for turns in battles[f"response_{side}"]] for side in "ab"]
    margin = 0.4 * (np.log1p(lengths[0]) - np.log1p(lengths[1]))
    return log_softmax(np.stack([margin / 2, -margin / 2, np.full(len(margin), -0.3)], axis=1), axis=1)


@pytest.fixture(scope="module")
def battles() -> Battles:
    loaded = load_battles("arena_data/sample.csv", labels="required")
    assert isinstance(loaded, Battles)
    return loaded


@pytest.fixture(scope="module")
def data(battles: Battles) -> ReportData:
    log_probs = by_length(battles)
    prior = np.log(np.tile([0.3, 0.3, 0.4], (len(battles), 1)))
    audited = audit(battles, log_probs, by_length, max_battles=25, progress=False)
    return ReportData(
        battles, log_probs, log_softmax(3 * log_probs, axis=1), truncated=np.arange(len(battles)) % 3 == 0,
        peers={"class prior": prior, "length": log_softmax(0.5 * log_probs, axis=1)},
        audit=audited, audit_style_off=audited, facts={"model": "<b>by length</b>"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def figures(data: ReportData) -> dict[str, Any]:
    """Having passed through strict JSON: a NaN, or a number that is not a plain one, fails here."""
    return json.loads(json.dumps(report_json(data), allow_nan=False))


def test_quality_agrees_with_scikit_learn(data: ReportData, figures: dict[str, Any]) -> None:
    seen = data.verdicts.argmax(axis=1)
    losses = {
        name: sklearn_log_loss(seen, np.exp(log_probs), labels=[0, 1, 2])
        for name, log_probs in {"own": data.log_probs, "raw": data.log_probs_raw, **data.peers}.items()
    }
    quality = figures["quality"]
    assert quality["metrics"]["log_loss"]["value"] == pytest.approx(losses["own"])
    assert quality["before_calibration"]["gain"]["value"] == pytest.approx(losses["raw"] - losses["own"])
    assert quality["peers"]["class prior"]["log_loss"]["value"] == pytest.approx(losses["class prior"])
    assert quality["peers"]["length"]["gain"]["value"] == pytest.approx(losses["length"] - losses["own"])
    assert figures["confusion"]["battles"] == confusion_matrix(seen, data.log_probs.argmax(axis=1)).tolist()


def test_slices_cover_all_battles_and_average_to_the_whole(data: ReportData, figures: dict[str, Any]) -> None:
    whole = figures["quality"]["metrics"]["log_loss"]["value"]
    for kind in ("length", "turns", "language", "truncated"):
        rows = figures["slices"][kind]
        counts = np.array([row["log_loss"]["battles"] for row in rows])
        assert counts.sum() == len(data.battles), kind
        assert counts @ [row["log_loss"]["value"] for row in rows] / counts.sum() == pytest.approx(whole), kind
    cut = next(row for row in figures["slices"]["truncated"] if row["name"] == "cut to fit")
    assert cut["log_loss"]["battles"] == 100
    names = {frozenset(pair) for pair in zip(data.battles["model_a"], data.battles["model_b"], strict=True)}
    assert all(frozenset(row["name"].split(" – ")) in names for row in figures["slices"]["pair"])


def test_surprising_battles_are_those_of_the_highest_loss(data: ReportData, figures: dict[str, Any]) -> None:
    losses = -(data.verdicts * data.log_probs).sum(axis=1)
    shown = figures["surprising"]
    assert [row["loss"] for row in shown] == pytest.approx(np.sort(losses)[::-1][:20])
    assert all(data.battles[row["row"]]["id"] == row["id"] for row in shown)


def test_ranking_by_perfect_predictions_is_that_of_people(battles: Battles) -> None:
    verdicts = np.array(list(battles["verdict"]))
    sure = np.log(np.clip(verdicts, 1e-9, 1))
    ranking = report_json(ReportData(battles, sure))["ranking"]
    assert ranking["kendall_tau"] == pytest.approx(1)
    assert all(row["people"]["rank"] == row["predicted"]["rank"] for row in ranking["models"])


def test_calibration_curves_hold_every_battle(data: ReportData, figures: dict[str, Any]) -> None:
    for place, label in enumerate(("A", "B", "tie")):
        points = figures["calibration"]["after"]["curves"][label]
        counts = np.array([point["seen"]["battles"] for point in points])
        assert counts.sum() == len(data.battles)
        assert counts @ [p["seen"]["value"] for p in points] == pytest.approx(data.verdicts[:, place].sum())
    errors = {stage: figures["calibration"][stage]["errors"]["classwise_calibration_error"]["value"] for stage in
              ("before", "after")}  # fmt: skip
    assert errors["before"] > errors["after"]


def battle(**fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(FEATURES) | {
        "prompt": ["hi"],
        "response_a": ["one two"],
        "response_b": ["three"],
    }
    row |= {"model_a": "x", "model_b": "y", "verdict": [1.0, 0.0, 0.0], "oddities": [], "id": "1"} | fields
    return row | {"group": str(row["prompt"])}


TIE = [0.0, 0.0, 1.0]
WORST: dict[str, list[dict[str, Any]]] = {
    "one row": [battle()],
    "no names": [battle(model_a=None), battle(model_b=None, verdict=TIE)] * 3,
    "only ties": [battle(verdict=TIE, response_a=["x" * length]) for length in range(30)],
    "soft": [battle(verdict=[0.2, 0.3, 0.5]), battle(prompt=["?"], verdict=[0.5, 0.5, 0.0])],
    "no turns": [battle(prompt=[], response_a=[], response_b=[None])],
    "strange": [
        battle(model_a="模型" * 40, model_b="$x_$\n\x07 نموذج", language="日本語", prompt=["a\ud800"[:1]]),
        battle(),
    ],
    "hostile": [battle(prompt=[SCRIPT], response_a=[SCRIPT], model_a=SCRIPT, language=SCRIPT, id=SCRIPT), battle()],
    "long": [battle(response_a=["word " * 100_000])] * 2,
}


@pytest.mark.parametrize("name", WORST)
@pytest.mark.filterwarnings("error")
def test_worst_battles_make_a_page_without_a_warning(name: str) -> None:
    rows = Battles.from_list(WORST[name], features=FEATURES)
    log_probs = by_length(rows)
    audited = audit(rows, log_probs, by_length, max_battles=5, progress=False)
    for data in (
        ReportData(rows, log_probs),
        ReportData(rows, log_probs, log_probs, peers={"p": log_probs}, audit=audited),
    ):
        figures = json.loads(json.dumps(report_json(data), allow_nan=False))
        page = render_report(data, figures)
        assert page.rstrip().endswith("</html>") and ">nan" not in page.lower() and "nan %" not in page
        # One script, that of the tables: the policy names its hash.
        assert page.lower().count("<script") == 1 and "<img" not in page.lower() and len(page) < 2_000_000
        identifiers = re.findall(r'\bid="([^"]*)"', page)
        assert len(identifiers) == len(set(identifiers))


def test_page_stands_alone(data: ReportData, figures: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report(page, data, figures)
    text = page.read_text()
    assert "&lt;b&gt;by length&lt;/b&gt;" in text and "<b>" not in text
    assert not re.search(r"""(src|href)=["'](?!#)""", text) and "@import" not in text and "url(h" not in text
    assert text.count("<details>") == 20 and text.count("<svg") > 12
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    regions = re.findall(r'<div class="(?:scroll[^"]*|text)"[^>]*>', text)  # what scrolls must be reached by keyboard
    assert len(regions) > 60 and all('tabindex="0"' in tag and "aria-label" in tag for tag in regions)
    linked = set(re.findall(r'href="#([^"]*)"', text)) | set(re.findall(r'aria-labelledby="([^"]*)"', text))
    assert linked <= set(re.findall(r'\bid="([^"]*)"', text))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_nothing_runs_and_nothing_leaves_the_page(tmp_path: Path) -> None:
    rows = Battles.from_list(WORST["hostile"], features=FEATURES)
    data = ReportData(rows, by_length(rows), audit=audit(rows, by_length(rows), by_length, progress=False))
    page = tmp_path / "report.html"
    write_report(page, data, report_json(data))
    seen = visit(page, tmp_path / "profile")
    assert "<title>Can this model be trusted?</title>" in seen.dom and "<svg" in seen.dom
    assert "&lt;script&gt;" in seen.dom and not seen.console and seen.requests == ["/report.html"]
    # The same words as markup, without the page's policy, do run and do ask: the check above can fail.
    page.write_text(f"<title>whole</title>{SCRIPT}")
    seen = visit(page, tmp_path / "profile")
    assert "<title>broken</title>" in seen.dom and "/leak.png" in seen.requests


def test_wrong_data_are_refused(battles: Battles) -> None:
    log_probs = by_length(battles)
    unlabelled = Battles.from_list([battle(verdict=None)], features=FEATURES)
    for wrong in (
        lambda: ReportData(unlabelled, log_probs[:1]),
        lambda: ReportData(battles, log_probs[1:]),
        lambda: ReportData(battles, np.full_like(log_probs, np.nan)),
        lambda: ReportData(battles, log_probs, peers={"p": log_probs[:, :2]}),
        lambda: ReportData(battles, log_probs, truncated=np.zeros(2, bool)),
    ):
        with pytest.raises(ValueError, match=r"report needs|expected"):
            wrong()


def test_numbers_are_written_plainly() -> None:
    estimate = {"value": -0.0431, "low": -0.05, "high": 0.0004, "battles": 9}
    assert points_text(estimate).replace("\N{NO-BREAK SPACE}", " ") == "−4.3 (−5.0 to 0.0)"
    assert number_text({"value": 1.0, "low": None, "high": None, "battles": 1}) == "1.000"
    assert signed(-0.01) == "0.0" and signed(0.3) == "+0.3" and signed(None) == "–"

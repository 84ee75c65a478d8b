"""The exploration page: its figures equal hand-computed ones, its page holds whatever the data holds, safely."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from statsmodels.discrete.conditional_models import ConditionalLogit

from arena_data.__main__ import main
from arena_data.exploration.measurements import count_words
from arena_data.exploration.ranking import rank_models
from arena_data.exploration.report import render
from arena_data.exploration.shares import share
from arena_data.exploration.statistics import describe
from arena_data.schema import FEATURES
from arena_data.webpage.drawing import shorten
from tests.helpers.browser import CHROMIUM, visit

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "arena" / "train.csv"
A, B, TIE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def battle(**fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(FEATURES) | {
        "prompt": ["hi"],
        "response_a": ["one two"],
        "response_b": ["three"],
        "model_a": "x",
        "model_b": "y",
        "verdict": A,
        "oddities": [],
    }
    row |= fields
    return row | {"group": row["group"] or str(row["prompt"])}


def dataset(rows: list[dict[str, Any]]) -> datasets.Dataset:
    columns = {name: [row[name] for row in rows] for name in FEATURES}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def figures_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures, having passed through strict JSON: a NaN, or a number that is not a plain one, fails here."""
    figures = describe(dataset(rows), num_proc=1, progress=False)
    return json.loads(json.dumps(figures, allow_nan=False))


def test_figures_equal_hand_computed_ones() -> None:
    figures = figures_of(
        [
            battle(),
            battle(model_a="y", model_b="x", verdict=B, response_a=["a"], response_b=["long answer"], language="en"),
            battle(verdict=TIE, prompt=["hi", "再见"], response_b=["one two"], oddities=["identical_responses"]),
            battle(verdict=B, model_b="z", response_a=["1234567890"], response_b=["1"]),
        ]
    )
    assert [figures["overview"]["verdicts"][label]["count"] for label in ("A", "B", "tie")] == [1, 2, 1]
    assert figures["overview"]["verdicts"]["B"]["share"] == 0.5
    records = {record["model"]: record for record in figures["models"]["records"]}
    assert [records["x"][key] for key in ("battles", "wins", "losses", "ties")] == [4, 2, 1, 1]
    assert [records["y"][key] for key in ("battles", "wins", "losses", "ties")] == [3, 0, 2, 1]
    assert records["x"]["win_loss_ratio"] == 2 and records["z"]["win_loss_ratio"] is None
    assert records["x"]["decided_win_share_as_a"]["share"] == 0.5
    assert records["x"]["decided_win_share_as_b"]["share"] == 1
    assert figures["models"]["pairs"][0] == {
        "models": ["x", "y"],
        "battles": 3,
        "first_wins": 2,
        "second_wins": 0,
        "ties": 1,
    }
    assert figures["models"]["heat_map"] == {"models": ["x", "y", "z"], "battles": [[0, 3, 1], [3, 0, 0], [1, 0, 0]]}
    assert figures["turns"]["single"]["share"] == 0.75 and figures["turns"]["counts"] == {"1": 3, "2": 1}
    assert figures["lengths"]["characters"]["response_a"]["mean"] == (7 + 1 + 7 + 10) / 4
    assert figures["lengths"]["words"]["prompt"]["mean"] == (1 + 1 + 3 + 1) / 4
    # Decided: the longer won, won, (tie of equal lengths), lost.
    assert figures["verbosity"]["longer_wins"]["count"] == 2 and figures["verbosity"]["longer_wins"]["of"] == 3
    assert figures["verbosity"]["ties_when_near"]["share"] == 1
    assert figures["position"]["a_among_decided"]["share"] == pytest.approx(1 / 3)
    assert figures["repeats"]["identical_responses"] == 1
    assert figures["repeats"]["distinct_prompts"] == 2
    assert {row["language"]: row["battles"]["count"] for row in figures["languages"]} == {"not recorded": 3, "en": 1}
    assert next(row for row in figures["oddities"] if row["battles"])["oddity"] == "identical_responses"


def test_soft_verdicts_count_by_their_fractions() -> None:
    figures = figures_of([battle(verdict=[0.5, 0.25, 0.25]), battle(verdict=TIE)])
    assert figures["overview"]["soft_verdicts"] == 1
    assert [figures["overview"]["verdicts"][label]["share"] for label in ("A", "B", "tie")] == [0.25, 0.125, 0.625]
    assert figures["models"]["records"][0]["wins"] == 0.5


def test_duplicates_are_counted_exact_and_swapped() -> None:
    swapped = battle(response_a=["three"], response_b=["one two"])
    figures = figures_of([battle(), battle(), swapped, battle(prompt=["?"])])
    assert figures["repeats"]["duplicate_battles"] == 1
    assert figures["repeats"]["swapped_duplicates"] == 1
    assert figures["repeats"]["most_repeated_prompts"] == [{"prompt": "hi", "battles": 3}]


def test_self_praise_is_judged_where_one_of_two_does() -> None:
    praise = ["My answer is the best answer. Choose my answer over the other."]
    figures = figures_of([battle(response_a=praise, verdict=B), battle(response_b=praise), battle(verdict=TIE)])
    trait = figures["self_promotion"]["self_praise"]
    assert trait["one_of_two"]["battles"] == 2
    assert trait["one_of_two"]["won"]["count"] == 0 and trait["one_of_two"]["lost"]["count"] == 2
    assert trait["neither"]["tie"]["share"] == 1


def test_words_are_counted_without_spaces_too() -> None:
    assert count_words("") == 0
    assert count_words(" one\ttwo\n") == 2
    assert count_words("日本 go") == 3


def test_wilson_interval_is_the_textbook_one() -> None:
    z = 1.959963984540054
    centre, spread = (0.3 + z * z / 20) / (1 + z * z / 10), z / (1 + z * z / 10) * math.sqrt(0.021 + z * z / 400)
    interval = share(3, 10)
    assert [interval["low"], interval["high"]] == pytest.approx([centre - spread, centre + spread])
    assert share(0, 0)["share"] is None


def synthetic(models: int, battles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    strengths = np.linspace(-1.5, 1.5, models)
    side_a = random.integers(models, size=battles)
    side_b = (side_a + 1 + random.integers(models - 1, size=battles)) % models
    margin = (strengths[side_a] - strengths[side_b] + 0.3) / 2
    weights = np.exp(np.stack([margin, -margin, np.full(battles, -0.2)], axis=1))
    chosen = (random.random((battles, 1)) > (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)).sum(axis=1)
    return side_a, side_b, np.eye(3)[chosen.clip(max=2)]


def test_ranking_agrees_with_statsmodels() -> None:
    models, battles = 4, 600
    side_a, side_b, verdicts = synthetic(models, battles)
    rows = np.arange(battles)
    design = np.zeros((battles, 3, models + 2))  # models, position, tie; the first model's column is dropped below
    design[rows, 0, side_a], design[rows, 0, side_b] = 0.5, -0.5
    design[rows, 1] = -design[rows, 0]
    design[:, 0, models], design[:, 1, models], design[:, 2, models + 1] = 0.5, -0.5, 1
    oracle = ConditionalLogit(verdicts.ravel(), design.reshape(3 * battles, -1)[:, 1:], groups=np.repeat(rows, 3))
    expected = oracle.fit(disp=False)
    ranking = rank_models(side_a, side_b, verdicts, models, prior_sd=100)
    strengths = np.concatenate([[0], expected.params[: models - 1]])
    np.testing.assert_allclose(ranking.strength, strengths - strengths.mean(), atol=0.01)
    assert ranking.position[0] == pytest.approx(expected.params[models - 1], abs=0.01)
    reach = (ranking.position[2] - ranking.position[0]) / 1.96
    assert reach == pytest.approx(expected.bse[models - 1], rel=0.02)


def test_ranking_finds_the_strongest_and_survives_a_model_that_never_loses() -> None:
    side_a, side_b, verdicts = synthetic(6, 500)
    ranking = rank_models(side_a, side_b, verdicts, 6)
    assert ranking.strength.argmax() == 5 and ranking.strength.argmin() == 0
    assert ranking.low[5] > ranking.high[0]
    lone = rank_models(np.array([0, 2]), np.array([1, 3]), np.array([A, A]), 4)
    assert lone.strength[0] > lone.strength[1] and np.isfinite(lone.high).all()
    assert lone.islands == 2


WORST: dict[str, list[dict[str, Any]]] = {
    "no rows": [],
    "one row": [battle()],
    "no names, no labels": [battle(model_a=None, model_b=None, verdict=None)] * 3,
    "no labels": [battle(verdict=None), battle(verdict=None, model_b="z")],
    "no ties": [battle(), battle(verdict=B, response_a=["much longer than the other"])] * 3,
    "some names": [battle(model_a=None), battle()],
    "one model": [battle(model_b="x")] * 2,
    "only ties": [battle(verdict=TIE, response_a=["x" * length]) for length in range(20)],
    "no turns": [battle(prompt=[], response_a=[], response_b=[None])],
    "a megabyte": [battle(response_a=["x" * 1_000_000], response_b=["y " * 500_000])],
    "strange names": [battle(model_a="模型" * 40, model_b="$x_$\n\x07 نموذج 🦙"), battle(language="日本語"), battle()],
    "many models": [battle(model_a=f"m{n}", model_b=f"m{n + 1}", verdict=[A, B, TIE][n % 3]) for n in range(250)],
}


@pytest.mark.parametrize("name", WORST)
@pytest.mark.filterwarnings("error")
def test_worst_inputs_make_a_page_without_a_warning(name: str) -> None:
    figures = figures_of(WORST[name])
    page = render(figures, ["battles.csv"])
    assert page.rstrip().endswith("</html>")
    assert ">nan" not in page.lower() and "nan %" not in page
    identifiers = re.findall(r'\bid="([^"]*)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert len(figures["models"]["heat_map"]["models"]) <= 40
    if name == "no labels":
        assert "No row has a verdict" in page
    if name == "one row":
        assert "language of a battle is not recorded" in page
    if name == "many models":
        assert "m249" in page and figures["models"]["models"] == 251


def test_long_and_wide_labels_are_cut() -> None:
    assert shorten("a" * 30, 10) == "a" * 9 + "…"
    assert len(shorten("模" * 30, 10)) <= 5
    assert shorten("a\n b", 10) == "a b"


SCRIPT = "<script>document.title='broken'</script>"


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "battles.jsonl"
    row = {"prompt": [SCRIPT], "response_a": [SCRIPT], "response_b": ["b"], "model_a": SCRIPT, "model_b": "<b>&amp;"}
    extra = {"prompt": ["?"], "response_a": ["c"], "response_b": ["d"], "model_a": SCRIPT, "model_b": "z"}
    rows = [row | {"winner": "model_a"}, row | {"winner": "tie", "response_b": ["e"]}, extra | {"winner": "model_b"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in rows))
    yield file


def test_command_writes_page_and_json(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "eda.html"
    assert main([str(hostile), "--report", str(page), "--json", "--num_proc", "1"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["overview"]["battles"] == 3
    assert "A 33.3 %" in output.err and "3 models" in output.err and str(page) in output.err
    text = page.read_text()
    assert text.lower().count("<script") == 1 and "&lt;script&gt;" in text  # the one that sorts tables
    assert not re.search(r"""(src|href)=["'](?!#)""", text) and "@import" not in text and "url(h" not in text
    assert {path.name for path in tmp_path.iterdir()} == {"battles.jsonl", "eda.html"}


def test_bad_input_is_one_line_and_exit_2(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("id,prompt\n1,hi\n")
    (tmp_path / "file").write_text("")
    wrong = [
        [str(broken), "--report", str(tmp_path / "a.html")],
        [str(tmp_path / "absent.csv"), "--report", str(tmp_path / "a.html")],
        [str(hostile), "--report", str(tmp_path / "absent" / "a.html")],
        [str(hostile), "--report", str(tmp_path / "file" / "a.html")],
        [str(hostile), "--report", str(tmp_path)],
        [str(hostile), "--report", str(hostile)],
    ]
    before = hostile.read_bytes()
    for arguments in wrong:
        assert main(arguments) == 2
        output = capsys.readouterr()
        assert output.out == ""
        lines = output.err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), output.err
    assert hostile.read_bytes() == before and not (tmp_path / "a.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_page_opens_in_a_browser_without_script_or_request(hostile: Path, tmp_path: Path) -> None:
    page = tmp_path / "eda.html"
    assert main([str(hostile), "--report", str(page), "--num_proc", "1"]) == 0
    seen = visit(page, tmp_path / "profile")
    assert "<title>Battles at a glance</title>" in seen.dom and "<svg" in seen.dom
    assert "&lt;script&gt;" in seen.dom and seen.dom.count("<script") == 1
    assert not seen.console  # a script's error, or a request that the page's policy refused
    assert seen.requests == ["/eda.html"]


@pytest.mark.skipif(not REAL.exists(), reason="no real data here")
def test_real_battles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "eda.html"
    assert main([str(REAL), "--report", str(page)]) == 0
    assert "964 battles; A 34.2 %, B 34.4 %, tie 31.3 %; 64 models" in capsys.readouterr().err
    text = page.read_text()
    assert all(f"<dd>{value}</dd>" in text for value in ("964", "64", "34.2 %", "34.4 %", "31.3 %"))

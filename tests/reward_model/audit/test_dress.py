"""Best of n under dress: what a lover of dress picks, what a judge of content picks, and the limit that a card sets."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from scipy.special import softmax

from arena_data.errors import InputError
from arena_data.loading import load_battles
from reward_model.__main__ import main
from reward_model.audit.card import card_of, check_sway, model_fingerprint, write_card
from reward_model.audit.counterfactuals import FLATTERY, flattering
from reward_model.audit.dress import DRESSES, in_full_dress, picked_dressed
from reward_model.audit.judge import audit_judge
from reward_model.cli import audit as command
from reward_model.report.audit_card import card_lines, render_card

Battles = datasets.Dataset
SAMPLE = "arena_data/sample.csv"


def by(reward: Any, battles: Battles) -> np.ndarray:
    """Probabilities of a swap-exact judge with this reward of a text."""
    margin = np.array(
        [
            reward("\n".join(turn or "" for turn in a)) - reward("\n".join(turn or "" for turn in b))
            for a, b in zip(battles["response_a"], battles["response_b"], strict=True)
        ]
    )
    return softmax(np.stack([margin / 2, -margin / 2, np.zeros(len(margin))], axis=1), axis=1)


def indifferent(battles: Battles) -> np.ndarray:
    return np.tile([0.4, 0.4, 0.2], (len(battles), 1))


def likes_flattery(battles: Battles) -> np.ndarray:
    return by(lambda text: 2.0 * (FLATTERY in text), battles)


def likes_plain(battles: Battles) -> np.ndarray:
    return by(lambda text: -len(text) / 100, battles)


def likes_a(battles: Battles) -> np.ndarray:
    return np.tile([0.7, 0.1, 0.2], (len(battles), 1))


@pytest.fixture(scope="module")
def battles() -> Battles:
    loaded = load_battles(SAMPLE, labels="required")
    assert isinstance(loaded, Battles)
    return loaded.select(range(120))


def audited(judge: Any, battles: Battles) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(json.dumps(audit_judge(judge, battles, 30), allow_nan=False))
    return figures


def dresses(figures: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in figures["dress"]["dresses"]}


def test_an_indifferent_judge_picks_by_chance_and_is_not_swayed(battles: Battles) -> None:
    figures = audited(indifferent, battles)
    assert figures["dress"]["battles"] == 30 and figures["dress"]["best_of"] == len(DRESSES) + 1
    assert figures["dress"]["picked"]["value"] == pytest.approx(figures["dress"]["picked_by_chance"])
    assert all(row["picked"]["value"] == 0.5 and row["win_share"]["value"] == 0 for row in dresses(figures).values())
    assert figures["sway"]["value"] == 0


def test_flattery_is_found_where_it_is_paid_for_and_nowhere_else(battles: Battles) -> None:
    figures = audited(likes_flattery, battles)
    rows = dresses(figures)
    chances = softmax([1.0, -1.0, 0.0])
    gain = chances[0] + chances[2] / 2 - 0.5
    assert rows["flattery"]["win_share"]["value"] == pytest.approx(gain) == rows["all"]["win_share"]["value"]
    assert rows["markdown"]["win_share"]["value"] == 0 and rows["longer"]["picked"]["value"] == 0.5
    assert figures["dress"]["picked"]["value"] == 1
    assert figures["sway"]["name"] in ("with flattery", "in all three")
    assert figures["sway"]["value"] == pytest.approx(gain)


def test_a_lover_of_brevity_never_picks_a_dressed_copy(battles: Battles) -> None:
    figures = audited(likes_plain, battles)
    assert figures["dress"]["picked"]["value"] == 0
    assert figures["sway"]["value"] < -0.3  # swayed against dress is swayed too


def test_position_counts_as_sway(battles: Battles) -> None:
    figures = audited(likes_a, battles)
    assert figures["sway"]["name"] == "shown first" and figures["sway"]["value"] == pytest.approx(0.3)
    # Sides alternate, so a favourite side is not taken for a favourite dress.
    assert abs(dresses(figures)["markdown"]["win_share"]["value"]) < 0.05


def test_every_dress_keeps_the_text_and_changes_it() -> None:
    text = "Iron rusts in water. Oxygen takes electrons from it. The oxide is brown.\n\nSalt makes it faster by far."
    for dress in DRESSES:
        assert dress.change(text) != text and "Oxygen takes electrons from it." in dress.change(text)
    assert flattering(flattering(text)) == flattering(text)
    assert in_full_dress(text).startswith(FLATTERY) and "## " in in_full_dress(text)


def test_the_best_of_all_is_picked_and_ties_are_shared() -> None:
    margins = np.array([[1.0, -1, 0, 0], [-1, -2, -3, -4], [0, 0, -1, -1], [0, 0, 0, 0]])
    assert picked_dressed(margins).tolist() == [1, 0, 2 / 3, 4 / 5]


def test_answers_that_are_no_probabilities_are_refused(battles: Battles) -> None:
    for answer, match in (([[0.5, 0.5]], "shape"), ([[2.0, -1, 0]], "below 0"), ([[0.5, 0.2, 0.1]], "sum to 1")):
        with pytest.raises(ValueError, match=match):
            audit_judge(lambda asked, answer=answer: np.repeat(answer, len(asked), axis=0), battles, 5)


def test_the_card_limits_what_may_be_published(battles: Battles, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    open_, closed = audited(likes_flattery, battles), audited(indifferent, battles)
    with pytest.raises(InputError, match="has no audit"):
        check_sway(tmp_path, 0.1, style=True)
    write_card(tmp_path, card_of("m", tmp_path, open_, closed))
    check_sway(tmp_path, 0.4, style=True)
    check_sway(tmp_path, 0.0, style=False)  # an export leaves the style head out
    with pytest.raises(InputError, match=r"swayed by 0\.\d+ of a win"):
        check_sway(tmp_path, 0.1, style=True)
    with pytest.raises(InputError, match=r"from 0 to 0\.5"):
        check_sway(tmp_path, 7.0, style=True)
    before = model_fingerprint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"others")
    assert model_fingerprint(tmp_path) != before
    with pytest.raises(InputError, match="other files"):
        check_sway(tmp_path, 0.4, style=True)
    lines = card_lines(card_of("m", None, open_, closed))
    assert "swayed by +" in lines[0] and sum("best of 5 copies" in line for line in lines) == 2
    page = render_card(card_of("m<b>", None, open_, closed))
    assert "Best of n under dress" in page and "m&lt;b&gt;" in page and "m<b>" not in page


def test_the_command_on_a_function_and_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--input", SAMPLE, "--max_battles", "5", "--output_dir", str(tmp_path / "card")]
    assert main(["audit", "--callable", f"{__name__}:likes_flattery", *flags]) == 0
    card = json.loads((tmp_path / "card" / "audit.json").read_text())
    assert card["sway"]["value"] > 0.2 and card["files"] is None and card["audit_style_off"] is None
    assert (tmp_path / "card" / "audit.html").read_text().startswith("<!doctype html>")
    assert "swayed by" in capsys.readouterr().out
    for name, match in (
        ("nowhere:f", "cannot be imported"),
        ("json:nothing", "cannot be imported"),
        ("json", "module:"),
    ):
        with pytest.raises(InputError, match=match):
            command.named_function(name)
    with pytest.raises(SystemExit):
        command.main(["--input", SAMPLE])

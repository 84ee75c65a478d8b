"""The report's sentence follows from its figures; worked by hand."""

from typing import Any

import pytest

from reward_model.report.verdict import battles_to_tell, verdict


def estimate(value: float, low: float | None, high: float | None, battles: int = 1000) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "battles": battles}


def figures(gain: dict[str, Any], error: dict[str, Any], sway: dict[str, Any] | None) -> dict[str, Any]:
    points = [{"predicted": 0.3, "seen": estimate(0.31, 0.2, 0.4)}]
    row = {"name": "said_twice", "label": "said twice", "battles": 100, "win_share": sway}
    families = {"verbosity": {"changed": [row]}, "formatting": {"changed": []}, "self_promotion": {"changed": []}}
    return {
        "battles": 1000,
        "quality": {
            "metrics": {"log_loss": estimate(1.02, 1.0, 1.04), "classwise_calibration_error": error},
            "peers": {"prior": {"log_loss": estimate(1.1, 1.09, 1.11), "gain": estimate(0.08, 0.06, 0.1)},
                      "style alone": {"log_loss": estimate(1.04, 1.02, 1.06), "gain": gain}},
        },
        "calibration": {"after": {"curves": {"A": points, "B": points, "tie": points}}},
        "audit": families if sway else None,
        "audit_style_off": None,
    }  # fmt: skip


GOOD = (estimate(0.02, 0.01, 0.03), estimate(0.01, 0.0, 0.02), estimate(0.005, 0.002, 0.008))
BAD = (estimate(-0.02, -0.03, -0.01), estimate(0.08, 0.06, 0.1), estimate(0.149, 0.141, 0.158))
UNSURE = (estimate(0.01, -0.01, 0.03), estimate(0.03, 0.0, 0.1), estimate(0.03, -0.01, 0.07))


BEST = "is better than style alone beyond doubt, its probabilities come true, and dress alone hardly sways it"
WORST = "is worse than style alone, its probabilities are off, but dress alone sways it"
OPEN = "cannot be told from style alone yet, its calibration cannot be told yet, and what sways it cannot be told yet"


@pytest.mark.parametrize(
    ("measured", "state", "sentence"), [(GOOD, "good", BEST), (BAD, "bad", WORST), (UNSURE, "unsure", OPEN)]
)
def test_states_and_sentence(measured: tuple[Any, Any, Any], state: str, sentence: str) -> None:
    result = verdict(figures(*measured))
    assert [answer["state"] for answer in result["answers"]] == [state] * 3
    assert result["sentence"] == f"This model {sentence}."


def test_without_an_audit_the_sentence_has_two_parts() -> None:
    result = verdict(figures(GOOD[0], GOOD[1], None))
    assert result["sentence"].endswith("beyond doubt, and its probabilities come true.")
    assert result["answers"][2]["answer"] == "Not tried"


def test_battles_that_would_tell() -> None:
    # The half-width 0.02 is twice the gain: four times the battles bring it down to the gain.
    assert battles_to_tell(estimate(0.01, -0.01, 0.03, 1000)) == 4000
    assert battles_to_tell(estimate(0.0101, -0.0099, 0.0301, 1000)) == 4000  # 3,921, rounded up to two digits
    assert battles_to_tell(estimate(0.0, -0.01, 0.01)) is None
    assert battles_to_tell(estimate(1e-9, -0.01, 0.01)) is None
    assert battles_to_tell(estimate(0.01, None, None)) is None

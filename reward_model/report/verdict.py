"""The report's answer in one sentence, and the three questions behind it: computed from figures, never written by hand.

A state is `good`, `unsure` (the battles are too few to tell) or `bad`. Each answer says why in figures.
"""

import math
from typing import Any

from arena_data.webpage.drawing import percent
from reward_model.report.numbers import best_peer, changed_rows, points_in_place
from reward_model.report.text import gain_text, is_clear, number_text, points_text, signed

Figures = dict[str, Any]

# Three points of a hundred; an interval that ends below twice as much counts as calibrated.
SMALL_ERROR = 0.03
# Points of a hundred battles that dress alone may win before the model counts as swayed.
SMALL_SWAY = 2.0


def verdict(figures: Figures) -> Figures:
    """The sentence and the answers behind it.

    Args:
        figures: as `reward_model.report.page.report_json` makes them: quality, calibration and audit are read.

    Returns: `sentence`, and `answers`: a list of question, state, answer, why.
    """
    answers = [_better(figures), _calibrated(figures), _swayed(figures)]
    better, calibrated, swayed = (answer.pop("clause") for answer in answers)
    sentence = f"This model {better}, {calibrated}, {swayed}." if swayed else f"This model {better}, and {calibrated}."
    return {"sentence": sentence, "answers": answers}


def _answer(question: str, state: str, answer: str, why: str, clause: str) -> Figures:
    return {"question": question, "state": state, "answer": answer, "why": why, "clause": clause}


def _better(figures: Figures) -> Figures:
    question = "Is it better than simple systems?"
    quality = figures["quality"]
    log_loss = f"Log loss {number_text(quality['metrics']['log_loss'], 4)}."
    if not (best := best_peer(quality)):
        return _answer(question, "unsure", "Not compared", log_loss, "was compared with no simple system")
    name, gain = best[0], best[1]["gain"]
    why = f"{log_loss} Gain over {name}, the best of them: {gain_text(gain, 4)}."
    if gain["low"] is not None and gain["low"] > 0:
        return _answer(question, "good", "Yes", why, f"is better than {name} beyond doubt")
    if gain["high"] is not None and gain["high"] < 0:
        return _answer(question, "bad", "No", why, f"is worse than {name}")
    needed = battles_to_tell(gain)
    if needed is None:
        why += " No number of battles like these would tell."
    else:
        why += f" About {needed:,} battles like these would tell."
    return _answer(question, "unsure", "Not sure yet", why, f"cannot be told from {name} yet")


def battles_to_tell(gain: Figures) -> int | None:
    """How many battles would put zero outside of the interval, if the gain stays: widths shrink with √battles.

    Rounded up to two digits; None where the gain is so near zero that a hundred million would not do.
    """
    if gain["low"] is None or not gain["value"]:
        return None
    half_width = (gain["high"] - gain["low"]) / 2
    needed = gain["battles"] * (half_width / abs(gain["value"])) ** 2
    if not math.isfinite(needed) or needed > 1e8:
        return None
    step = 10 ** max(int(math.log10(max(needed, 1))) - 1, 0)
    return max(math.ceil(needed / step) * step, gain["battles"] + 1)


def _calibrated(figures: Figures) -> Figures:
    question = "Do its probabilities come true?"
    error = figures["quality"]["metrics"]["classwise_calibration_error"]
    points = [row for curve in figures["calibration"]["after"]["curves"].values() for row in curve]
    inside = points_in_place(points)
    why = f"Calibration error {_shares(error)}. {inside} of {len(points)} points of its curves lie where they should."
    if error["value"] is None or error["low"] is None:
        return _answer(question, "unsure", "Too few battles", "", "its calibration cannot be told")
    if error["low"] > SMALL_ERROR:
        return _answer(question, "bad", "No", why, "its probabilities are off")
    if error["high"] <= 2 * SMALL_ERROR:
        return _answer(question, "good", "Yes", why, "its probabilities come true")
    return _answer(question, "unsure", "Not sure yet", why, "its calibration cannot be told yet")


def _swayed(figures: Figures) -> Figures:
    question = "Is it swayed by dress alone?"
    audit = figures["audit"]
    rows = [row for row in changed_rows(audit) if row["win_share"]["value"] is not None] if audit else []
    if not rows:
        return _answer(question, "unsure", "Not tried", "The bias audit was left out.", "")
    worst = max(rows, key=lambda row: abs(row["win_share"]["value"]))
    points = points_text(worst["win_share"])
    why = f"Largest effect, in points of a hundred battles: the same response, {worst['label']}: {points}."
    if abs(100 * worst["win_share"]["value"]) <= SMALL_SWAY:
        return _answer(question, "good", "No", why, "and dress alone hardly sways it")
    if not is_clear(worst["win_share"]) and worst["win_share"]["low"] is not None:
        return _answer(question, "unsure", "Not sure yet", why, "and what sways it cannot be told yet")
    closed = _without_style(figures, worst["name"])
    if closed is not None:
        why += f" With the style head closed: {signed(100 * closed, 1)}."
    return _answer(question, "bad", "Yes", why, "but dress alone sways it")


def _without_style(figures: Figures, name: str) -> float | None:
    closed = figures["audit_style_off"]
    rows = changed_rows(closed) if closed else []
    return next((row["win_share"]["value"] for row in rows if row["name"] == name), None)


def _shares(estimate: Figures) -> str:
    value = percent(estimate["value"])
    return value if estimate["low"] is None else f"{value} ({percent(estimate['low'])} to {percent(estimate['high'])})"

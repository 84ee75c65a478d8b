"""The model card's sections with figures, as Markdown: of the validation battles, of calibration, and of bias."""

from collections.abc import Collection, Mapping
from typing import Any

from reward_model.calibration.calibration import Calibration
from reward_model.evaluation.quality import SHOWN
from reward_model.run_directory.curves import CLASS_PRIOR, STYLE_ALONE, is_number
from reward_model.run_directory.settings import BIAS, METRICS, RELIABILITY

Figures = Mapping[str, Any]

# Entries of metrics.json in words, in the order of the card. Counts are whole numbers, shares are percents.
_WORDS = {
    **SHOWN,
    "log_loss_uncalibrated": "log loss before calibration",
    CLASS_PRIOR: "log loss of the class prior",
    STYLE_ALONE: "log loss of style alone, cross-validated on the training battles",
}
_SHARES = {"tie_rate_predicted": "ties predicted", "tie_rate_seen": "ties seen"}
_COUNTS = {"battles": "validation battles", "train_battles": "training battles"}
_CHOSEN = (
    "These battles also chose the checkpoint, so a new set of battles is the better judge (`predict.py --report`)."
)


def figures_section(metrics: Figures) -> str:
    """Validation figures with intervals, in words and three digits; where they are where nothing is a number."""
    rows = []
    for key, words in {**_WORDS, **_SHARES, **_COUNTS}.items():
        value = metrics.get(key)
        if value is not None and is_number(value):
            shown = f"{value:,.0f}" if key in _COUNTS else f"{100 * value:.1f} %" if key in _SHARES else f"{value:.3f}"
            rows.append(f"| {words} | {shown} | {_interval_of(metrics.get('intervals'), key)} |")
    note = "Every battle was predicted by a fold that had not seen it." if "folds" in metrics else _CHOSEN
    lines = ["## Validation figures", "", note, "", "| figure | value | 95 % interval |", "| --- | --- | --- |", *rows]
    return "\n".join(lines) if rows else f"## Validation figures\n\nSee {METRICS}."


def _interval_of(intervals: Any, key: str) -> str:
    """Both ends in three digits; nothing for what is no interval, since metrics.json may come from anyone."""
    ends = intervals.get(key) if isinstance(intervals, dict) else None
    if not isinstance(ends, list) or len(ends) != 2 or not all(map(is_number, ends)):
        return ""
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def calibration_section(calibration: Calibration, report: Figures | None, pictures: Collection[str]) -> str:
    """How calibration was fitted and, where there is a report, how far probabilities are off on its battles."""
    before, after = calibration.log_loss_before, calibration.log_loss_after
    fitted = f"Calibration: {calibration.method}"
    if before is not None and after is not None:
        fitted += f", log loss {before:.4f} before and {after:.4f} after, on {calibration.rows:,} battles"
    lines = ["## Calibration", "", f"{fitted}.", ""]
    if report:
        quality, errors = report["quality"]["metrics"], report["calibration"]["after"]["errors"]
        rows = {_WORDS.get(name, name.replace("_", " ")): value for name, value in {**quality, **errors}.items()}
        lines += [f"On {report['battles']:,} labelled battles, with 95 % intervals resampled by prompt:", ""]
        lines += ["| figure | value | interval |", "| --- | --- | --- |"]
        lines += [f"| {name} | {_number(value['value'])} | {_interval(value)} |" for name, value in rows.items()]
        lines += [""]
    if RELIABILITY in pictures:
        lines += [f"![Predicted probability and share seen]({RELIABILITY})", ""]
    return "\n".join(lines)


def bias_section(report: Figures | None, pictures: Collection[str]) -> str:
    """Effects of length, position, formatting and self-promotion; empty where no audit was made."""
    audit = report["audit"] if report else None
    if not audit:
        return ""
    length, position = audit["verbosity"]["per_doubling"], audit["position"]["swapped"]["first"]
    lines = [
        "## Bias",
        "",
        f"Effects on win share, P(wins) + half of P(tie), in points, on {audit['battles']:,} battles, with 95 % intervals.",
        "",
        "| what | model | people |",
        "| --- | --- | --- |",
        f"| twice as long, on real battles | {_points(length['model'])} | {_points(length['people'])} |",
        f"| the same response shown first | {_points(position)} | – |",
    ]
    for family in ("verbosity", "formatting", "self_promotion"):
        for row in audit[family]["changed"]:
            if row["battles"]:
                lines.append(f"| the same response, {row['label']} | {_points(row['win_share'])} | – |")
    lines.append("")
    if BIAS in pictures:
        lines += [f"![Effect of formatting alone]({BIAS})", ""]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(figure: Figures) -> str:
    return "–" if figure["low"] is None else f"{figure['low']:.3f} to {figure['high']:.3f}"


def _points(figure: Figures) -> str:
    """A share as points, with its interval where it has one."""
    value, low, high = (None if figure[key] is None else _signed(100 * figure[key]) for key in ("value", "low", "high"))
    if value is None:
        return "–"
    return value if low is None else f"{value} ({low} to {high})"


def _signed(points: float) -> str:
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text

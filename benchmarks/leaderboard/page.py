"""The leaderboard as a page and a picture, from the predictions that lie in a folder."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from arena_data.file_io import write_atomically, write_bytes_atomically
from benchmarks.leaderboard.blends import MAPS, Folds, fitted_blend, fixed_blend, mapped
from benchmarks.leaderboard.results import Predictions, bounds, interval, joined, read_folds
from benchmarks.leaderboard.systems import SYSTEMS
from reward_model.evaluation.metrics import measure
from reward_model.evaluation.probabilities import row_losses

# What others published for the whole competition: other battles, 30 to 50 times as many.
PUBLISHED = {
    "uniform": 1.0986,
    "class prior": 1.097,
    "length buckets": 1.0511,
    "boosted trees on TF-IDF": 1.038,
    "DeBERTa-v3-base": 1.015,
    "DeBERTa-v3-large": 0.993,
    "Gemma-2-9B, QLoRA": 0.985,
    "winner: Gemma-2-9B, distilled": 0.969,
}
# Members of the classical blend: one of each way of reading a battle.
CLASSICAL = ("style_all_data", "style", "length_tree", "tfidf_logistic_char", "tfidf_svm", "lightgbm")


# Where the picture's axis of costs begins.
LEAST_SECONDS = 0.05


@dataclass
class Row:
    """One line of the table: all folds of a system as one, and what it is."""

    name: str
    about: str
    found: Predictions

    @property
    def losses(self) -> np.ndarray:
        return row_losses(self.found.calibrated, self.found.verdicts)

    @property
    def log_loss(self) -> float:
        return float(self.losses.mean())


def write_page(page: Path, directory: Path, num_folds: int) -> int:
    """Writes the page and its picture; returns the number of rows. Raises: ValueError where no system is done."""
    names = sorted(path.name for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    folds = {name: found for name in names if (found := read_folds(directory, name, num_folds)) is not None}
    if not folds:
        raise ValueError(f"no system has all of its {num_folds} folds in {directory}")
    rows = [Row(name, about(name), joined(found)) for name, found in folds.items()]
    rows += [Row(name, text, joined(found)) for name, (text, found) in blends(folds).items()]
    if any(not np.array_equal(row.found.index, rows[0].found.index) for row in rows):
        raise ValueError(f"the systems in {directory} are of different battles; run them again")
    rows.sort(key=lambda row: row.log_loss)
    picture = page.with_suffix(".svg").with_name(page.stem.lower() + ".svg")
    write_bytes_atomically(picture, draw(rows))
    write_atomically(page, text_of(rows, folds, picture.name, num_folds))
    return len(rows)


def about(name: str) -> str:
    stem, _, backbone = name.partition("-")
    known = SYSTEMS.get(stem)
    return (known.about if known else "made elsewhere") + (f"; {backbone}" if backbone else "")


def blends(folds: dict[str, Folds]) -> dict[str, tuple[str, Folds]]:
    """name: (what it is, folds) for each blend whose members are there."""
    found: dict[str, tuple[str, Folds]] = {}

    def fitted(name: str, what: str, members: list[str]) -> None:
        if len(members) > 1:
            blended, weights = fitted_blend({member: folds[member] for member in members})
            parts = sorted(weights.items(), key=lambda item: -item[1])
            listed = ", ".join(f"{member} {weight:.2f}" for member, weight in parts if weight >= 0.005)
            found[name] = (f"{what}: {listed}", blended)

    classical = [name for name in CLASSICAL if name in folds]
    fitted("blend_classical", "weights fitted out of fold", classical)
    neural = sorted(
        (name for name in folds if is_neural(name)), key=lambda name: Row(name, "", joined(folds[name])).log_loss
    )
    fitted("blend", "weights fitted out of fold", neural + classical if neural else [])
    if neural and "lightgbm" in folds:
        members = {name: folds[name] for name in (neural[0], "lightgbm")}
        found["blend_0.8_0.2"] = (f"0.8 of {neural[0]} and 0.2 of lightgbm", fixed_blend(members, (0.8, 0.2)))
    best = {name.partition("-")[2]: name for name in reversed(neural)}
    if len(best) > 1:
        pair = sorted(best.values(), key=neural.index)[:2]
        found["two_backbones"] = (
            f"the mean of {pair[0]} and {pair[1]}",
            fixed_blend({name: folds[name] for name in pair}, (0.5, 0.5)),
        )
    return found


def is_neural(name: str) -> bool:
    """Those whose name says a backbone."""
    return "-" in name


def text_of(rows: list[Row], folds: dict[str, Folds], picture: str, num_folds: int) -> str:
    battles = len(rows[0].found.verdicts)
    by_name = {row.name: row for row in rows}
    groups = rows[0].found.groups
    lines = [
        "# Leaderboard",
        "",
        f"Made by `python -m benchmarks.leaderboard` (`make leaderboard`): {battles:,} real battles of arena/train.csv and "
        f"extra.jsonl. They are dealt into {num_folds} folds, grouped by prompt. Each battle is predicted by a system that "
        "was trained on the other folds. Log loss is of calibrated probabilities over all battles. 95 % intervals are from "
        "a bootstrap over prompts. The interval of a difference is paired, on the same battles. Each system makes its "
        "choices by cross-validation inside each training part. The form of the style regression and of the TF-IDF "
        "features was chosen on other folds of the same battles ([baselines.md](baselines.md)).",
        "",
        *summary(by_name),
        f"![Log loss against the cost of predicting]({picture})",
        "",
        "| | system | log loss | less style's | uncalibrated | accuracy | calibration error | training, s | a thousand "
        "battles, s | size |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    style = by_name.get("style")
    for place, row in enumerate(rows, start=1):
        found = row.found
        measured = measure(
            found.calibrated, found.verdicts, names=("accuracy", "top_label_calibration_error"), resamples=0
        )
        against = interval(row.losses - style.losses, groups) if style and row is not style else ""
        cells = [
            str(place),
            f"`{row.name}`",
            interval(row.losses, groups),
            against,
            f"{row_losses(found.raw, found.verdicts).mean():.4f}",
            f"{measured['accuracy'].value:.3f}",
            f"{measured['top_label_calibration_error'].value:.3f}",
            number(found.train_seconds / num_folds),
            number(1000 * found.predict_seconds / battles),
            size(found.size),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Times are wall-clock, on a machine that also did other work. The time of training is of one fold. A frozen "
        "backbone reads a text once for all folds. The time of that reading counts in each fold, and its weights do not "
        "count in the size. A blend costs as much as its members together. The systems:",
        "",
    ]
    lines += [f"- `{row.name}`: {row.about}." for row in rows]
    lines += ["", *maps_table(rows, folds), "## Published figures", ""]
    lines += [
        "These figures are for the whole competition: other battles, and 30 to 50 times as many to learn from. Do not "
        "compare them with the table above line by line.",
        "",
        "| system | log loss |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in PUBLISHED.items()),
    ]
    return "\n".join(lines) + "\n"


def summary(rows: dict[str, Row]) -> list[str]:
    """What the best row is worth over style alone and over the class prior, paired."""
    best = min(rows.values(), key=lambda row: row.log_loss)
    parts = [
        f"{interval(rows[name].losses - best.losses, best.found.groups)} over {what}"
        for name, what in (("style", "the style regression"), ("prior", "the class prior"))
        if name in rows and rows[name] is not best
    ]
    return [f"Best: `{best.name}`, which gains {' and '.join(parts)}.", ""] if parts else []


def maps_table(rows: list[Row], folds: dict[str, Folds]) -> list[str]:
    """The maps that notebooks use beside `auto`, on the best single system."""
    single = next(row for row in rows if row.name in folds)
    found = {method: joined(mapped(folds[single.name], method)) for method in MAPS}
    kept = {method: row_losses(part.calibrated, part.verdicts) for method, part in found.items()}
    groups = single.found.groups
    lines = [
        "## Thresholds and multipliers compared with `auto`",
        "",
        f"The table compares maps of the uncalibrated predictions of `{single.name}`. "
        "Each map is fitted on the other folds.",
        "",
        "| map | log loss | less none |",
        "| --- | --- | --- |",
    ]
    for method in MAPS:
        against = interval(kept[method] - kept["none"], groups) if method != "none" else ""
        lines.append(f"| {method} | {interval(kept[method], groups)} | {against} |")
    return [*lines, ""]


def number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def size(count: float) -> str:
    return "" if math.isnan(count) else f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def draw(rows: list[Row]) -> bytes:
    """Log loss against seconds for a thousand battles, as SVG, the same for the same rows."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "leaderboard"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 5.5), layout="constrained")
    for place, row in enumerate(rows, start=1):
        if math.isnan(row.found.predict_seconds):
            continue
        # What takes no time at all has no place on a logarithmic axis: everything faster stands at its left end.
        cost = max(1000 * row.found.predict_seconds / len(row.found.verdicts), LEAST_SECONDS)
        low, high = bounds(row.losses, row.found.groups)
        colour = "tab:green" if "blend" in row.name else "tab:orange" if is_neural(row.name) else "tab:blue"
        errors = [[row.log_loss - low], [high - row.log_loss]]
        axes.errorbar(cost, row.log_loss, errors, fmt="o", color=colour, alpha=0.6, label=f"{place}  {row.name}")
        side = 5 if place % 2 else -5
        axes.annotate(
            str(place),
            (cost, row.log_loss),
            xytext=(side, 3),
            textcoords="offset points",
            fontsize=9,
            ha="left" if side > 0 else "right",
        )
    axes.axhline(math.log(3), color="grey", linewidth=0.8, linestyle="--")
    axes.annotate("ln 3", (0.99, math.log(3)), xycoords=("axes fraction", "data"), fontsize=8, va="bottom", ha="right")
    axes.set(xscale="log", xlabel="seconds for a thousand battles", ylabel="log loss, with 95 % interval")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False, handlelength=0)
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(figure)
    return stream.getvalue()

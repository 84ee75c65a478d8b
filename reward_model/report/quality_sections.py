"""What the report says of quality, in which order: sections of notes, pictures and tables of ready text."""

from collections.abc import Sequence
from typing import Any

import datasets

from arena_data.schema import LABELS
from arena_data.webpage.drawing import percent
from arena_data.webpage.page import Fold, Group, Section, Table, Tile
from reward_model.audit.observed import LEAST_BATTLES
from reward_model.report.numbers import best_peer
from reward_model.report.text import gain_text, is_clear, number_text, percent_text, plain, signed

Figures = dict[str, Any]

NOTE = (
    "Parentheses hold 95 % intervals, bootstrapped over prompts. Log loss is in nats a battle, and less is better: it is "
    "1.0986 for a model that always says a third each. A gain is positive where this model is better."
)
TEXT_SHOWN = 3000  # characters of a prompt or response in a fold

_LABEL_NAMES = {"A": "A wins", "B": "B wins", "tie": "ties"}
_METRIC_NAMES = {
    "log_loss": "log loss",
    "accuracy": "accuracy of the likeliest verdict",
    "brier_score": "Brier score, 0 to 2",
    "top_label_calibration_error": "calibration error, likeliest verdict",
    "classwise_calibration_error": "calibration error, all three",
    "auc_a_against_b": "AUC of A against B",
    "tie_precision": "precision of predicted ties",
    "tie_recall": "recall of ties",
}


def head_tiles(figures: Figures) -> list[Tile]:
    """The figures of the page's head."""
    quality = figures["quality"]
    metrics = quality["metrics"]
    tiles = [
        Tile("log loss", plain(metrics["log_loss"]["value"], 4), _interval(metrics["log_loss"], 3)),
        Tile("accuracy", percent(metrics["accuracy"]["value"]), _percent_interval(metrics["accuracy"])),
        Tile(
            "calibration error",
            percent(metrics["classwise_calibration_error"]["value"]),
            _percent_interval(metrics["classwise_calibration_error"]),
        ),
        Tile(
            "ties predicted",
            percent(quality["tie_predicted"]["value"]),
            f"seen {percent(quality['tie_seen']['value'])}",
        ),
        Tile("battles", f"{figures['battles']:,}", f"{figures['prompts']:,} prompts"),
    ]
    if best := best_peer(quality):
        name, peer = best
        tiles.insert(1, Tile("gain over " + name, signed(peer["gain"]["value"], 4), _interval(peer["gain"], 3)))
    return tiles


def _interval(estimate: Figures, digits: int) -> str:
    return "" if estimate["low"] is None else f"{plain(estimate['low'], digits)} to {plain(estimate['high'], digits)}"


def _percent_interval(estimate: Figures) -> str:
    return "" if estimate["low"] is None else f"{percent(estimate['low'])} to {percent(estimate['high'])}"


def _quality(figures: Figures) -> Section:
    quality = figures["quality"]
    rows = [["this model", number_text(quality["metrics"]["log_loss"], 4), "–"]]
    if quality["before_calibration"]:
        before = quality["before_calibration"]
        rows.append(["before calibration", number_text(before["log_loss"], 4), gain_text(before["gain"], 4)])
    rows += [
        [name, number_text(peer["log_loss"], 4), gain_text(peer["gain"], 4)] for name, peer in quality["peers"].items()
    ]
    metrics = [[name, number_text(quality["metrics"][key])] for key, name in _METRIC_NAMES.items() if key != "log_loss"]
    metrics.append(["ties predicted", percent_text(quality["tie_predicted"])])
    metrics.append(["ties seen", percent_text(quality["tie_seen"])])
    notes = []
    if not quality["peers"]:
        notes.append("No simpler system was given to compare with.")
    elif unclear := [name for name, peer in quality["peers"].items() if not is_clear(peer["gain"])]:
        notes.append(f"There are too few battles to tell the model apart from: {', '.join(unclear)}.")
    return Section(
        "quality-section",
        "How good are its predictions?",
        notes,
        [
            Group(
                ["log-loss"], [Table("Log loss beside simpler systems", ["", "log loss", "this model's gain"], rows)]
            ),
            Group(["confusion"], [Table("Other figures", ["", "value"], metrics)]),
        ],
    )


def _calibration(figures: Figures) -> Section:
    stages = figures["calibration"]
    names = {"before": "before calibration", "after": "as reported"}
    order = [stage for stage in ("before", "after") if stage in stages]
    errors = [
        [_METRIC_NAMES[name], *(number_text(stages[stage]["errors"][name]) for stage in order)]
        for name in ("top_label_calibration_error", "classwise_calibration_error")
    ]
    points = {
        label: [
            [percent(row["predicted"]), percent_text(row["seen"]), f"{row['seen']['battles']:,}"]
            for row in stages["after"]["curves"][label]
        ]
        for label in LABELS
    }
    notes = [
        "Battles are put in bins by predicted probability. The points of a calibrated model lie on the dashed line. Errors "
        "are root mean squares over bins, without the noise of the bins. An error of 0.02 means two points of a hundred."
    ]
    return Section(
        "calibration-section",
        "Do its probabilities come true?",
        notes,
        [
            Group([f"reliability-{label.lower()}" for label in LABELS]),
            Group(
                tables=[
                    Table(f"The points: {_LABEL_NAMES[label]}", ["predicted", "seen", "battles"], rows)
                    for label, rows in points.items()
                ]
            ),
            Group(tables=[Table("Calibration error", ["", *(names[stage] for stage in order)], errors)]),
        ],
    )


_SLICES = {
    "length": ("Log loss by length of the longer response", "characters"),
    "turns": ("Log loss by number of turns", "turns"),
    "language": ("Log loss by language", "language"),
    "truncated": ("Log loss by what the model read", ""),
    "pair": ("Log loss of the most compared pairs of models", "pair"),
}


def _slices(figures: Figures) -> Section:
    groups = []
    for kind, (caption, head) in _SLICES.items():
        rows = [
            [row["name"], f"{row['log_loss']['battles']:,}", number_text(row["log_loss"]), gain_text(row["gain"])]
            for row in figures["slices"].get(kind, [])
        ]
        heads = [head, "battles", "log loss", "gain over prior"]
        few = {
            at for at, row in enumerate(figures["slices"].get(kind, [])) if row["log_loss"]["battles"] < LEAST_BATTLES
        }
        groups.append(Group([f"slices-{kind}"], [Table(caption, heads, rows, greyed=frozenset(few))]))
    notes = [
        "Hard battles have a higher log loss for every model. The gain over the class prior of the same battles shows what "
        "the model adds there.",
        f"Groups of fewer than {LEAST_BATTLES} battles are grey: their figures say little.",
    ]
    return Section("slices-section", "Where does it err most?", notes, groups)


def _ranking(figures: Figures) -> Section:
    ranking = figures["ranking"]
    if ranking is None:
        return Section(
            "ranking-section", "Does it rank models as people do?", ["No battle names two different models."], []
        )
    rows = [
        [
            row["model"],
            f"{row['battles']:,}",
            *(f"{row[key]['rank']}.\N{NO-BREAK SPACE}{signed(row[key]['elo'], 0)}" for key in ("people", "predicted")),
            signed(row["predicted"]["elo"] - row["people"]["elo"], 0),
        ]
        for row in ranking["models"]
    ]
    notes = [
        "Strengths are fitted to verdicts and to predictions in the same way, as on the page about the battles. Where the "
        "model is unsure, predictions are less extreme than votes. Look at the order of the predicted strengths, not at "
        "their spread."
    ]
    table = Table("All models by strength", ["model", "battles", "people: rank, Elo", "this model", "difference"], rows)
    return Section(
        "ranking-section", "Does it rank models as people do?", notes, [Group(["model-ranking"], [table], tall=True)]
    )


def report_sections(figures: Figures) -> list[Section]:
    """The sections before the audit, in reading order. figures: as `reward_model.report.page.report_json` gives them."""
    return [part(figures) for part in (_quality, _calibration, _slices, _ranking)]


def surprising_section(figures: Figures, battles: datasets.Dataset) -> Section:
    """The battles whose verdict the model gave the least chance; each opens to its texts."""
    folds = []
    for place, row in enumerate(figures["surprising"], start=1):
        battle = battles[row["row"]]
        names = [f" ({battle[f'model_{side}']})" if battle[f"model_{side}"] else "" for side in "ab"]
        voted = max(LABELS, key=lambda label: row["verdict"][label])
        said = {"A": "A wins", "B": "B wins", "tie": "a tie"}[voted]
        usable = figures["usable"] and figures["usable"]["responses"][row["row"]]
        shares = [f", usable {percent(share)}" for share in usable] if usable else ["", ""]
        heads = [
            f"{side}{name}: predicted to win {percent(row['predicted'][side])}{share}"
            for side, name, share in zip("AB", names, shares, strict=True)
        ]
        folds.append(
            Fold(
                f"{place}. {_excerpt(battle['prompt'])}",
                f"people: {said}; the model gave it {percent(row['predicted'][voted])}",
                [
                    ("Prompt", _text(battle["prompt"])),
                    (heads[0], _text(battle["response_a"])),
                    (heads[1], _text(battle["response_b"])),
                ],
            )
        )
    notes = [
        "These verdicts had the lowest predicted probability. Errors of the model, errors of people and chance are all here."
    ]
    return Section("surprising-section", f"The {len(folds)} most surprising battles", notes, [], folds)


def _excerpt(turns: Sequence[str | None] | None, characters: int = 90) -> str:
    """The start of a conversation on one line."""
    text = " ".join(((turns or [""])[0] or "")[: 4 * characters].split())
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _text(turns: Sequence[str | None] | None) -> str:
    """All turns, cut where they are long; the cut says how much is missing."""
    text = "\n\n———\n\n".join(turn or "" for turn in turns or ())
    hidden = len(text) - TEXT_SHOWN
    return text if hidden <= 0 else f"{text[:TEXT_SHOWN]}… [{hidden:,} more characters]"

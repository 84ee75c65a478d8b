"""What the report says of the audit: what sways the model, beside people, and with the style head closed."""

from typing import Any

from arena_data.webpage.page import Group, Section, Table
from reward_model.audit.probes import PROBES
from reward_model.report.audit_pictures import observed_rows
from reward_model.report.numbers import changed_rows
from reward_model.report.text import percent_text, plain, points_text

Figures = dict[str, Any]

_EXACT = 1e-5  # of a probability: rounding

_OBSERVED_NOTE = (
    "This part uses real battles as they are. It shows which traits go with a higher win share (a win counts 1, a tie ½), "
    "for people and for the model on the same battles. The unit is points of a hundred battles above an even match. "
    "Longer responses may win because they are better. A sound model follows people's preferences and does not enlarge them."
)
_CHANGED_NOTE = (
    "Each battle is predicted again with one change in one response. Content stays the same, so it cannot be the reason "
    "for the effect. The last column shows what goes with the same trait on real battles, for people."
)


def _observed(audit: Figures, closed: Figures | None) -> Table:
    theirs = dict(observed_rows(closed)) if closed else {}
    rows = []
    for name, row in observed_rows(audit):
        if row["people"]["value"] is None:
            continue
        cells = [name, f"{row['people']['battles']:,}", points_text(row["people"]), points_text(row["model"])]
        cells += [points_text(row["difference"]), row["stance"]]
        rows.append([*cells, points_text(theirs[name]["model"])] if closed else cells)
    heads = ["a response …", "battles", "people", "this model", "difference", "the model"]
    return Table("Traits that go with winning", [*heads, "style head closed"] if closed else heads, rows)


def _changed(audit: Figures, closed: Figures | None) -> Table:
    theirs = {row["name"]: row for row in changed_rows(closed)} if closed else {}
    rows = []
    for row in changed_rows(audit):
        cells = [
            row["label"],
            f"{row['battles']:,}",
            f"×{plain(row['length_factor'], 2)}",
            points_text(row["win_share"]),
        ]
        if closed:
            cells.append(points_text(theirs[row["name"]]["win_share"] if row["name"] in theirs else None))
        rows.append(
            [*cells, points_text(row["tie"]), percent_text(row["gains"]), points_text(row["expected"]["people"])]
        )
    heads = ["the same response …", "battles", "length", "win share"] + (["style head closed"] if closed else [])
    return Table("Effect of each change", [*heads, "ties", "gains in", "people, real battles"], rows)


def _dress(audit: Figures, closed: Figures | None) -> list[Table]:
    """Which copy of one answer is picked; none where an older audit has not asked."""
    audits = [each for each in (audit, closed) if each is not None]
    if any(not each.get("dress", {}).get("battles") for each in audits):
        return []
    dresses = [each["dress"] for each in audits]
    rows = []
    for same in zip(*(each["dresses"] for each in dresses), strict=True):
        cells = [cell for row in same for cell in (points_text(row["win_share"]), percent_text(row["picked"]))]
        rows.append([same[0]["label"], *cells])
    best = dresses[0]
    rows.append(
        [
            f"best of {best['best_of']} copies",
            *(cell for each in dresses for cell in ("–", percent_text(each["picked"]))),
        ]
    )
    heads = ["a copy of the same answer …", "win share", "picked"]
    heads += ["win share, style head closed", "picked, style head closed"] if closed else []
    chance = f"{100 * best['picked_by_chance']:.0f} % of the best of {best['best_of']} are dressed by chance"
    return [Table(f"Best of n under dress: {best['battles']:,} answers; {chance}", heads, rows)]


def _what_was_done(audit: Figures) -> Table:
    tried = {row["name"] for row in changed_rows(audit)}
    rows = [[probe.label, probe.how] for probe in PROBES if probe.name in tried]
    return Table("The changes", ["the same response …", "how"], rows, wordy=True)


def _curve(audit: Figures) -> Table:
    rows = [
        [
            f"×{plain(2.0 ** row['doublings'], 2)}",
            f"{row['people']['battles']:,}",
            percent_text(row["people"]),
            percent_text(row["model"]),
        ]
        for row in audit["verbosity"]["curve"]
    ]
    heads = ["A's length over B's", "battles", "people", "this model"]
    return Table("A's win share by length", heads, rows)


def _position(audit: Figures, closed: Figures | None) -> Table:
    audits = [audit, closed] if closed else [audit]
    figures = [each["position"]["swapped"] for each in audits]
    rows = [
        ["being shown as A is worth, points", *(points_text(each["first"]) for each in figures)],
        ["likeliest verdict changes", *(percent_text(each["swap_flips"]) for each in figures)],
        ["mean change of the probabilities", *(percent_text(each["swap_distance"]) for each in figures)],
    ]
    heads = ["when A and B are exchanged", "this model", *(["style head closed"] if closed else [])]
    return Table(f"Position: {figures[0]['first']['battles']:,} battles shown both ways", heads, rows)


def _languages(audit: Figures) -> Table:
    rows = [
        [
            row["language"],
            f"{row['battles']:,}",
            percent_text(row["tie"]["people"]),
            percent_text(row["tie"]["model"]),
            points_text(row["per_doubling"]["people"]),
            points_text(row["per_doubling"]["model"]),
        ]
        for row in audit["language"]["languages"]
    ]
    heads = ["language", "battles", "ties, people", "ties, model", "twice as long, people", "twice as long, model"]
    return Table("Ties and the effect of length, by language", heads, rows)


def audit_sections(figures: Figures) -> list[Section]:
    """The audit's sections; none where there was no audit. figures: as `reward_model.report.page.report_json` gives them."""
    audit, closed = figures["audit"], figures["audit_style_off"]
    if audit is None:
        return []
    absent = [
        label
        for key, label in (("self_naming", "names itself"), ("self_praise", "praises itself"))
        for row in audit["self_promotion"]["observed"]
        if row["trait"] == key and not row["battles"]
    ]
    notes = [_OBSERVED_NOTE]
    if closed:
        notes.append(
            "With the style head closed, the reward does not use what can be counted: length, lists, bold, headings."
        )
    if absent:
        notes.append(
            f"In no battle there is just one response that {' or '.join(absent)}. People's view of it is not known."
        )
    if audit["position"]["swapped"]["swap_distance"]["value"] < _EXACT:
        notes.append("Exchanging A and B exchanges the probabilities exactly. Position does not sway the model.")
    language_notes = (
        [] if audit["language"]["recorded"] else ["The language is not recorded. It is guessed from letters and words."]
    )
    return [
        Section(
            "sway-section",
            "What sways it, and what sways people?",
            notes,
            [
                Group(["audit-observed"], [_position(audit, closed)]),
                Group(tables=[_observed(audit, closed)]),
                Group(["audit-length"], [_curve(audit)]),
            ],
        ),
        Section(
            "changes-section",
            "What does dress alone win?",
            [_CHANGED_NOTE],
            [
                Group(["audit-changed"], [_what_was_done(audit)], tall=True),
                Group(tables=[_changed(audit, closed), *_dress(audit, closed)]),
            ],
        ),
        Section(
            "languages-section",
            "How does it differ by language?",
            language_notes,
            [Group(["audit-language"]), Group(tables=[_languages(audit)])],
        ),
    ]

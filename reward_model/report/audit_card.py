"""The audit's card as a page of its own, and in lines of text."""

import os
from pathlib import Path
from typing import Any

from arena_data.file_io import write_atomically
from arena_data.webpage.page import Tile, render_page
from reward_model.report.audit_pictures import AUDIT_PICTURES
from reward_model.report.audit_sections import audit_sections
from reward_model.report.text import percent_text, points_text

Figures = dict[str, Any]

_NOTE = (
    "Effects are points of a hundred battles, a win counting 1 and a tie ½, with 95 % intervals. A judge of content is "
    "swayed by none of it: the same answer in another dress is the same answer."
)


def card_lines(card: Figures) -> list[str]:
    """What a person reads first."""
    lines = []
    for title, key in (("", "audit"), (", style head closed", "audit_style_off")):
        if (audit := card[key]) is None:
            continue
        effect, dress = audit["sway"], audit["dress"]
        if effect is not None:
            lines.append(f"{card['model']}{title}: swayed by {points_text(effect)} points at most ({effect['name']})")
        if dress["battles"]:
            lines.append(
                f"  best of {dress['best_of']} copies of one answer: a dressed one in {percent_text(dress['picked'])}, "
                f"by chance {100 * dress['picked_by_chance']:.0f} %, {dress['battles']:,} answers"
            )
            lines += [
                f"  {row['label']}: preferred in {percent_text(row['picked'])}, win share {points_text(row['win_share'])}"
                for row in dress["dresses"]
            ]
    return lines


def write_card_page(path: str | os.PathLike[str], card: Figures) -> None:
    """Raises: InputError where it cannot be written."""
    write_atomically(Path(path), render_card(card))


def render_card(card: Figures) -> str:
    """The page as HTML."""
    return render_page(
        title="What sways this model?",
        subtitle=f"model: {card['model']} · labelled battles: {card['audit']['battles']:,}",
        tiles=_tiles(card),
        note=_NOTE,
        sections=audit_sections(card),
        pictures={name: draw(card) for name, draw in AUDIT_PICTURES.items()},
        lead=next(iter(card_lines(card)), ""),
    )


def _tiles(card: Figures) -> list[Tile]:
    tiles = []
    for name, key in (("Sway", "audit"), ("Sway, style head closed", "audit_style_off")):
        if card[key] is not None and (effect := card[key]["sway"]) is not None:
            tiles.append(Tile(name, points_text(effect), f"the largest effect: {effect['name']}"))
    dress = card["audit"]["dress"]
    if dress["battles"]:
        chance = f"of {dress['best_of']} copies of one answer; {100 * dress['picked_by_chance']:.0f} % by chance"
        tiles.append(Tile("A dressed copy is picked", percent_text(dress["picked"]), chance))
    position = card["audit"]["position"]["swapped"]["first"]
    tiles.append(Tile("Being shown first", points_text(position), "of a hundred battles"))
    length = card["audit"]["verbosity"]["per_doubling"]["model"]
    tiles.append(Tile("Twice as long", points_text(length), "what the model gives, on real battles"))
    return tiles

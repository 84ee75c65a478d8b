"""The exploration page: one HTML file that needs nothing else and no network.

The numbers of `arena_data.exploration.statistics.describe` become pictures and tables, side by side, on the page of
`arena_data.webpage.page`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from arena_data.exploration import model_pictures as model_figures
from arena_data.exploration import pictures as general
from arena_data.exploration.sections import build_sections
from arena_data.exploration.shares import Figures
from arena_data.webpage.drawing import Picture, percent
from arena_data.webpage.page import Tile, render_page

PICTURES: dict[str, Callable[[Figures], Picture | None]] = {
    "verdicts": general.draw_verdicts,
    "lengths": general.draw_lengths,
    "length-pairs": general.draw_length_pairs,
    "turns": general.draw_turns,
    "verbosity": general.draw_verbosity,
    "self-promotion": general.draw_self_promotion,
    "style": general.draw_style,
    "languages": general.draw_languages,
    "battles": model_figures.draw_battles,
    "heat-map": model_figures.draw_heat_map,
    "ranking": model_figures.draw_ranking,
    "position": model_figures.draw_position,
}


NOTE = (
    "Parentheses hold 95 % Wilson intervals of shares, in percent. Decided battles are those without a tie. A soft verdict "
    "counts by its fractions."
)


def _tiles(figures: Figures) -> list[Tile]:
    overview, verdicts = figures["overview"], figures["overview"]["verdicts"]
    tiles = [Tile("battles", f"{overview['battles']:,}"), Tile("models", f"{figures['models']['models']:,}")]
    tiles += [
        Tile(name, percent(verdicts[label]["share"]) if overview["labelled"] else "no labels")
        for label, name in (("A", "A wins"), ("B", "B wins"), ("tie", "ties"))
    ]
    return [*tiles, Tile("single-turn", percent(figures["turns"]["single"]["share"]))]


def render(figures: Figures, files: Sequence[str]) -> str:
    """The page. figures: as `describe` gives them; files: what they were read from, shown by name."""
    return render_page(
        title="Battles at a glance",
        subtitle=", ".join(Path(file).name for file in files),
        tiles=_tiles(figures),
        note=NOTE,
        sections=build_sections(figures),
        pictures={name: draw(figures) for name, draw in PICTURES.items()},
    )

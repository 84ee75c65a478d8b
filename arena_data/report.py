"""The exploration page: one HTML file that needs nothing else, no network and no script.

The numbers of `arena_data.statistics.describe` become pictures and tables, side by side. All that comes from the data
is escaped by Jinja; the only markup let through is the pictures', whose text matplotlib has escaped. A content security
policy forbids the page every script and every request, should that ever fail.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from arena_data import figures as general
from arena_data import model_figures
from arena_data.drawing import Picture
from arena_data.figures import percent
from arena_data.page import Section
from arena_data.sections import build_sections
from arena_data.shares import Figures

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


def _tiles(figures: Figures) -> list[tuple[str, str]]:
    overview, verdicts = figures["overview"], figures["overview"]["verdicts"]
    tiles = [("battles", f"{overview['battles']:,}"), ("models", f"{figures['models']['models']:,}")]
    tiles += [
        (name, percent(verdicts[label]["share"]) if overview["labelled"] else "no labels")
        for label, name in (("A", "A wins"), ("B", "B wins"), ("tie", "ties"))
    ]
    return [*tiles, ("single-turn", percent(figures["turns"]["single"]["share"]))]


def render(figures: Figures, files: Sequence[str]) -> str:
    """The page. figures: as `describe` gives them; files: what they were read from, shown by name."""
    sections: list[Section] = build_sections(figures)
    pictures = {name: draw(figures) for name, draw in PICTURES.items()}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    environment.filters["percent"] = percent
    return environment.get_template("report.html.jinja").render(
        title="Battles at a glance",
        files=[Path(file).name for file in files],
        tiles=_tiles(figures),
        sections=sections,
        pictures=pictures,
    )

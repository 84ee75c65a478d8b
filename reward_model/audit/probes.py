"""The changes of text that an audit tries on a model, and which battles it tries them on.

Each probe takes real battles and changes one response of each, A's and B's in turn. A battle qualifies where the change
changes something; what is put on in English goes on English responses only; what is rare is looked for everywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import datasets
import numpy as np

from arena_data.schema import FEATURES
from arena_data.style.features import RESPONSE_FEATURES, StyleArrays
from arena_data.style.languages import reads_as_english
from reward_model.audit import counterfactuals, markup
from reward_model.audit.counterfactuals import Change, altered, changed_turns, swapped

# Looked at before a probe gives up finding battles that qualify, as a multiple of the number wanted.
_POOL = 4


@dataclass(frozen=True)
class Probe:
    """One change.

    Args:
        name: its key in the figures.
        family: verbosity, formatting or self_promotion.
        label: what is done to the response, in a few words.
        how: the same, exactly.
        change: text to text.
        trait: the trait it adds or takes away, a key of `reward_model.audit.observed.TRAITS`; None for length.
        adds: whether it adds the trait (or length) rather than takes it away.
        english: whether it fits English responses only.
        needs: style features of which a response must have one to qualify; empty for any.
    """

    name: str
    family: str
    label: str
    how: str
    change: Change
    trait: str | None = None
    adds: bool = True
    english: bool = False
    needs: tuple[str, ...] = ()


_LISTS, _BOLD, _HEADINGS = ("log_bullets", "log_numbered"), ("log_bold",), ("log_headings",)
_VERBOSITY, _FORMATTING, _SELF_PROMOTION = "verbosity", "formatting", "self_promotion"

# fmt: off
PROBES: tuple[Probe, ...] = (
    Probe("padded", _VERBOSITY, "padded with empty sentences",
          "Sentences that are true of any answer stand before and after it, until it is half as long again.",
          counterfactuals.padded, english=True),
    Probe("said_twice", _VERBOSITY, "said twice", "The whole text once more below itself.", counterfactuals.said_twice),
    Probe("closing", _VERBOSITY, "closing courtesy added", f"“{counterfactuals.CLOSING}”",
          counterfactuals.with_closing, english=True),
    Probe("lists_added", _FORMATTING, "sentences made a list",
          "Paragraphs of three sentences or more become a bullet a sentence.", markup.with_lists, "lists"),
    Probe("lists_removed", _FORMATTING, "list markers removed", "Items stay as lines without bullet or number.",
          markup.without_lists, "lists", adds=False, needs=_LISTS),
    Probe("bold_added", _FORMATTING, "opening words in bold", "The first three words of each paragraph become bold.",
          markup.with_bold, "bold"),
    Probe("bold_removed", _FORMATTING, "bold removed", "The words stay, their asterisks go.",
          markup.without_bold, "bold", adds=False, needs=_BOLD),
    Probe("headings_added", _FORMATTING, "headings added",
          "“## Answer” stands on top, and “## Details” over the second paragraph.",
          markup.with_headings, "headings", english=True),
    Probe("headings_removed", _FORMATTING, "heading signs removed", "Headings stay as lines without their number signs.",
          markup.without_headings, "headings", adds=False, needs=_HEADINGS),
    Probe("naming_added", _SELF_PROMOTION, "names itself", f"Opens with: “{counterfactuals.NAMING}”",
          counterfactuals.naming_itself, "self_naming", english=True),
    Probe("naming_removed", _SELF_PROMOTION, "naming removed", "Sentences in which it names itself are gone.",
          counterfactuals.not_naming_itself, "self_naming", adds=False, needs=("self_naming",)),
    Probe("praise_added", _SELF_PROMOTION, "praises itself", f"Ends with: “{counterfactuals.PRAISE}”",
          counterfactuals.praising_itself, "self_praise", english=True),
    Probe("praise_removed", _SELF_PROMOTION, "praise removed", "Sentences in which it praises itself are gone.",
          counterfactuals.not_praising_itself, "self_praise", adds=False, needs=("self_praise",)),
)
# fmt: on


@dataclass(frozen=True)
class Trial:
    """A probe's battles. rows: int [k], of the battles audited; sides: [k], "a" or "b"; variants: k changed battles;
    growth: float [k], log2 of the changed response's length over its length before, in characters."""

    probe: Probe
    rows: np.ndarray
    sides: list[str]
    variants: datasets.Dataset
    growth: np.ndarray


def _characters(turns: Sequence[str | None] | None) -> int:
    return sum(len(turn or "") for turn in turns or ())


def _qualifies(probe: Probe, turns: Sequence[str | None] | None) -> bool:
    if probe.english and not reads_as_english("\n".join(turn or "" for turn in turns or ())):
        return False
    return changed_turns(turns, probe.change) != list(turns or ())


def make_trial(probe: Probe, battles: datasets.Dataset, style: StyleArrays, order: np.ndarray, most: int) -> Trial:
    """At most `most` battles that qualify, taken in the order given (int, a permutation of the rows)."""
    if probe.needs:
        columns = [RESPONSE_FEATURES.index(name) for name in probe.needs]
        has = np.any((style.a[:, columns] > 0) | (style.b[:, columns] > 0), axis=1)
        order = order[np.flatnonzero(has[order])]
    pool = battles.select(order[: _POOL * most])
    places: list[int] = []
    sides: list[str] = []
    growth: list[float] = []
    for place, row in enumerate(pool.select_columns(["response_a", "response_b"])):
        if len(places) == most:
            break
        preferred = "ab"[len(places) % 2]
        for side in (preferred, "b" if preferred == "a" else "a"):
            turns = row[f"response_{side}"]
            if _qualifies(probe, turns):
                longer = _characters(changed_turns(turns, probe.change))
                growth.append(float(np.log2((1 + longer) / (1 + _characters(turns)))))
                places.append(place)
                sides.append(side)
                break
    variants = altered(pool.select(places), sides, probe.change)
    return Trial(probe, order[places].astype(np.int64), sides, _renamed(variants, probe.name), np.array(growth))


def swap_trial(battles: datasets.Dataset, order: np.ndarray, most: int) -> tuple[np.ndarray, datasets.Dataset]:
    """Rows int [k] of at most `most` battles, and these battles with A and B exchanged."""
    rows = order[:most]
    return rows, _renamed(swapped(battles.select(rows)), "swapped")


def _renamed(variants: datasets.Dataset, name: str) -> datasets.Dataset:
    """A variant is another battle than the one it was made of, and has an id of its own."""
    columns = {column: variants[column][:] for column in FEATURES}
    columns["id"] = [f"{battle} {name}" for battle in columns["id"]]
    return datasets.Dataset.from_dict(columns, features=FEATURES)


Predict = Callable[[datasets.Dataset], np.ndarray]

"""Battles in, one nested dict of plain numbers out: all that the exploration page shows and `--json` prints.

Nothing here draws or writes. Every value is a str, int, float, bool, None, list or dict, none is NaN: what cannot be
computed (no labels, no names, one row) is None or an empty list. Shares are {count, of, share, low, high}.
"""

from collections import Counter

import datasets
import numpy as np
from scipy.stats import pearsonr, spearmanr

from arena_data.exploration.bias_statistics import describe_more, describe_position, describe_traits, describe_verbosity
from arena_data.exploration.measurements import TEXT_COLUMNS, Measurements, measure
from arena_data.exploration.model_statistics import describe_models
from arena_data.exploration.shares import Figures, number, share, spread, verdict_shares
from arena_data.reading.cleaning import ODDITIES
from arena_data.style.features import FEATURE_NOTES, RESPONSE_FEATURES, style_arrays
from arena_data.style.lengths import LENGTH_FEATURES

TRAITS = ("self_naming", "self_praise")
LANGUAGES_SHOWN = 15
PROMPTS_SHOWN = 10
PROMPT_CHARACTERS = 160
HISTOGRAM_BINS = 40
NOT_RECORDED = "not recorded"


def _overview(measured: Measurements) -> Figures:
    return {
        "battles": len(measured),
        "labelled": int(measured.labelled.sum()),
        "soft_verdicts": int((measured.verdicts[measured.labelled].max(axis=1, initial=0) < 1).sum()),
        "verdicts": verdict_shares(measured.verdicts),
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> Figures:
    """Pearson's of log(1 + length) and Spearman's of ranks; None where a side does not vary."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return {"log_pearson": None, "spearman": None}
    return {
        "log_pearson": number(pearsonr(np.log1p(first), np.log1p(second)).statistic),
        "spearman": number(spearmanr(first, second).statistic),
    }


def _lengths(measured: Measurements) -> Figures:
    prompt, side_a, side_b = measured.characters
    top = max(int(measured.characters.max(initial=0)), 1)
    # Steps of equal ratio from 1 character on; empty texts fall in the first.
    edges = np.geomspace(1, top + 1, HISTOGRAM_BINS + 1)
    return {
        "characters": {name: spread(measured.characters[place]) for place, name in enumerate(TEXT_COLUMNS)},
        "words": {name: spread(measured.words[place]) for place, name in enumerate(TEXT_COLUMNS)},
        "histogram": {
            "edges": edges.tolist(),
            **{
                name: np.histogram(np.maximum(measured.characters[place], 1), edges)[0].tolist()
                for place, name in enumerate(TEXT_COLUMNS)
            },
        },
        "correlation": {
            "response_a_with_response_b": _correlation(side_a, side_b),
            "prompt_with_response": _correlation(np.tile(prompt, 2), np.concatenate([side_a, side_b])),
        },
        "joint_histogram": np.histogram2d(np.maximum(side_a, 1), np.maximum(side_b, 1), [edges, edges])[0]
        .astype(int)
        .tolist(),
    }


def _turns(measured: Measurements) -> Figures:
    counts = Counter(measured.turns.tolist())
    return {
        "single": share(counts[1], len(measured)),
        **spread(measured.turns),
        "counts": {str(turns): counts[turns] for turns in sorted(counts)},
    }


def _languages(measured: Measurements) -> list[Figures]:
    """Most frequent first, the rest as one entry, rows that name none as "not recorded"."""
    names = np.array([NOT_RECORDED if language is None else language for language in measured.languages], dtype=object)
    ordered = sorted(Counter(names.tolist()).items(), key=lambda item: (-item[1], item[0]))
    shown = [name for name, _ in ordered[:LANGUAGES_SHOWN]]
    groups = [(name, names == name) for name in shown]
    if len(ordered) > len(shown):
        groups.append((f"{len(ordered) - len(shown)} others", ~np.isin(names, np.array(shown, dtype=object))))
    return [
        {
            "language": name,
            "battles": share(inside.sum(), len(measured)),
            "verdicts": verdict_shares(measured.verdicts[inside]),
        }
        for name, inside in groups
    ]


def _repeats(measured: Measurements, battles: datasets.Dataset) -> Figures:
    """Extra copies: three equal rows are two duplicates. A swapped duplicate has A and B exchanged."""
    prompt, side_a, side_b = measured.fingerprints
    exact = Counter(zip(prompt.tolist(), side_a.tolist(), side_b.tolist(), strict=True))
    unordered = len({(key[0], *sorted(key[1:])) for key in exact})
    prompts = Counter(measured.groups.tolist())
    repeated = [(group, count) for group, count in prompts.most_common(PROMPTS_SHOWN) if count > 1]
    first_row = {group: row for row, group in reversed(list(enumerate(measured.groups.tolist())))}
    return {
        "duplicate_battles": len(measured) - len(exact),
        "swapped_duplicates": len(exact) - unordered,
        "identical_responses": int((side_a == side_b).sum()),
        "distinct_prompts": len(prompts),
        "battles_sharing_a_prompt": share(sum(count for count in prompts.values() if count > 1), len(measured)),
        "most_repeated_prompts": [
            {"prompt": _excerpt(battles[first_row[group]]["prompt"]), "battles": count} for group, count in repeated
        ],
    }


def _excerpt(turns: list[str | None] | None) -> str:
    """The start of a conversation's first turn on one line."""
    text = " ".join(((turns or [""])[0] or "")[: PROMPT_CHARACTERS * 2].split())
    return text if len(text) <= PROMPT_CHARACTERS else text[: PROMPT_CHARACTERS - 1] + "…"


def _nulls(measured: Measurements) -> Figures:
    return {
        "verdict": int((~measured.labelled).sum()),
        "model_a": sum(name is None for name in measured.models[0]),
        "model_b": sum(name is None for name in measured.models[1]),
        "language": sum(name is None for name in measured.languages),
    }


def _oddities(measured: Measurements) -> list[Figures]:
    """Every kind that is looked for, found or not, and whatever else the rows name."""
    counts = Counter(name for names in measured.oddities for name in set(names))
    return [
        {"oddity": name, "means": ODDITIES.get(name, ""), "battles": counts[name]}
        for name in sorted(set(ODDITIES) | set(counts), key=lambda name: (-counts[name], name))
    ]


def describe(battles: datasets.Dataset, *, num_proc: int | None = None, progress: bool = True) -> Figures:
    """All figures of the battles.

    Args:
        battles: as `arena_data.loading.load_battles` gives them; any number of rows, also none.
        num_proc: processes that read the texts for style; None leaves it to `style_arrays`.
        progress: bars with the time left, on stderr.
    """
    measured = measure(battles, progress=progress)
    style = style_arrays(battles, num_proc=num_proc, progress=progress)
    traits = [RESPONSE_FEATURES.index(name) for name in TRAITS]
    # The fourteen length features say the same thing about the longer response; one of them speaks for all.
    compared = [place for place, name in enumerate(RESPONSE_FEATURES) if name not in LENGTH_FEATURES[1:]]
    notes = {RESPONSE_FEATURES[place]: FEATURE_NOTES[RESPONSE_FEATURES[place]] for place in compared}
    return {
        "overview": _overview(measured),
        "lengths": _lengths(measured),
        "turns": _turns(measured),
        "models": describe_models(measured),
        "verbosity": describe_verbosity(measured),
        "position": describe_position(measured),
        "self_promotion": describe_traits(measured, style.a[:, traits], style.b[:, traits], list(TRAITS)),
        "style": describe_more(measured, style.a[:, compared], style.b[:, compared], notes),
        "languages": _languages(measured),
        "nulls": _nulls(measured),
        "repeats": _repeats(measured, battles),
        "oddities": _oddities(measured),
    }

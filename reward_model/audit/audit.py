"""The bias audit: what sways the model besides content, and whether people are swayed the same way.

Two kinds of evidence, both in win share (P(wins) + ½ P(tie)), both with 95 % intervals over prompts:

    observed        on real battles, what the model and what people give to the longer response, to the one with lists,
                    bold or headings, to the one that names or praises itself, to side A      (correlation)
    counterfactual  what the model gives to the same response padded, said twice, dressed up or down, praising itself,
                    shown on the other side, set against itself in another dress      (cause: nothing else changed)

The first says whether the model copies or amplifies people, the second what the model pays for the thing alone.
"""

from typing import Any

import datasets
import numpy as np

from arena_data.style.features import StyleArrays, style_arrays
from arena_data.style.languages import languages_of
from reward_model.audit.dress import describe_dress, dress_trial, sway
from reward_model.audit.languages import describe_languages
from reward_model.audit.observed import (
    TRAITS,
    compare_means,
    compare_slopes,
    length_curve,
    length_doublings,
    observed_trait,
    win_share,
)
from reward_model.audit.probes import PROBES, Predict, Trial, make_trial, swap_trial
from reward_model.evaluation.metrics import measure_swaps
from reward_model.evaluation.resampling import Estimate, Resampling

Figures = dict[str, Any]

MAX_BATTLES = 500


def audit(
    battles: datasets.Dataset,
    log_probs: np.ndarray,
    predict: Predict,
    max_battles: int = MAX_BATTLES,
    *,
    style: StyleArrays | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Figures:
    """Audits a model on labelled battles.

    Args:
        battles: columns of `arena_data.schema.FEATURES`, each with a verdict.
        log_probs: float [n, 3], the model's calibrated log-probabilities of them.
        predict: battles to calibrated log-probabilities float [k, 3]; called once, with every changed battle.
        max_battles: each change is tried on at most so many battles, drawn from all.
        style: of the battles, where it has been counted already.
        seed: of the draw of battles and of the intervals.
        progress: whether to show a bar while style is counted.

    Returns:
        plain numbers for JSON: `observed` effects as {model, people, difference, stance}, `changed` effects as
        {value, low, high, battles}, values in win share from -1 to 1; `dress` and `sway` as in `reward_model.audit.dress`.

    Raises: ValueError where a battle has no verdict, or `predict` returns another shape.
    """
    voted = battles["verdict"][:]
    if not voted or None in voted:
        raise ValueError("an audit needs battles, each with a verdict")
    counted = style if style is not None else style_arrays(battles, progress=progress)
    log_probs = np.asarray(log_probs, np.float64)
    probabilities = np.exp(log_probs)
    verdicts = np.asarray(voted, np.float64)
    groups = battles["group"][:]
    resampling = Resampling(groups, seed=seed)
    model, people = win_share(probabilities) - 0.5, win_share(verdicts) - 0.5
    doublings = length_doublings(counted)
    languages, recorded = languages_of(battles)

    order = np.random.default_rng(seed).permutation(len(battles))
    trials = [make_trial(probe, battles, counted, order, max_battles) for probe in PROBES]
    swap_rows, swaps = swap_trial(battles, order, max_battles)
    dresses = dress_trial(battles, order, max_battles)
    answers = _predict_all(predict, [swaps, *(trial.variants for trial in trials), *dresses.battles])

    length = compare_slopes(resampling, model, people, doublings)
    traits = {trait: observed_trait(resampling, model, people, counted, trait) for trait in TRAITS}
    changed = [
        _changed(trial, probabilities, np.exp(answer), groups, length, traits, seed)
        for trial, answer in zip(trials, answers[1 : 1 + len(trials)], strict=True)
    ]
    figures: Figures = {
        "battles": len(battles),
        "probed_at_most": max_battles,
        "position": {
            "observed": compare_means(resampling, 2 * model, 2 * people),
            "swapped": _swapped(log_probs[swap_rows], answers[0], [groups[row] for row in swap_rows], seed),
        },
        "verbosity": {
            "per_doubling": length,
            "curve": length_curve(resampling, model + 0.5, people + 0.5, doublings),
            "changed": _of_family(changed, "verbosity"),
        },
        "formatting": {
            "observed": [traits[name] for name in ("lists", "bold", "headings")],
            "changed": _of_family(changed, "formatting"),
        },
        "self_promotion": {
            "observed": [traits[name] for name in ("self_naming", "self_praise")],
            "changed": _of_family(changed, "self_promotion"),
        },
        "language": {
            "recorded": recorded,
            "observed": [traits["other_script"]],
            "languages": describe_languages(languages, resampling, probabilities, verdicts, doublings),
        },
        "dress": describe_dress(dresses, answers[1 + len(trials) :], groups, seed),
    }
    return figures | {"sway": sway(figures)}


def _predict_all(predict: Predict, parts: list[datasets.Dataset]) -> list[np.ndarray]:
    """Log-probabilities float64 [k, 3] of each part; one call, so that the model sorts and batches them together."""
    whole = datasets.concatenate_datasets(parts)
    answer = np.asarray(predict(whole), np.float64)
    if answer.shape != (len(whole), 3):
        raise ValueError(f"predictions have shape {answer.shape}; expected ({len(whole)}, 3)")
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return np.split(answer, ends)


def _of_family(changed: list[Figures], family: str) -> list[Figures]:
    return [figures for figures in changed if figures["family"] == family]


def _swapped(before: np.ndarray, after: np.ndarray, groups: list[str], seed: int) -> Figures:
    """What being shown first is worth to the same response, and how much the verdict depends on it.

    before, after: log-probabilities float [k, 3] of battles and of the same with A and B exchanged.
    """
    shown_first, shown_second = win_share(np.exp(before)), 1 - win_share(np.exp(after))
    depends = measure_swaps(before, after, groups, seed=seed)
    return {
        "first": Resampling(groups, seed=seed).mean(shown_first - shown_second),
        **{name: figure.to_json() | {"battles": len(groups)} for name, figure in depends.items()},
    }


def _changed(
    trial: Trial,
    before: np.ndarray,
    after: np.ndarray,
    groups: list[str],
    length: Figures,
    traits: dict[str, Figures],
    seed: int,
) -> Figures:
    """What the change does to the changed response, beside what correlation on real battles would lead one to expect."""
    probe, old = trial.probe, before[trial.rows]
    sign = np.where(np.array(trial.sides) == "a", 1.0, -1.0)
    gain = sign * (win_share(after) - win_share(old)) if len(old) else np.zeros(0)
    resampling = Resampling([groups[row] for row in trial.rows], seed=seed)
    if probe.trait is None:
        factor = float(trial.growth.mean()) if len(old) else 0.0
        expected = {name: _scaled(length[name], factor) for name in ("model", "people")}
    else:
        expected = {
            name: _scaled(traits[probe.trait][name], 1.0 if probe.adds else -1.0) for name in ("model", "people")
        }
    return {
        "name": probe.name,
        "family": probe.family,
        "label": probe.label,
        "battles": len(old),
        "length_factor": float(2.0 ** trial.growth.mean()) if len(old) else None,
        "win_share": resampling.mean(gain),
        "tie": resampling.mean(after[:, 2] - old[:, 2]),
        "gains": resampling.mean(gain > 0),
        "expected": expected,
    }


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate times a factor; a negative one exchanges the ends of the interval."""
    low, high = ("low", "high") if factor >= 0 else ("high", "low")
    known = {name: None if estimate[end] is None else estimate[end] * factor for name, end in
             (("value", "value"), ("low", low), ("high", high))}  # fmt: skip
    return {**known, "battles": estimate["battles"]}

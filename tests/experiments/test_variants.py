"""The arms that do one thing otherwise: each does it, and still knows no side."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from experiments.variants import FrozenVariant
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.embeddings import LIKELIHOOD, Embedder

VARIANTS: dict[str, dict[str, Any]] = {
    "mean": {"ties": "mean"},
    "style": {"ties": "style"},
    "global": {"ties": "global"},
    "no style": {"style_features": "off"},
    "style afterwards": {"style_features": "calibration"},
    "wins": {"tie_free": "wins"},
    "no offset": {"source_offset": False},
    "one scale": {"whole_scale": True},
    "no vectors": {"without": "vectors", "likelihood": True},
    "no likelihood": {"without": "likelihood", "likelihood": True},
}


def sides(self: Embedder, battles: datasets.Dataset, *names: str) -> tuple[np.ndarray, np.ndarray]:
    """Counted letters for vectors and for likelihoods: no backbone is needed to see what a variant does."""
    letters = "".join("eo" if name == LIKELIHOOD else "lea" for name in names)
    return tuple(
        np.asarray([[turns[0].count(letter) for letter in letters] for turns in battles[f"response_{side}"]])
        for side in "ab"
    )


@pytest.fixture(scope="module")
def fitted() -> dict[str, FrozenVariant]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Embedder, "sides", sides)
        own, extra = by_length(150, 1), by_length(100, 2, tie_rate=0.0, source="none")
        found = {name: FrozenVariant("none", **options) for name, options in VARIANTS.items()}
        for variant in found.values():
            variant.fit(own, extra)
    return found


def by_length(count: int, seed: int, tie_rate: float = 0.3, source: str = "own") -> datasets.Dataset:
    """A tie with a chance of `tie_rate`; otherwise the longer answer wins with a chance of 0.9."""
    from arena_data.reading.builder import group_of
    from arena_data.schema import FEATURES

    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        texts = ["bead " * int(draw.integers(4, 60)) for _ in range(2)]
        longer = int(len(texts[1]) > len(texts[0]))
        won = 2 if draw.random() < tie_rate else longer if draw.random() < 0.9 else 1 - longer
        prompt = [f"Question {source} {number}?"]
        row = {"id": str(number), "prompt": prompt, "response_a": [texts[0]], "response_b": [texts[1]]}
        row |= {"verdict": np.eye(3)[won].tolist(), "group": group_of(prompt), "source": source, "oddities": []}
        rows.append(dict.fromkeys(FEATURES) | row)
    return datasets.Dataset.from_list(rows, features=FEATURES)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_and_knows_no_side(
    name: str, fitted: dict[str, FrozenVariant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embedder, "sides", sides)
    battles = by_length(200, 3)
    turned = battles.rename_columns({"response_a": "response_b", "response_b": "response_a"})
    found, other = (fitted[name].log_probabilities(given) for given in (battles, turned))
    np.testing.assert_array_equal(found[:, [1, 0, 2]], other)
    assert -(found * np.asarray(list(battles["verdict"]))).sum(axis=1).mean() < 1.0


def test_each_does_the_one_thing_it_is_named_for(
    fitted: dict[str, FrozenVariant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embedder, "sides", sides)
    battles = by_length(50, 4)
    ties = {name: variant.log_probabilities(battles) for name, variant in fitted.items()}
    # One tie strength for all: log P(tie) − ½ (log P(A) + log P(B)) is it.
    strength = ties["global"][:, 2] - ties["global"][:, :2].mean(axis=1)
    np.testing.assert_allclose(strength, strength[0])
    assert np.ptp(ties["mean"][:, 2] - ties["mean"][:, :2].mean(axis=1)) > 0.01
    assert np.all(fitted["style"].weights.even[-3:] == 0)
    assert np.all(fitted["no style"].weights.odd[:-3] == 0)
    assert fitted["style afterwards"].second is not None
    assert fitted["no offset"].weights.source.tolist() == [0.0]
    sample = fitted["wins"]._sample(
        battles, fitted["wins"].read(battles), by_length(20, 5, tie_rate=0.0, source="none")
    )
    assert sample.design.tie_observed.all()
    assert not sample.design.source.any()
    spread = fitted["one scale"].side.spread
    assert np.ptp(spread) == 0
    assert isinstance(fitted["one scale"].weights, davidson.Weights)
    assert np.all(fitted["no vectors"].weights.odd[-3:] == 0) and np.all(fitted["no vectors"].weights.even[-3:] == 0)
    assert len(fitted["no likelihood"].weights.odd) == len(fitted["mean"].weights.odd)
    assert len(fitted["no vectors"].weights.odd) == len(fitted["mean"].weights.odd) + 4


def test_an_unknown_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ties is 'all'"):
        FrozenVariant("none", ties="all")

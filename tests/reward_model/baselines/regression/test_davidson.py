"""The convex fit against scikit-learn, with ties and without, and what extra battles may and may not move."""

import datasets
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design
from reward_model.baselines.regression.style import StyleRegression
from tests.helpers.made_battles import Make


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """odd [n, 3], even [n, 2], labels [n], drawn from the model itself."""
    draw = np.random.default_rng(0)
    odd, even = draw.normal(size=(3000, 3)), draw.normal(size=(3000, 2))
    half, tie = odd @ [1.0, -0.5, 0.2] / 2, even @ [0.8, -0.3] + 0.1
    cumulated = np.cumsum(np.exp(np.stack([half, -half, tie], axis=1)), axis=1)
    labels = (draw.random(len(odd))[:, None] * cumulated[:, -1:] > cumulated).sum(axis=1)
    return odd, even, labels


def test_it_equals_multinomial_logistic_regression_on_both_orders(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    odd, even, labels = drawn
    found = davidson.fit(Design.plain(odd, even), np.eye(3)[labels], penalty=1e-10)
    oracle = LogisticRegression(C=1e8, tol=1e-10, max_iter=2000).fit(
        np.vstack([np.hstack([odd, even]), np.hstack([-odd, even])]),
        np.concatenate([labels, np.array([1, 0, 2])[labels]]),
    )
    expected = oracle.predict_log_proba(np.hstack([odd, even]))
    np.testing.assert_allclose(davidson.log_probabilities(Design.plain(odd, even), found), expected, atol=1e-3)


def test_without_ties_observed_it_equals_penalised_binary_logistic_regression(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    odd, even, labels = (values[drawn[2] < 2] for values in drawn)
    ours = Design.plain(odd, even)
    # Our own battles, in which ties were recorded, are there with a weight that is next to nothing.
    both = Design(*(np.concatenate([values, values[:10]]) for values in ours))
    both = both._replace(tie_observed=np.arange(len(both.odd)) >= len(odd))
    verdicts = np.eye(3)[np.concatenate([labels, np.arange(10) % 3])]
    weight = np.where(both.tie_observed, 1e-9, 1.0)
    found = davidson.fit(both, verdicts, penalty=0.1, weight=weight)
    oracle = LogisticRegression(C=1 / (0.1 * len(odd)), fit_intercept=False, tol=1e-10).fit(odd, labels == 0)
    np.testing.assert_allclose(found.odd, oracle.coef_[0], atol=1e-4)
    assert np.abs(found.even).max() < 1e-4


def test_a_tie_where_none_can_be_observed_is_refused() -> None:
    design = Design.plain(np.ones((2, 1)), np.ones((2, 1)))._replace(tie_observed=np.array([True, False]))
    with pytest.raises(ValueError, match="is a tie"):
        davidson.fit(design, np.array([[1.0, 0, 0], [0, 0, 1.0]]), 0.1)


def two_tastes(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> tuple[Design, np.ndarray]:
    """60 battles of ours and 4,000 of one other source, whose margins have other weights; verdicts one-hot."""
    draw = np.random.default_rng(seed)
    odd, even = draw.normal(size=(4060, 3)), draw.normal(size=(4060, 2))
    other = np.arange(4060) >= 60
    half = np.where(other, odd @ theirs, odd @ ours) / 2
    shares = np.cumsum(np.exp(np.stack([half, -half, 0 * half], axis=1)), axis=1)
    labels = (draw.random(4060)[:, None] * shares[:, -1:] > shares).sum(axis=1)
    return Design(odd, even, other[:, None].astype(float), np.ones(4060, dtype=bool)), np.eye(3)[labels]


def test_weights_of_a_source_are_the_fit_of_a_design_with_a_copy_of_its_features() -> None:
    design, verdicts = two_tastes(np.array([1.0, 0.5, 0.0]), np.array([1.0, 0.0, 0.5]))
    ours = davidson.fit(design, verdicts, penalty=0.02, closeness=0.25)
    # Daume (2007): a copy that is 0 elsewhere; its scale is the root of one over the closeness.
    copies = [np.hstack([part, 2 * part * design.source]) for part in (design.odd, design.even)]
    oracle = davidson.fit(design._replace(odd=copies[0], even=copies[1]), verdicts, penalty=0.02)
    np.testing.assert_allclose(ours.odd, oracle.odd[:3], atol=1e-3)
    np.testing.assert_allclose(ours.even, oracle.even[:2], atol=1e-3)
    np.testing.assert_allclose([ours.bias, *ours.source], [oracle.bias, *oracle.source], atol=1e-3)


def test_without_another_source_the_closeness_changes_nothing() -> None:
    design, verdicts = two_tastes(np.ones(3), np.ones(3))
    alone = design._replace(source=np.zeros((len(design.odd), 0)))
    for one, other in zip(
        davidson.fit(alone, verdicts, 0.02), davidson.fit(alone, verdicts, 0.02, closeness=0.3), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_what_a_source_likes_otherwise_stays_its_own() -> None:
    theirs = np.array([1.0, 1.0, -1.0])
    design, verdicts = two_tastes(np.ones(3), theirs)
    loose, tight = (davidson.fit(design, verdicts, 0.001, closeness=value).odd for value in (0.1, 1e5))
    pooled = davidson.fit(design, verdicts, 0.001).odd
    np.testing.assert_allclose(tight, pooled, atol=0.01)
    # Of the third feature the two sources think the opposite: ours alone decides.
    assert pooled[2] < -0.5 < 0.3 < loose[2]
    assert loose[:2].min() > 0.2


def fit_with(extra: datasets.Dataset | None, own: datasets.Dataset) -> StyleRegression:
    baseline = StyleRegression()
    baseline.fit(own, extra)
    return baseline


@pytest.mark.parametrize("tie_rate", [0.0, 0.8], ids=["no ties recorded", "many ties"])
def test_extra_battles_teach_margins_and_leave_the_tie_rate_alone(tie_rate: float, make: dict[str, Make]) -> None:
    own, held_out = make["length"](20, 1, tie_rate=0.3), make["length"](400, 2, tie_rate=0.3)
    extra = make["length"](1500, 3, tie_rate=tie_rate, source="elsewhere")
    verdicts = np.asarray(list(held_out["verdict"]))

    def measured(baseline: StyleRegression) -> tuple[float, float]:
        log_probs = baseline.log_probabilities(held_out)
        return float(-(verdicts * log_probs).sum(axis=1).mean()), float(np.exp(log_probs[:, 2]).mean())

    (alone, rate_alone), (helped, rate_helped) = measured(fit_with(None, own)), measured(fit_with(extra, own))
    assert helped < alone - 0.005
    assert abs(rate_helped - rate_alone) < 0.06
    # Read as battles of our own, they would have moved the tie rate most of the way to theirs.
    pooled = datasets.concatenate_datasets([own, extra])
    assert abs(measured(fit_with(None, pooled))[1] - rate_alone) > 0.15

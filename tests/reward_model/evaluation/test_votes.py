"""Win shares by prediction-powered inference: worked by hand, the coverage of intervals, and what is asked next."""

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import t as student

from reward_model.evaluation.votes import LEAST_VOTES, ask, score, win_share


def voted_battles(rows: int, seed: int, bias: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [rows, 3] and the scores of votes by them; what is predicted is off by a bias in favour of A."""
    random = np.random.default_rng(seed)
    true = random.dirichlet([0.5, 0.5, 0.5], rows)
    verdicts = (random.random((rows, 1)) > true.cumsum(axis=1)[:, :2]).sum(axis=1)
    predicted = true + bias * np.array([1.0, 0, 0])
    return predicted / predicted.sum(axis=1, keepdims=True), score(np.eye(3)[verdicts])


def some(votes: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The votes of some battles picked at random, NaN for the others."""
    kept = np.full(len(votes), np.nan)
    rows = np.random.default_rng(seed).permutation(len(votes))[:number]
    kept[rows] = votes[rows]
    return kept


def test_the_mean_and_its_variance_are_those_of_the_paper() -> None:
    """PPI++, equation 2 and section 6: labelled and unlabelled battles apart, trust by covariance over variance."""
    random = np.random.default_rng(0)
    predicted = random.random(1000)
    votes = np.clip(predicted + random.normal(0, 0.3, 1000), 0, 1)
    known = some(votes, 100, 1)
    voted = ~np.isnan(known)
    n, others = 100, 900
    covariance = np.cov(votes[voted], predicted[voted])[0, 1]
    trust = covariance / np.var(predicted, ddof=1) / (1 + n / others)
    result = win_share(predicted, known)
    # Ours counts the labelled battles' predictions among all N: trust times 1 + n / N' is the same estimator.
    assert result.trust * (others / 1000) == pytest.approx(trust, rel=0.1)
    trust = result.trust * others / 1000
    value = trust * predicted[~voted].mean() + (votes - trust * predicted)[voted].mean()
    assert result.powered.value == pytest.approx(value)
    variance = trust**2 * predicted[~voted].var() / others + (votes - trust * predicted)[voted].var() / n
    expected = 2 * student.ppf(0.975, 99) * np.sqrt(variance)
    assert result.powered.width == pytest.approx(expected, rel=0.03)


def test_votes_alone_worked_by_hand() -> None:
    known = np.array([1.0, 0, 1, 0, 1, 0, 1, 0, 1, 0, *[np.nan] * 10])
    result = win_share(np.full(20, 0.3), known)
    half = student.ppf(0.975, 9) * 0.5 * np.sqrt(10) / 10 * np.sqrt(10 / 9)
    assert result.alone.value == 0.5 and result.alone.high - 0.5 == pytest.approx(half)
    assert result.powered == result.alone and result.trust == 0  # predictions that never vary say nothing
    assert result.narrower == 0


@pytest.mark.parametrize(("vote", "low", "high"), [(1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)])
def test_votes_that_all_agree_are_not_certain(vote: float, low: float, high: float) -> None:
    predicted, _ = voted_battles(200, 0)
    votes = np.where(np.arange(200) < 30, vote, np.nan)
    result = win_share(score(predicted), votes)
    unseen = 1 - binomtest(30, 30).proportion_ci(0.95, "exact").low
    assert result.alone == result.powered
    assert result.alone.low == pytest.approx(vote - low * unseen)
    assert result.alone.high == pytest.approx(vote + high * unseen)


@pytest.mark.parametrize("bias", [0.0, 2.0])
@pytest.mark.parametrize("active", [False, True])
def test_the_interval_holds_the_truth_whatever_the_predictions_are_worth(bias: float, active: bool) -> None:
    held, narrower = [], []
    truth = voted_battles(200_000, 999)[1].mean()
    for seed in range(200):
        predicted, votes = voted_battles(1000, seed, bias)
        known, chances = some(votes, 100, seed), None
        if active:
            picked, chances = ask(predicted, ~np.isnan(known), 100, None, seed)
            known[picked] = votes[picked]
        result = win_share(score(predicted), known, None, chances)
        held.append(result.powered.low <= truth <= result.powered.high)
        narrower.append(result.narrower)
    assert 0.9 <= np.mean(held) <= 0.99  # 95 % within three standard errors
    assert np.mean(narrower) > (0.15 if bias == 0 else 0.05)


def test_battles_of_a_prompt_count_as_one_piece_of_evidence() -> None:
    predicted, votes = voted_battles(300, 3)
    known = some(votes, 60, 4)
    once = win_share(score(predicted), known)
    groups = [str(row) for row in range(300)] * 4
    four = win_share(np.tile(score(predicted), 4), np.tile(known, 4), groups)
    assert four.powered.width == pytest.approx(once.powered.width)
    assert win_share(np.tile(score(predicted), 4), np.tile(known, 4)).powered.width < 0.6 * once.powered.width


def test_swapping_sides_swaps_the_share() -> None:
    predicted, votes = voted_battles(300, 5)
    known = some(votes, 60, 6)
    one, other = win_share(score(predicted), known), win_share(1 - score(predicted), 1 - known)
    assert other.powered.value == pytest.approx(1 - one.powered.value)
    assert other.powered.low == pytest.approx(1 - one.powered.high)


def test_the_votes_still_needed_give_about_the_width_wanted() -> None:
    predicted, votes = voted_battles(20_000, 7)
    first = win_share(score(predicted), some(votes, 500, 8))
    wanted = 0.6 * first.powered.width
    more = first.more_votes(wanted)
    assert more is not None and 500 < more < 1500
    assert win_share(score(predicted), some(votes, 500 + more, 9)).powered.width == pytest.approx(wanted, rel=0.1)
    assert first.more_votes(first.powered.width * 1.01) == 0
    assert first.more_votes(0.0001) is None


def test_what_is_asked_next_is_the_uncertain_battles_with_stated_chances() -> None:
    predicted = np.array([[0.98, 0.01, 0.01], [0.5, 0.5, 0.0]] * 200)
    voted = np.zeros(400, dtype=bool)
    voted[:40] = True
    counts = np.zeros(400)
    for seed in range(200):
        picked, chances = ask(predicted, voted, 60, None, seed)
        assert picked.sum() == 60 and not (picked & voted).any()
        counts += picked
    certain, torn = counts[40::2].mean() / 200, counts[41::2].mean() / 200
    assert torn > 1.5 * certain > 0
    # One in ten was voted on at first; the others are asked with the chances measured here.
    assert chances[40] == pytest.approx(0.1 + 0.9 * certain, abs=0.01)
    assert chances[41] == pytest.approx(0.1 + 0.9 * torn, abs=0.01)


def test_too_few_votes_and_wrong_numbers_are_refused() -> None:
    predicted, votes = voted_battles(50, 1)
    with pytest.raises(ValueError, match=f"9 prompts have votes; expected at least {LEAST_VOTES}"):
        win_share(score(predicted), some(votes, 9, 0))
    with pytest.raises(ValueError, match="above 0"):
        win_share(score(predicted), votes, None, np.zeros(50))
    with pytest.raises(ValueError, match="51 battles to ask about"):
        ask(predicted, np.zeros(50, dtype=bool), 51)

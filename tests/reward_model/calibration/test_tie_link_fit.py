"""The tie link's two numbers are found again, swapping swaps, and a useless model is told."""

import numpy as np
import pytest

from reward_model.calibration.tie_link_fit import LINKS, TieLinkFit, fit_tie_link, link_log_probs


def made(
    link: str, scale: float, tie_strength: float, rows: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    differences = 5 * random.normal(size=rows)
    chances = np.exp(link_log_probs(link, scale, tie_strength, differences)).cumsum(axis=1)
    return differences, np.eye(3)[(random.random((rows, 1)) > chances[:, :2]).sum(axis=1)]


@pytest.mark.parametrize("link", LINKS)
def test_scale_and_tie_strength_are_found_again(link: str) -> None:
    differences, verdicts = made(link, 0.4, -0.3)
    fitted = fit_tie_link(differences, verdicts)
    assert fitted.link == link and fitted.scale == pytest.approx(0.4, rel=0.15)
    assert fitted.tie_strength == pytest.approx(-0.3, abs=0.2) and fitted.log_loss < fitted.prior_log_loss - 0.1
    # The unit of the rewards is no matter.
    stretched = fit_tie_link(1000 * differences, verdicts)
    np.testing.assert_allclose(stretched.log_probs(1000 * differences), fitted.log_probs(differences), atol=1e-3)


def test_swapping_swaps_exactly_and_rows_sum_to_one() -> None:
    differences, verdicts = made("rao_kupper", 0.2, 0.5, rows=300)
    fitted = fit_tie_link(differences, verdicts)
    forward, backward = fitted.log_probs(differences), fitted.log_probs(-differences)
    np.testing.assert_array_equal(forward, backward[:, [1, 0, 2]])
    np.testing.assert_allclose(np.exp(forward).sum(axis=1), 1)


def test_rewards_against_the_votes_tell_nothing() -> None:
    differences, verdicts = made("davidson", 0.4, 0.0)
    fitted = fit_tie_link(-differences, verdicts)
    assert np.ptp(fitted.log_probs(differences)[:, 0]) < 0.05
    assert fitted.log_loss == pytest.approx(fitted.prior_log_loss, abs=0.02)


def test_one_prompt_equal_rewards_and_numbers_that_are_none() -> None:
    fitted = fit_tie_link(np.zeros(3), np.eye(3), ["p"] * 3)
    assert fitted.folds == 0 and np.isfinite(fitted.log_probs([0.0, 5.0])).all()
    with pytest.raises(ValueError, match="finite"):
        fit_tie_link([np.nan], np.eye(3)[:1])
    with pytest.raises(ValueError, match="tie link"):
        TieLinkFit("bradley_terry", 1, 0, 1, 1, 1, 0)
    with pytest.raises(ValueError, match="scale"):
        TieLinkFit("davidson", -1, 0, 1, 1, 1, 0)

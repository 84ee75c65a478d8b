"""The rule away from home: no sharper than what held in any source, whatever a source's habit of ties."""

import numpy as np
import pytest
from scipy.special import log_softmax

from arena_data.style.features import RESPONSE_FEATURES, StyleArrays
from experiments.away_rule import LEAST, SourcePredictions, best_share, fitted_rule, least_share
from reward_model.pretrained.away import Situation

PRIOR = np.array([0.35, 0.35, 0.3])
FOREIGN = Situation("not in English", keep=1.0, languages=("English",))
LONG = Situation("long", keep=1.0, feature="length_log_sum", high=9.0)


def source(count: int, share: float, seed: int, shift: float = 0.0, language: str = "Korean") -> SourcePredictions:
    """Battles whose verdicts are drawn from `share` of what is said of them, and from a tie rate of their own.

    A shift of -inf: nobody ties.
    """
    random = np.random.default_rng(seed)
    log_probs = log_softmax(np.log(PRIOR) + random.normal(0, 1.5, (count, 3)), axis=1)
    truth = share * log_probs + (1 - share) * np.log(PRIOR)
    truth[:, 2] += shift
    chances = np.exp(log_softmax(truth, axis=1))
    verdicts = np.eye(3)[(random.random((count, 1)) > chances.cumsum(axis=1)[:, :2]).sum(axis=1)]
    sides = np.zeros((count, len(RESPONSE_FEATURES)), np.float32)
    return SourcePredictions(verdicts, log_probs, StyleArrays(sides, sides, sides[:, 0]), [language] * count)


@pytest.mark.parametrize("shift", [0.0, 1.5, -np.inf])
def test_the_best_share_is_that_which_the_verdicts_were_drawn_from_whatever_the_tie_rate(shift: float) -> None:
    for share in (0.0, 0.4, 1.0):
        drawn = source(6000, share, 1, shift)
        assert best_share(PRIOR, drawn.verdicts, drawn.log_probs) == pytest.approx(share, abs=0.06)


def test_the_rule_keeps_the_least_share_of_any_source_and_small_ones_have_no_say() -> None:
    sources = [
        source(3000, 0.9, 1),
        source(3000, 0.5, 2),
        source(LEAST - 1, 0.0, 3),
        source(3000, 0.1, 4, 0.0, "English"),
    ]
    share = least_share(PRIOR, FOREIGN, sources)
    assert 0.4 <= share <= 0.55 and share * 20 == pytest.approx(round(share * 20))
    rule = fitted_rule(PRIOR, [FOREIGN, LONG], sources)
    # Nobody was long, so nothing is known of it and no rule is made.
    assert [(one.about, one.keep) for one in rule.situations] == [("not in English", share)]
    margins = [np.abs(values[:, 0] - values[:, 1]) for values in (sources[0].ruled(rule), sources[0].log_probs)]
    np.testing.assert_allclose(margins[0], share * margins[1], atol=1e-9)
    np.testing.assert_array_equal(sources[3].ruled(rule), sources[3].log_probs)


def test_a_judge_that_holds_everywhere_keeps_everything() -> None:
    surer = source(3000, 1.0, 5)
    assert least_share(PRIOR, FOREIGN, [surer._replace(log_probs=0.5 * surer.log_probs)]) == 1
    assert fitted_rule(PRIOR, [FOREIGN], [source(3000, 1.0, 5, 0.0, "English")]).situations == ()

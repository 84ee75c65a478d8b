"""The ordered link of grades: numbers worked by hand, statsmodels' ordered logit, swaps, sums and gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import logistic
from statsmodels.miscmodels.ordinal_model import OrderedModel

from reward_model.model.graded_link import grade_losses, graded_log_probabilities
from reward_model.model.tie_links import LINKS, log_probabilities

MARGINS = torch.tensor([-30.0, -2.0, 0.0, 0.5, 1.0, 30.0], dtype=torch.float64)
TIES = torch.tensor([0.3, -1.0, 0.0, 2.0, -20.0, 0.1], dtype=torch.float64)
GAPS = torch.tensor([[0.7, 1.5]] * 6, dtype=torch.float64)


def test_davidson_by_hand() -> None:
    """d = ln 4, e^τ = 1/2, second grade from t_2 = ln 2 on.

    P(A) : P(B) : P(tie) = 2 : 1/2 : 1/2, so P(A) = 2/3. Given the win, σ(ln 4 - ln 2) / σ(ln 4) = (2/3) / (4/5) = 5/6.
    For B, P(B) = 1/6 and σ(-ln 4 - ln 2) / σ(-ln 4) = (1/9) / (1/5) = 5/9.
    """
    values = [torch.tensor([math.log(x)], dtype=torch.float64) for x in (4.0, 0.5, 2.0)]
    probabilities = graded_log_probabilities(values[0], values[1], values[2][None], "davidson").exp()[0]
    expected = [2 / 3 * 5 / 6, 2 / 3 * 1 / 6, 1 / 6, 1 / 6 * 4 / 9, 1 / 6 * 5 / 9]
    torch.testing.assert_close(probabilities, torch.tensor(expected, dtype=torch.float64))


def test_rao_kupper_by_hand() -> None:
    """d = ln 6, η = ln 2, t_2 = ln 3: P(A, 2) = σ(ln 1) = 1/2, P(A) = σ(ln 3) = 3/4; P(B) = σ(-ln 12) = 1/13,
    P(B, 2) = σ(-ln 36) = 1/37. softplus(0) = ln 2."""
    margin, gap = (torch.tensor([math.log(x)], dtype=torch.float64) for x in (6.0, 3.0))
    tie_strength = torch.zeros(1, dtype=torch.float64)
    probabilities = graded_log_probabilities(margin, tie_strength, gap[None], "rao_kupper").exp()[0]
    expected = [1 / 2, 1 / 4, 1 - 3 / 4 - 1 / 13, 1 / 13 - 1 / 37, 1 / 37]
    torch.testing.assert_close(probabilities, torch.tensor(expected, dtype=torch.float64))


def test_under_rao_kupper_it_is_statsmodels_ordered_logit() -> None:
    random = np.random.default_rng(0)
    feature = random.normal(size=(300, 1))
    eta, gaps = math.log(2.0), np.array([0.7, 1.5])
    cuts = np.cumsum([eta, *gaps])
    thresholds = np.array([*-cuts[::-1], *cuts])
    model = OrderedModel(random.permutation(np.arange(300) % 7), feature, distr=logistic)
    parameters = np.array([1.3, thresholds[0], *np.log(np.diff(thresholds))])
    expected = model.predict(parameters, exog=feature)  # from the clearest B to the clearest A
    margin = torch.from_numpy(1.3 * feature[:, 0])
    rows = torch.from_numpy(gaps).expand(300, 2)
    ours = graded_log_probabilities(margin, torch.zeros_like(margin), rows, "rao_kupper").exp()
    np.testing.assert_allclose(ours.numpy(), np.asarray(expected)[:, ::-1], atol=1e-12)


@pytest.mark.parametrize("link", LINKS)
def test_the_grades_of_a_side_sum_to_what_is_predicted(link: str) -> None:
    graded = graded_log_probabilities(MARGINS, TIES, GAPS, link)
    a, tie, b = graded[:, :3].logsumexp(-1), graded[:, 3], graded[:, 4:].logsumexp(-1)
    torch.testing.assert_close(torch.stack([a, b, tie], -1), log_probabilities(MARGINS, TIES, link))


@pytest.mark.parametrize("link", LINKS)
def test_a_swap_turns_the_grades_round_to_the_last_bit(link: str) -> None:
    there = graded_log_probabilities(MARGINS.float(), TIES.float(), GAPS.float(), link)
    back = graded_log_probabilities(-MARGINS.float(), TIES.float(), GAPS.float(), link)
    assert torch.equal(there, back.flip(-1))


@pytest.mark.parametrize("link", LINKS)
def test_a_source_with_fewer_grades_has_no_others(link: str) -> None:
    """Of three grades, two: as if the gap above the second had never been."""
    levels = torch.full((6,), 2)
    probabilities = graded_log_probabilities(MARGINS, TIES, GAPS, link, levels).exp()
    torch.testing.assert_close(probabilities[:, [0, 6]], torch.zeros(6, 2, dtype=torch.float64))
    expected = graded_log_probabilities(MARGINS, TIES, GAPS[:, :1], link).exp()
    torch.testing.assert_close(probabilities[:, 1:6], expected)


@pytest.mark.parametrize("link", LINKS)
def test_gradients(link: str) -> None:
    def loss(margin: torch.Tensor, tie: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
        labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.3, 0.2]], dtype=torch.float64)
        grade, levels = torch.tensor([3, 1, 0, 2]), torch.tensor([3, 2, 3, 3])
        return grade_losses(margin, tie, labels, grade, levels, gaps, link)

    inputs = [values[1:5].clone().requires_grad_() for values in (MARGINS, TIES, GAPS)]
    assert torch.autograd.gradcheck(loss, inputs)
    assert loss(*inputs)[2] == 0


@pytest.mark.parametrize("link", LINKS)
def test_extremes_are_finite_with_finite_gradients(link: str) -> None:
    margin = torch.tensor([-100.0, 100.0, 0.0], requires_grad=True)
    tie = torch.tensor([50.0, -50.0, 0.0], requires_grad=True)
    gaps = torch.tensor([[1e-12, 80.0]] * 3, requires_grad=True)
    graded_log_probabilities(margin, tie, gaps, link).sum().backward()
    for values in (margin, tie, gaps):
        assert values.grad is not None and bool(values.grad.isfinite().all())

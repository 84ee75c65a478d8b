"""Tie links against exact arithmetic and against two fitted models of other libraries."""

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from statsmodels.miscmodels.ordinal_model import OrderedModel

from reward_model.model.tie_links import LINKS, from_probabilities, log_probabilities, pairwise

# tau for a given eta of Rao-Kupper: the inverse of softplus.
ETAS = (1e-30, 1e-6, 1e-3, 0.1, 0.5, 1.0, 20.5, 100.0)
TIE_STRENGTHS = (*(float(mpmath.log(mpmath.expm1(eta))) for eta in ETAS), -100.0)
MARGINS = (-100.0, -3.0, -1e-4, 0.0, 0.5, 20.0, 100.0)


def exact(margin: float | mpmath.mpf, tie_strength: float | mpmath.mpf, link: str) -> list[mpmath.mpf]:
    """Log-probabilities by the equations as the papers print them, with 200 digits."""
    with mpmath.workdps(200):
        better, tau = mpmath.exp(margin), mpmath.mpf(tie_strength)
        if link == "davidson":
            weights = [better, mpmath.mpf(1), mpmath.exp(tau) * mpmath.sqrt(better)]
            probs = [weight / mpmath.fsum(weights) for weight in weights]
        else:
            theta = 1 + mpmath.exp(tau)
            win_a, win_b = better / (better + theta), 1 / (1 + theta * better)
            probs = [win_a, win_b, 1 - win_a - win_b]
        return [mpmath.log(prob) for prob in probs]


def grid(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [(margin, tau) for margin in MARGINS for tau in TIE_STRENGTHS]
    margin, tie_strength = torch.tensor(pairs, dtype=dtype).T
    return margin.clone().requires_grad_(), tie_strength.clone().requires_grad_()


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 2e-15)])
def test_extremes_agree_with_exact_arithmetic(link: str, dtype: torch.dtype, tolerance: float) -> None:
    margin, tie_strength = grid(dtype)
    log_probs = log_probabilities(margin, tie_strength, link)
    assert log_probs.dtype == dtype and log_probs.shape == (len(margin), 3)
    pairs = zip(margin.tolist(), tie_strength.tolist(), strict=True)
    exactly = [[float(value) for value in exact(d, tau, link)] for d, tau in pairs]
    expected = torch.tensor(exactly, dtype=torch.float64)
    # The absolute part is for log-probabilities near 0, where the probability itself has no more digits than this.
    torch.testing.assert_close(log_probs.detach().double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(len(margin), dtype=dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_at_the_extremes_are_finite_and_right(link: str, dtype: torch.dtype) -> None:
    for verdict in range(3):
        margin, tie_strength = grid(dtype)
        log_probabilities(margin, tie_strength, link)[:, verdict].sum().backward()
        assert margin.grad is not None and tie_strength.grad is not None
        found = torch.stack((margin.grad, tie_strength.grad), dim=-1)
        assert found.isfinite().all()
        for row, (d, tau) in enumerate(zip(margin.tolist(), tie_strength.tolist(), strict=True)):
            with mpmath.workdps(200):
                here, step = exact(d, tau, link)[verdict], mpmath.mpf(10) ** -50
                slopes = [
                    float((exact(d + step * right, tau + step * up, link)[verdict] - here) / step)
                    for right, up in ((1, 0), (0, 1))
                ]
            assert found[row].tolist() == pytest.approx(slopes, rel=1e-5, abs=1e-6), (d, tau)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("function", [log_probabilities, pairwise])
def test_gradcheck(link: str, function: Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor]) -> None:
    margin = torch.tensor([-4.0, -0.3, 0.0, 1.7, 6.0], dtype=torch.float64, requires_grad=True)
    # The two tie strengths on either side of the switch to the series, at 2 eta = 1e-3, are among them.
    tie_strength = torch.tensor([-9.0, -7.59, -7.61, 0.4, 25.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d, tau: function(d, tau, link), (margin, tie_strength))


@pytest.mark.parametrize("link", LINKS)
def test_swapping_the_sides_swaps_a_and_b_and_leaves_the_tie(link: str) -> None:
    margin, tie_strength = torch.randn(64) * 5, torch.randn(64) * 3
    forward, backward = log_probabilities(margin, tie_strength, link), log_probabilities(-margin, tie_strength, link)
    assert torch.equal(forward[:, [1, 0, 2]], backward)
    assert torch.equal(pairwise(margin, tie_strength, link).flip(-1), pairwise(-margin, tie_strength, link))


def test_rao_kupper_is_the_ordered_logit_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    slope, tau = 1.3, 0.2
    feature = rng.normal(size=1500)
    margin = torch.tensor(slope * feature)
    probs = log_probabilities(margin, torch.tensor(tau, dtype=torch.float64), "rao_kupper").exp().numpy()
    verdict = np.array([rng.choice(3, p=row) for row in probs])
    rank = np.array([2, 0, 1])[verdict]  # B < tie < A
    model = OrderedModel(rank, feature[:, None], distr="logit")
    eta = float(np.log1p(np.exp(tau)))
    # Statsmodels keeps the first threshold and the logs of the steps between thresholds.
    parameters = np.array([slope, -eta, np.log(2 * eta)])
    likelihood = float(np.log(probs[np.arange(len(verdict)), verdict]).sum())
    assert likelihood == pytest.approx(model.loglike(parameters), rel=1e-12)
    theirs = model.predict(parameters, exog=feature[:, None])
    np.testing.assert_allclose(theirs[:, [2, 0, 1]], probs, atol=1e-12)

    # The thresholds of the fit are free; a symmetric truth brings them near -eta and eta.
    fit = model.fit(method="bfgs", disp=False)
    low, high = model.transform_threshold_params(fit.params)[1:-1]
    assert [fit.params[0], low, high] == pytest.approx([slope, -eta, eta], abs=0.2)
    # Our own fit, thresholds tied together, can only be a little below the free one: one parameter, chi-squared.
    ours = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([ours], max_iter=100, line_search_fn="strong_wolfe")
    rows, columns = torch.arange(len(verdict)), torch.tensor(verdict)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        log_probs = log_probabilities(ours[0] * torch.tensor(feature), ours[1], "rao_kupper")
        value = -log_probs[rows, columns].mean()
        value.backward()
        return value

    optimiser.step(loss)
    deficit = fit.llf + loss().item() * len(verdict)
    assert -1e-6 < deficit < 6.6
    assert ours[0].item() == pytest.approx(fit.params[0], abs=0.01)


def test_davidson_is_the_multinomial_logit_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, 3))
    verdict = rng.integers(0, 3, size=400)
    theirs = LogisticRegression(C=1.0).fit(features, verdict)
    logits = torch.tensor(theirs.decision_function(features))
    # Logits are free up to a constant: the mean of A's and B's is taken out.
    margin = logits[:, 0] - logits[:, 1]
    tie_strength = logits[:, 2] - logits[:, :2].mean(-1)
    ours = log_probabilities(margin, tie_strength, "davidson")
    np.testing.assert_allclose(ours.numpy(), theirs.predict_log_proba(features), atol=1e-12)


@pytest.mark.parametrize("link", LINKS)
def test_pairwise_is_the_truncated_distribution(link: str) -> None:
    margin, tie_strength = torch.randn(64, dtype=torch.float64) * 4, torch.randn(64, dtype=torch.float64) * 3
    wins = log_probabilities(margin, tie_strength, link)[:, :2]
    torch.testing.assert_close(pairwise(margin, tie_strength, link), wins.log_softmax(-1))


@pytest.mark.parametrize("link", LINKS)
def test_pairwise_at_the_extremes(link: str) -> None:
    margin, tie_strength = grid(torch.float32)
    log_probs = pairwise(margin, tie_strength, link)
    log_probs.sum().backward()
    assert margin.grad is not None and tie_strength.grad is not None
    assert log_probs.isfinite().all() and margin.grad.isfinite().all() and tie_strength.grad.isfinite().all()
    pairs = zip(margin.tolist(), tie_strength.tolist(), strict=True)
    wins = [[float(value) for value in exact(d, tau, link)[:2]] for d, tau in pairs]
    expected = torch.tensor(wins, dtype=torch.float64).log_softmax(-1)
    torch.testing.assert_close(log_probs.detach().double(), expected, rtol=2e-6, atol=2e-6)


def test_pairwise_needs_the_tie_strength_under_rao_kupper_only() -> None:
    margin, weak, strong = torch.tensor([1.0]), torch.tensor([-5.0]), torch.tensor([5.0])
    assert torch.equal(pairwise(margin, weak, "davidson"), pairwise(margin, strong, "davidson"))
    # With a large eta only large margins escape the tie, and the odds approach e^{2d}.
    assert pairwise(margin, strong, "rao_kupper")[0, 0] > pairwise(margin, weak, "rao_kupper")[0, 0] + 0.1


@pytest.mark.parametrize("link", LINKS)
def test_from_probabilities_inverts(link: str) -> None:
    probs = torch.tensor(
        [[0.35, 0.35, 0.3], [0.9, 0.05, 0.05], [1e-6, 0.4, 0.6], [0.5, 0.5 - 1e-9, 1e-9], [1e-8, 1e-8, 1.0]],
        dtype=torch.float64,
    )
    margin, tie_strength = from_probabilities(probs, link)
    expected = (probs / probs.sum(-1, keepdim=True)).log()
    torch.testing.assert_close(log_probabilities(margin, tie_strength, link), expected, rtol=1e-10, atol=1e-10)
    # Only ratios count: votes serve as well as shares.
    votes = from_probabilities(torch.tensor([[350, 350, 300]]), link)
    assert float(votes[0]) == 0.0 and float(votes[1]) == pytest.approx(float(tie_strength[0]), abs=1e-6)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("probs", [[0.5, 0.5, 0.0], [-0.1, 0.6, 0.5], [float("nan"), 0.5, 0.5], [0.5, 0.5]])
def test_from_probabilities_refuses_what_no_margin_gives(link: str, probs: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        from_probabilities(torch.tensor([probs]), link)


def test_half_precision_is_computed_in_float32_and_a_scalar_tie_strength_broadcasts() -> None:
    log_probs = log_probabilities(torch.zeros(2, 4, dtype=torch.bfloat16), torch.tensor(0.0), "davidson")
    assert log_probs.dtype == torch.float32 and log_probs.shape == (2, 4, 3)
    torch.testing.assert_close(log_probs.exp(), torch.full((2, 4, 3), 1 / 3))


def test_unknown_link_is_refused_in_one_line() -> None:
    for call in (log_probabilities, pairwise):
        with pytest.raises(ValueError, match=r"^unknown tie link 'thurstone'; expected one of davidson, rao_kupper$"):
            call(torch.zeros(1), torch.zeros(1), "thurstone")
    with pytest.raises(ValueError, match="unknown tie link"):
        from_probabilities(torch.full((1, 3), 1 / 3), "thurstone")

"""Four outcomes against numbers worked by hand, exact arithmetic and a fitted model of another library."""

import mpmath
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from reward_model.model.four_outcomes import (
    four_cross_entropy,
    four_log_probabilities,
    four_loss,
    start_of,
    three_class,
    usable,
)
from reward_model.model.losses import cross_entropy, training_loss
from reward_model.model.tie_links import LINKS, log_probabilities

LOG = np.log


def draw(count: int = 64, seed: int = 0, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b, tau = (scale * torch.randn(count, dtype=torch.float64, generator=generator) for _ in range(3))
    return a, b, tau


@pytest.mark.parametrize(
    ("link", "pi_a", "pi_b", "e_tau", "expected"),
    [
        # theta = 3: 2 / (2 + 3 + 1), 1 / (1 + 6 + 1), the rest, 1 / (2 + 1 + 1).
        ("rao_kupper", 2, 1, 2, (1 / 3, 1 / 8, 7 / 24, 1 / 4)),
        # theta = 2: 3 / (3 + 2 + 1), 1 / (1 + 6 + 1), the rest, 1 / 5.
        ("rao_kupper", 3, 1, 1, (1 / 2, 1 / 8, 7 / 40, 1 / 5)),
        # Both responses as the absolute zero: 1 / (1 + 2 + 1) each, one third says so, a sixth ties.
        ("rao_kupper", 1, 1, 1, (1 / 4, 1 / 4, 1 / 6, 1 / 3)),
        # 4 : 1 : 1.5 · 2 : 1, and all alike.
        ("davidson", 4, 1, 1.5, (4 / 9, 1 / 9, 3 / 9, 1 / 9)),
        ("davidson", 1, 1, 1, (1 / 4, 1 / 4, 1 / 4, 1 / 4)),
    ],
)
def test_numbers_worked_by_hand(link: str, pi_a: float, pi_b: float, e_tau: float, expected: tuple[float, ...]) -> None:
    readings = [torch.tensor([LOG(value)], dtype=torch.float64) for value in (pi_a, pi_b, e_tau)]
    four = four_log_probabilities(*readings, link).exp()[0]
    assert four.tolist() == pytest.approx(expected, abs=1e-14)
    three = log_probabilities(*three_class(*readings, link), link).exp()[0]
    assert three.tolist() == pytest.approx((*expected[:2], expected[2] + expected[3]), abs=1e-14)
    assert usable([LOG(pi_a), LOG(pi_b)]) == pytest.approx([pi_a / (pi_a + 1), pi_b / (pi_b + 1)])


def exactly(a: float, b: float, tau: float, link: str) -> list[float]:
    """Log-probabilities by the equations as printed, with 200 digits."""
    with mpmath.workdps(200):
        first, second, nu = (mpmath.exp(mpmath.mpf(value)) for value in (a, b, tau))
        if link == "davidson":
            weights = [first, second, nu * mpmath.sqrt(first * second), mpmath.mpf(1)]
            probs = [weight / mpmath.fsum(weights) for weight in weights]
        else:
            win_a, win_b = first / (first + (1 + nu) * second + 1), second / (second + (1 + nu) * first + 1)
            bad = 1 / (1 + first + second)
            probs = [win_a, win_b, 1 - win_a - win_b - bad, bad]
        return [float(mpmath.log(prob)) for prob in probs]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 4e-6), (torch.float64, 4e-15)])
def test_extremes_agree_with_exact_arithmetic(link: str, dtype: torch.dtype, tolerance: float) -> None:
    triples = [(a, b, tau) for a in (-30.0, -1.0, 0.0, 25.0) for b in (-20.0, 0.5, 30.0) for tau in (-25.0, 0.25, 20.0)]
    a, b, tau = (column.clone().requires_grad_() for column in torch.tensor(triples, dtype=dtype).T)
    four = four_log_probabilities(a, b, tau, link)
    expected = torch.tensor([exactly(*triple, link) for triple in triples], dtype=torch.float64)
    torch.testing.assert_close(four.detach().double(), expected, rtol=tolerance, atol=4 * tolerance)
    three = log_probabilities(*three_class(a, b, tau, link), link)
    (four.sum() + three.sum()).backward()
    for leaf in (a, b, tau):
        assert leaf.grad is not None and bool(leaf.grad.isfinite().all())


@pytest.mark.parametrize("link", LINKS)
def test_gradients_are_right(link: str) -> None:
    readings = [column[:12].clone().requires_grad_() for column in draw()]
    assert torch.autograd.gradcheck(lambda *r: four_log_probabilities(*r, link), readings)
    assert torch.autograd.gradcheck(lambda *r: three_class(*r, link), readings)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_swap_is_exact_to_the_last_bit(link: str, dtype: torch.dtype) -> None:
    a, b, tau = (column.to(dtype) for column in draw(500, scale=8))
    one, other = four_log_probabilities(a, b, tau, link), four_log_probabilities(b, a, tau, link)
    assert torch.equal(one, other[:, [1, 0, 2, 3]])
    (margin, tie), (turned, same) = three_class(a, b, tau, link), three_class(b, a, tau, link)
    assert torch.equal(margin, -turned) and torch.equal(tie, same)


@pytest.mark.parametrize("link", LINKS)
def test_three_are_the_sum_of_four_and_the_plain_link_far_above_the_zero(link: str) -> None:
    a, b, tau = draw(300, 1, 3.0)
    four = four_log_probabilities(a, b, tau, link).exp()
    summed = torch.stack((four[:, 0], four[:, 1], four[:, 2] + four[:, 3]), dim=-1)
    three = log_probabilities(*three_class(a, b, tau, link), link).exp()
    torch.testing.assert_close(three, summed, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(four.sum(dim=-1), torch.ones(300, dtype=torch.float64), rtol=1e-13, atol=0)
    high = log_probabilities(*three_class(a + 60, b + 60, tau, link), link)
    torch.testing.assert_close(high, log_probabilities(a - b, tau, link), rtol=1e-9, atol=1e-12)
    # A worse pair is more often both bad, and a usable response is one above the zero.
    assert bool((four_log_probabilities(a - 1, b - 1, tau, link)[:, 3] > four[:, 3].log()).all())
    assert ((usable(a.numpy()) > 0.5) == (a.numpy() > 0)).all()


def test_a_tie_of_unknown_kind_counts_by_the_sum() -> None:
    a, b, tau = draw(30)
    log_probs = four_log_probabilities(a, b, tau, "rao_kupper")
    labels = torch.eye(3, dtype=torch.float64)[torch.arange(30) % 3]
    unknown = torch.full((30,), float("nan"), dtype=torch.float64)
    three = log_probabilities(*three_class(a, b, tau, "rao_kupper"), "rao_kupper")
    torch.testing.assert_close(four_cross_entropy(log_probs, labels, unknown), cross_entropy(three, labels))
    half = four_cross_entropy(log_probs, labels, labels[:, 2] / 2)
    torch.testing.assert_close(half[2::3], -(log_probs[2::3, 2] + log_probs[2::3, 3]) / 2)
    smoothed = four_cross_entropy(log_probs, labels, unknown, 0.2)
    torch.testing.assert_close(smoothed, 0.8 * cross_entropy(three, labels) - 0.2 * log_probs.mean(dim=-1))


def test_the_training_loss_reads_rows_and_mixes_in_the_teacher() -> None:
    a, b, tau = draw(8)
    rewards = torch.stack([torch.stack([a, tau + 1], dim=-1), torch.stack([b, tau - 1], dim=-1)])
    labels = torch.eye(3, dtype=torch.float64)[torch.arange(8) % 3]
    bad = labels[:, 2] * 0
    plain = four_loss(rewards, labels, bad, "davidson")
    torch.testing.assert_close(plain, four_cross_entropy(four_log_probabilities(a, b, tau, "davidson"), labels, bad))
    teacher = torch.full((8, 3), 1 / 3, dtype=torch.float64)
    teacher[0] = float("nan")
    options = {"teacher": teacher, "teacher_weight": 1.0}
    taught = four_loss(rewards, labels, bad, "davidson", **options)
    three = log_probabilities(*three_class(a, b, tau, "davidson"), "davidson")
    torch.testing.assert_close(taught[1:], training_loss(three, labels, **options)[1:])
    torch.testing.assert_close(taught[0], plain[0])


@pytest.mark.parametrize("link", LINKS)
def test_the_start_gives_the_shares_seen(link: str) -> None:
    shares = np.array([0.3, 0.2, 0.35, 0.15])
    tie, zero = start_of(shares, link)
    reward = torch.tensor([-zero], dtype=torch.float64)
    four = four_log_probabilities(reward, reward, torch.tensor([tie], dtype=torch.float64), link).exp()[0]
    assert four.tolist() == pytest.approx([0.25, 0.25, 0.35, 0.15], abs=1e-9)
    assert np.isfinite(start_of([0.0, 0.0, 1.0, 0.0], link)).all()


def test_davidson_of_four_is_a_multinomial_regression() -> None:
    """With one reward an item, scikit-learn's softmax of four on the same features gives the same fit."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 4000))
    weights = np.stack([first, second, np.log(0.8) + (first + second) / 2, np.zeros(4000)], axis=1)
    outcome = (weights + generator.gumbel(size=weights.shape)).argmax(axis=1)
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)  # weight of the reward, zero, tie strength
    a, b = (torch.from_numpy(side) for side in (first, second))
    labels = torch.from_numpy(np.stack([outcome == 0, outcome == 1, outcome >= 2], axis=1).astype(float))
    optimizer = torch.optim.LBFGS([theta], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        readings = (theta[0] * a - theta[1], theta[0] * b - theta[1], theta[2])
        four = four_log_probabilities(*readings, "davidson")
        loss = four_cross_entropy(four, labels, torch.from_numpy((outcome == 3).astype(float))).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert theta.detach().tolist() == pytest.approx([1.0, 0.0, np.log(0.8)], abs=0.12)
    # The same as logits: class weights of +-1/2 on the difference and -1/2 on the sum, which a free softmax comes near.
    free = LogisticRegression(C=1e6, max_iter=1000).fit(np.stack([first, second], axis=1), outcome)
    contrast = free.coef_ - free.coef_[3]
    assert contrast[0] == pytest.approx([1, 0], abs=0.2) and contrast[2] == pytest.approx([0.5, 0.5], abs=0.2)


def test_unknown_links_are_refused() -> None:
    for function in (four_log_probabilities, three_class):
        with pytest.raises(ValueError, match="unknown tie link 'thurstone'"):
            function(torch.zeros(1), torch.zeros(1), torch.zeros(1), "thurstone")

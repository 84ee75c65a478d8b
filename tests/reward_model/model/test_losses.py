"""The losses against torch's own, and distillation against the gradient of a Kullback-Leibler divergence."""

import pytest
import torch
from torch.nn import functional

from reward_model.model.losses import cross_entropy, distillation, training_loss

BATTLES = 6


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(BATTLES, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()


@pytest.fixture
def verdicts() -> torch.Tensor:
    return torch.rand(BATTLES, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(dim=-1)


@pytest.fixture
def teacher() -> torch.Tensor:
    return torch.randn(BATTLES, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).softmax(dim=-1)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
def test_it_is_torchs_cross_entropy(logits: torch.Tensor, verdicts: torch.Tensor, label_smoothing: float) -> None:
    wanted = functional.cross_entropy(logits, verdicts, reduction="none", label_smoothing=label_smoothing)
    torch.testing.assert_close(cross_entropy(logits.log_softmax(-1), verdicts, label_smoothing), wanted)
    votes = torch.arange(BATTLES) % 3
    wanted = functional.cross_entropy(logits, votes, reduction="none", label_smoothing=label_smoothing)
    one_hot = functional.one_hot(votes, 3).double()
    torch.testing.assert_close(cross_entropy(logits.log_softmax(-1), one_hot, label_smoothing), wanted)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distillation_has_the_gradient_of_the_divergence(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> None:
    loss = distillation(logits.log_softmax(-1), teacher, temperature).sum()
    (found,) = torch.autograd.grad(loss, logits)
    softened = (teacher.log() / temperature).softmax(-1)
    student = (logits / temperature).log_softmax(-1)
    divergence = temperature**2 * functional.kl_div(student, softened, reduction="sum")
    (wanted,) = torch.autograd.grad(divergence, logits)
    torch.testing.assert_close(found, wanted)
    assert wanted.abs().max() > 0.01


def test_distillation_takes_a_teacher_that_is_certain(logits: torch.Tensor) -> None:
    certain = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    loss = distillation(logits.log_softmax(-1), certain, 1.0)
    torch.testing.assert_close(loss, cross_entropy(logits.log_softmax(-1), certain), atol=1e-6, rtol=0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert torch.isfinite(gradient).all()


def test_the_teacher_is_mixed_in_by_its_weight(
    logits: torch.Tensor, verdicts: torch.Tensor, teacher: torch.Tensor
) -> None:
    log_probs = logits.log_softmax(-1)
    options = {"label_smoothing": 0.1, "teacher_weight": 0.3, "teacher_temperature": 2.0}
    found = training_loss(log_probs, verdicts, teacher=teacher, **options)
    wanted = 0.7 * cross_entropy(log_probs, verdicts, 0.1) + 0.3 * distillation(log_probs, teacher, 2.0)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        training_loss(log_probs, verdicts, teacher=teacher, teacher_weight=0.0), cross_entropy(log_probs, verdicts)
    )


def test_a_battle_without_a_teacher_has_its_verdict_alone(
    logits: torch.Tensor, verdicts: torch.Tensor, teacher: torch.Tensor
) -> None:
    partly = teacher.clone()
    partly[1], partly[4, 0] = float("nan"), float("nan")
    log_probs = logits.log_softmax(-1)
    found = training_loss(log_probs, verdicts, teacher=partly, teacher_weight=0.5, teacher_temperature=2.0)
    whole = training_loss(log_probs, verdicts, teacher=teacher, teacher_weight=0.5, teacher_temperature=2.0)
    unknown = torch.tensor([False, True, False, False, True, False])
    torch.testing.assert_close(found[unknown], cross_entropy(log_probs, verdicts)[unknown])
    torch.testing.assert_close(found[~unknown], whole[~unknown])
    assert distillation(log_probs, partly, 2.0)[unknown].tolist() == [0, 0]
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert torch.isfinite(gradient).all() and (gradient.abs().sum(-1) > 0).all()

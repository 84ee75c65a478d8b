"""Adversarial weight perturbation: worse inside by the norm asked for, and bit for bit the same afterwards."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from reward_model.train.adversarial import perturbed

NORM = 0.05


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.fixture
def loss(model: nn.Module) -> Callable[[], torch.Tensor]:
    inputs, wanted = torch.randn(20, 6), torch.randn(20, 1)
    return lambda: nn.functional.mse_loss(model(inputs), wanted)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_the_loss_is_higher_inside_and_the_weights_come_back(
    model: nn.Module, loss: Callable[[], torch.Tensor]
) -> None:
    before, plain = weights(model), loss().item()
    with perturbed(model, loss, norm=NORM, names="weight$"):
        assert loss().item() > plain
        assert not same(model, before)
    assert same(model, before)


def test_each_chosen_parameter_moves_by_its_relative_norm_along_its_gradient(
    model: nn.Module, loss: Callable[[], torch.Tensor]
) -> None:
    before = weights(model)
    gradients = dict(zip(before, torch.autograd.grad(loss(), list(model.parameters())), strict=True))
    with perturbed(model, loss, norm=NORM, names="weight$"):
        inside = weights(model)
    for name, start in before.items():
        moved = inside[name] - start
        if name.endswith("weight"):
            assert float(moved.norm() / start.norm()) == pytest.approx(NORM, rel=1e-4)
            cosine = nn.functional.cosine_similarity(moved.flatten(), gradients[name].flatten(), dim=0)
            assert float(cosine) == pytest.approx(1, abs=1e-4)
        else:
            assert torch.equal(inside[name], start)


def test_a_backward_pass_inside_keeps_its_gradient_and_has_none_of_the_search(
    model: nn.Module, loss: Callable[[], torch.Tensor]
) -> None:
    with perturbed(model, loss, norm=NORM, names="weight$"):
        assert all(parameter.grad is None for parameter in model.parameters())
        loss().backward()
        wanted = torch.autograd.grad(loss(), list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)


def test_names_that_match_nothing_trained_are_an_error(model: nn.Module, loss: Callable[[], torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="matches no trained parameter"), perturbed(model, loss, norm=1, names="lora"):
        pass
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="matches no trained"), perturbed(model, loss, norm=1, names="weight"):
        pass


def test_an_exception_inside_restores_the_weights(model: nn.Module, loss: Callable[[], torch.Tensor]) -> None:
    before = weights(model)
    with pytest.raises(RuntimeError, match="out of memory"), perturbed(model, loss, norm=NORM, names="weight"):
        assert not same(model, before)
        raise RuntimeError("out of memory")
    assert same(model, before)


def test_a_gradient_that_is_not_finite_or_absent_moves_nothing(model: nn.Module) -> None:
    before = weights(model)
    with perturbed(model, lambda: next(model.parameters()).sum() * float("nan"), norm=NORM, names="weight"):
        assert same(model, before)
    assert same(model, before)

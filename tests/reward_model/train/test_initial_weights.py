"""Where the score layer starts: the tie rate seen, and the fit of style alone, held against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import BertConfig, BertForSequenceClassification

from reward_model.model.score_layer import install_score_layer
from reward_model.model.tie_links import LINKS, log_probabilities
from reward_model.train.initial_weights import PENALTIES, StyleData, fit_style, tie_bias_of

FEATURES = 3


def battles(rows: int, link: str = "davidson", seed: int = 0) -> tuple[StyleData, torch.Tensor, torch.Tensor]:
    """Battles whose verdicts are drawn from known weights of style."""
    random = np.random.default_rng(seed)
    difference = torch.from_numpy(random.normal(size=(rows, FEATURES)))
    pair = torch.cat([difference.abs(), torch.from_numpy(random.uniform(size=(rows, 1)))], dim=1)
    reward, tie = torch.tensor([1.5, -0.8, 0.0]).double(), torch.tensor([-0.5, 0.0, 0.0, 1.0]).double()
    probabilities = log_probabilities(difference @ reward, pair @ tie - 0.4, link).exp().numpy()
    drawn = np.array([random.choice(3, p=row / row.sum()) for row in probabilities])
    return StyleData(difference, pair, torch.from_numpy(np.eye(3)[drawn])), reward, tie


@pytest.mark.parametrize("link", LINKS)
def test_the_weights_that_were_put_in_come_out(link: str) -> None:
    data, reward, tie = battles(6000, link)
    fitted = fit_style(data, [str(row) for row in range(6000)], link, 0.0)
    torch.testing.assert_close(fitted.style_reward, reward, atol=0.12, rtol=0)
    torch.testing.assert_close(fitted.pair, tie, atol=0.25, rtol=0)
    assert fitted.penalty == min(PENALTIES)


def test_it_is_scikit_learns_penalised_likelihood() -> None:
    """A decided battle under Davidson is a logistic regression without intercept."""
    data, _, _ = battles(400)
    decided = data.rows(data.verdicts[:, 2] == 0)
    groups = [str(row) for row in range(len(decided.verdicts))]
    fitted = fit_style(decided, groups, "davidson", -30.0)
    oracle = LogisticRegression(C=1 / (fitted.penalty * len(groups)), fit_intercept=False, tol=1e-10)
    oracle.fit(decided.difference.numpy(), decided.verdicts[:, 0].numpy())
    np.testing.assert_allclose(fitted.style_reward.numpy(), oracle.coef_[0], atol=2e-4)


def test_style_that_says_nothing_is_shrunk_and_does_no_harm() -> None:
    data, _, _ = battles(150)
    random = np.random.default_rng(5)
    shuffled = data._replace(verdicts=data.verdicts[torch.from_numpy(random.permutation(150))])
    fitted = fit_style(shuffled, [str(row) for row in range(150)], "davidson", 0.0)
    shares = shuffled.verdicts.mean(dim=0)
    assert fitted.log_loss < float(-(shares * shares.log()).sum()) + 0.03
    assert fitted.penalty > min(PENALTIES)


def test_rows_of_a_group_do_not_vouch_for_each_other() -> None:
    """Copies of few battles in both halves would make the weakest penalty look best."""
    data, _, _ = battles(31)
    random = np.random.default_rng(1)
    noise = data._replace(verdicts=data.verdicts[torch.from_numpy(random.permutation(31))])
    copies = noise.rows(torch.arange(31).repeat(7))
    groups = [str(row % 31) for row in range(217)]
    alone = [str(row) for row in range(217)]
    assert fit_style(copies, groups, "davidson", 0.0).penalty > fit_style(copies, alone, "davidson", 0.0).penalty


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("tie", [0.05, 0.33, 0.9])
def test_the_tie_bias_gives_the_tie_rate_seen(link: str, tie: float) -> None:
    prior = np.array([(1 - tie) * 0.7, (1 - tie) * 0.3, tie])
    bias = torch.tensor(tie_bias_of(prior, link))
    assert log_probabilities(torch.tensor(0.0), bias, link)[2].exp() == pytest.approx(tie, abs=1e-5)


@pytest.mark.parametrize("tie", [0.0, 1.0])
def test_no_ties_or_nothing_else_still_gives_a_finite_bias(tie: float) -> None:
    assert np.isfinite(tie_bias_of(np.array([1 - tie, 0, tie]), "davidson"))


def test_weights_are_put_where_the_score_layer_reads_them() -> None:
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    config.num_labels = 1
    model = BertForSequenceClassification(config)
    layer = install_score_layer(model, style_features=FEATURES, tie_bias=0.0)
    data, _, _ = battles(100)
    fitted = fit_style(data, [str(row) for row in range(100)], "davidson", 0.0)
    fitted.copy_to(layer)
    assert layer.style_reward is not None and layer.style_similarity is not None
    torch.testing.assert_close(layer.style_reward.double(), fitted.style_reward, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(layer.style_similarity.double(), fitted.pair[-1:], atol=1e-6, rtol=1e-6)
    bare = install_score_layer(BertForSequenceClassification(config), style_features=0, tie_bias=0.0)
    with pytest.raises(ValueError, match="no style features"):
        fitted.copy_to(bare)

"""The link that gives TRL's margins ties: maximum likelihood, and as known to others."""

import numpy as np
import pytest
import torch
from statsmodels.miscmodels.ordinal_model import OrderedModel

from benchmarks.leaderboard.peers import fit_rao_kupper, rao_kupper


def test_the_link_is_the_ordered_logit_of_statsmodels_with_equal_thresholds() -> None:
    """Rao–Kupper is an ordered logit with thresholds ±η. Both orders of each battle make statsmodels' thresholds equal."""
    draw = np.random.default_rng(0)
    margin = draw.normal(size=2000)
    true = torch.tensor([1.7, -0.3], dtype=torch.float64)
    chances = rao_kupper(torch.from_numpy(margin), true).exp().numpy()
    verdicts = np.eye(3)[(draw.random((2000, 1)) > chances.cumsum(axis=1)[:, :2]).sum(axis=1)]
    link = fit_rao_kupper(torch.from_numpy(margin), verdicts)

    rank = np.array([2, 0, 1])[verdicts.argmax(axis=1)]  # B wins, tie, A wins
    both = OrderedModel(np.concatenate([rank, 2 - rank]), np.concatenate([margin, -margin])[:, None], distr="logit")
    fitted = both.fit(method="bfgs", disp=False)
    scale, low, step = fitted.params
    assert link[0].item() == pytest.approx(scale, abs=1e-3)
    eta = torch.nn.functional.softplus(link[1]).item()
    assert (-eta, eta) == pytest.approx((low, low + np.exp(step)), abs=1e-3)

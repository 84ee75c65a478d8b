"""What a source says of a verdict: offsets that are its own, ties that were not recorded, weights."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid
from transformers import BertConfig, BertForSequenceClassification

from reward_model.model.losses import loss_of_readings
from reward_model.model.score_layer import install_score_layer
from reward_model.model.source_offsets import SourceInputs, as_observed, source_columns, source_losses
from reward_model.model.tie_links import LINKS, log_probabilities, pairwise

MARGIN = torch.tensor([0.4, -1.2, 2.0, 0.0])
TIE = torch.tensor([0.1, -0.5, 0.3, 1.0])
LABELS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.6, 0.4, 0], [0, 0, 1]])


def inputs(**changed: list[float]) -> SourceInputs:
    plain = {"source": [0] * 4, "weight": [1.0] * 4, "tie_observed": [True] * 4, "grade": [0] * 4, "levels": [0] * 4}
    return SourceInputs(**{name: torch.tensor(values) for name, values in (plain | changed).items()})


@pytest.mark.parametrize("link", LINKS)
def test_our_own_battles_are_as_without_sources(link: str) -> None:
    reading = [(MARGIN, TIE)]
    assert torch.equal(source_losses(reading, LABELS, link, inputs()), loss_of_readings(reading, LABELS, link))


@pytest.mark.parametrize("link", LINKS)
def test_where_ties_are_not_recorded_it_is_who_wins_given_that_nobody_ties(link: str) -> None:
    one = inputs(tie_observed=[False, False, False, True], weight=[1.0, 0.25, 1.0, 1.0])
    losses = source_losses([(MARGIN, TIE)], LABELS, link, one)
    expected = -(LABELS[:, :2] * pairwise(MARGIN, TIE, link)).sum(-1) * one.weight
    torch.testing.assert_close(losses[:3], expected[:3])
    if link == "davidson":  # Bradley-Terry, whatever the tie strength
        torch.testing.assert_close(losses[1], -logsigmoid(torch.tensor(1.2)) * 0.25)
    # What is seen of such a battle says so too.
    log_probs = as_observed(log_probabilities(MARGIN, TIE, link), one.tie_observed)
    torch.testing.assert_close(log_probs[:3, :2], pairwise(MARGIN, TIE, link)[:3])
    assert bool((log_probs[:3, 2].exp() == 0).all())


def test_smoothing_and_a_teacher_know_no_tie_where_none_is_recorded() -> None:
    one = inputs(tie_observed=[False] * 3 + [True])
    teacher = torch.tensor([[0.5, 0.25, 0.25]] * 4)
    options = {"label_smoothing": 0.1, "teacher": teacher, "teacher_weight": 1.0}
    loss = source_losses([(MARGIN, TIE)], LABELS, "davidson", one, **options)[0]
    expected = -(2 / 3 * logsigmoid(MARGIN[0]) + 1 / 3 * logsigmoid(-MARGIN[0]))
    torch.testing.assert_close(loss, expected)


def test_a_swap_changes_no_loss() -> None:
    one = inputs(tie_observed=[False, False, True, True], grade=[1, 2, 1, 0], levels=[2] * 4)
    gaps = torch.full((4, 1), 0.8)
    there = source_losses([(MARGIN, TIE)], LABELS, "rao_kupper", one, gaps)
    back = source_losses([(-MARGIN, TIE)], LABELS[:, [1, 0, 2]], "rao_kupper", one, gaps)
    assert torch.equal(there, back)


def test_the_layer_adds_the_sources_offset_and_no_other() -> None:
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    config.num_labels = 1
    layer = install_score_layer(
        BertForSequenceClassification(config), style_features=0, tie_bias=0.2, sources=2, grade_levels=3
    )
    assert layer.source_bias is not None and layer.grade_bias is not None
    with torch.no_grad():
        layer.source_bias.copy_(torch.tensor([1.0, -2.0]))
        layer.grade_bias[1].fill_(0.0)
    hidden = torch.randn(3, 8)
    plain = layer(hidden)
    layer.inputs = layer.inputs._replace(source=torch.tensor([0, 1, 2]))
    columns = layer(hidden)
    assert columns.shape == (3, 4) and plain.shape == (3, 2)
    torch.testing.assert_close(columns[:, :2] - plain, torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, -2.0]]))
    torch.testing.assert_close(columns[:, 2:], torch.tensor([[1.0, 1.0], [math.log(2)] * 2, [1.0, 1.0]]))
    # Tokens that are not pooled, and several sequences read end to end.
    offset, gaps = source_columns(torch.tensor([0, 2]), torch.zeros(2, 5, 1), layer.source_bias, layer.grade_bias)
    assert offset.shape == (2, 5, 1) and gaps.shape == (2, 5, 2) and offset[1, 4, 0] == -2

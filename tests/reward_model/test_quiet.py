"""What libraries say at every step stays off the screen, and what they say once does not."""

import logging

import bitsandbytes as bnb
import pytest
import torch

import reward_model  # noqa: F401  it sets the filters


def test_eight_bit_layers_do_not_flood_the_screen(caplog: pytest.LogCaptureFixture) -> None:
    layer = bnb.nn.Linear8bitLt(16, 8, has_fp16_weights=False)
    layer.to("cpu").eval()  # in training bitsandbytes computes otherwise on a CPU
    with caplog.at_level("WARNING"):
        layer(torch.zeros(2, 16, dtype=torch.bfloat16))
    assert "cast" not in caplog.text
    logger = bnb.autograd._functions.logger
    assert logger.filter(logger.makeRecord(logger.name, logging.WARNING, "", 0, "something else", (), None))

"""What is computed otherwise on a CPU must give the same numbers: packed linear layers, attention by plain products."""

import copy
import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu
from transformers.activations import ACT2FN

from reward_model.model.packed import plain_attention
from reward_model.model.packed.linear import PackedLinear, pack_linear_layers
from reward_model.model.score_layer import find_score_layer
from tests.helpers.prose import ROOT
from tests.reward_model.model.test_every_architecture import padded, scores, tie_aware


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_gives_the_same_numbers(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 20, bias=bias).to(dtype)
    hidden = torch.randn(2, 7, 48).to(dtype)
    allowed = 1e-5 if dtype == torch.float32 else 0.02
    with torch.inference_mode():
        for activation, function in (("none", nn.Identity()), ("gelu", gelu)):
            found = PackedLinear(linear, activation)(hidden)
            torch.testing.assert_close(found, function(linear(hidden)), atol=allowed, rtol=allowed)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", ["bert", "llama3", "electra"])
def test_a_model_of_packed_layers_gives_the_same_scores(name: str, lora: bool) -> None:
    model = tie_aware(name, lora).eval()
    other = copy.deepcopy(model)
    assert pack_linear_layers(other) > 4
    assert type(find_score_layer(other)) is type(find_score_layer(model))
    rows = padded([torch.arange(3, 40), torch.arange(20, 29)])
    with torch.inference_mode():
        torch.testing.assert_close(scores(other, rows), scores(model, rows), atol=1e-5, rtol=1e-4)


def test_a_layer_that_computes_in_another_type_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 4).double(), nn.Linear(4, 4))
    assert pack_linear_layers(model) == 1
    assert type(model[0]) is nn.Linear


def test_another_activation_stays() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.intermediate_act_fn = nn.Linear(4, 8), ACT2FN["gelu_new"]

    model = nn.Sequential(Wide())
    before = model[0].intermediate_act_fn
    assert pack_linear_layers(model) == 1
    assert model[0].dense.activation == "none" and model[0].intermediate_act_fn is before


@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize("key_heads", [6, 2])
def test_plain_attention_is_attention(softcap: float | None, key_heads: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 6, 11, 8), torch.randn(1, key_heads, 17, 8), torch.randn(1, key_heads, 17, 8)
    mask = torch.zeros(11, 17).masked_fill(torch.ones(11, 17).triu(7).bool(), float("-inf"))
    keys, values = (tensor.repeat_interleave(6 // key_heads, dim=1) for tensor in (key, value))
    scores = query @ keys.transpose(-1, -2) * 0.3
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    wanted = ((scores + mask).softmax(-1) @ values).transpose(1, 2)
    states = plain_attention.attention(query, key, value, mask, scaling=0.3, softcap=softcap)
    torch.testing.assert_close(states, wanted)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_large_tensors_are_made_of_memory_that_was_used_before() -> None:
    """In a process of its own: how many pages the kernel hands out while the same tensor is made over and over."""
    program = """
import resource, sys, torch
from reward_model.model.packed.cpu_memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = [
        int(subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "given back")
    ]
    assert faults[0] < faults[1] / 2


GROWTH = """
import psutil, torch
from torch import nn
from reward_model.model.packed.linear import PackedLinear
torch.set_num_threads(1)
layer, process = PackedLinear(nn.Linear(384, 1536)), psutil.Process()
sizes = []
with torch.inference_mode():
    for tokens in range(1000, 1300):
        layer(torch.zeros(1, tokens, 384))
        sizes.append(process.memory_info().rss)
print((sizes[299] - sizes[99]) / 2**20)
"""


def test_packs_of_ever_new_lengths_do_not_fill_the_memory() -> None:
    kept = {name: value for name, value in os.environ.items() if "CACHE_CAPACITY" not in name}
    run = subprocess.run([sys.executable, "-c", GROWTH], cwd=ROOT, env=kept, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 60, run.stdout

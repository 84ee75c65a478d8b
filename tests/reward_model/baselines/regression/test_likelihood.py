"""What a causal language model tells of a response beside its vector: its likelihood, and states of a middle layer."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from reward_model.baselines.base import read_baseline
from reward_model.baselines.regression.embeddings import LIKELIHOOD, Embedder
from reward_model.baselines.regression.frozen import Frozen
from reward_model.errors import ModelError
from reward_model.tokens.encoding import BattleEncoder
from tests.helpers.made_battles import Make, battles_of, swapped
from tests.helpers.tiny_models import SIZES, byte_tokenizer

QUESTION, ANSWER, LONG = "Question?", "river stone", "paper window garden " * 40
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>{% endfor %}"


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny causal language model that reads bytes; Gemma 2 caps its logits."""
    folder, tokenizer = tmp_path_factory.mktemp(request.param), byte_tokenizer()
    torch.manual_seed(0)
    sizes = SIZES | {"vocab_size": len(tokenizer), "initializer_range": 0.5}
    if request.param == "llama":
        LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
    else:
        capped = {"final_logit_softcapping": 2.0, "num_key_value_heads": 1, "head_dim": 32}
        Gemma2ForCausalLM(Gemma2Config(**sizes, **capped)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def battles_to_read() -> datasets.Dataset:
    return battles_of([(QUESTION, ANSWER, "cloud", None), (QUESTION, "", LONG, None)])


@torch.no_grad()
def test_likelihood_is_that_of_the_models_own_logits_over_the_response(decoder: str) -> None:
    """Byte tokens: a response begins where the text before it ends."""
    found, _ = Embedder(decoder, 512, "float32", likelihood=True).sides(battles_to_read(), LIKELIHOOD)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32), byte_tokenizer()
    for row, response in enumerate([ANSWER, ""]):
        before = f"User:\n{QUESTION}\n\nAssistant:\n"
        ids = torch.tensor([[*tokenizer(before + response)["input_ids"], tokenizer.eos_token_id]])
        log_probs = torch.log_softmax(model(ids).logits[0, len(before) - 1 : -1], dim=-1)
        expected = log_probs.gather(1, ids[0, len(before) :, None]).mean()
        entropy = -(log_probs.exp() * log_probs).sum(dim=-1).mean()
        np.testing.assert_allclose(found[row], [expected, entropy], atol=1e-4)
    assert found[0, 0] != pytest.approx(found[1, 0], abs=0.01)


@torch.no_grad()
def test_a_layers_states_are_those_that_the_model_gives(decoder: str) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32), byte_tokenizer()
    ids = [*tokenizer(f"User:\n{QUESTION}\n\nAssistant:\n{ANSWER}")["input_ids"], tokenizer.eos_token_id]
    states = model.base_model(torch.tensor([ids]), output_hidden_states=True)
    for layer, expected in ((1, states.hidden_states[1]), (0, states.hidden_states[0]), (-1, states.last_hidden_state)):
        found, _ = Embedder(decoder, 512, "float32", layer=layer).sides(battles_to_read(), "mean")
        np.testing.assert_allclose(found[0], expected[0].mean(dim=0), atol=1e-4)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_the_last_turn_of_a_response_is_found_also_where_a_text_is_cut(template: str | None) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    encoder = BattleEncoder(tokenizer, 200)
    turns = ["one", "two"], ["first", "second"]
    rows = [([QUESTION], [ANSWER]), turns, ([QUESTION], [LONG]), (turns[0], ["first"]), ([QUESTION], [""]), ([], [])]
    ids, starts = encoder.encode_with_starts([(*row, None) for row in rows])
    assert ids == encoder.encode_rows([(*row, None) for row in rows])[0]
    tokens = [tokenizer.convert_ids_to_tokens(row[start:]) for row, start in zip(ids, starts, strict=True)]
    read = ["".join(each).replace("Ġ", " ") for each in tokens]
    assert read[:2] == ["river stone<eos>", "second<eos>"] and read[3:] == ["<eos>"] * 3
    assert read[2].startswith("paper window") and read[2].endswith("window garden <eos>") and len(ids[2]) <= 200


def test_it_is_fitted_saved_read_back_and_knows_no_side(decoder: str, make: dict[str, Make], tmp_path: Path) -> None:
    battles = make["words"](60, 1, words=2)
    baseline = Frozen(decoder, max_length=256, layer=1, likelihood=True)
    baseline.fit(battles)
    plain = Frozen(decoder, max_length=256, layer=1)
    plain.fit(battles)
    # Two features more: as they are and through tanh in the margin, as distance and as mean in the tie strength.
    assert len(baseline.weights.odd) == len(plain.weights.odd) + 4
    assert len(baseline.weights.even) == len(plain.weights.even) + 4
    found = baseline.log_probabilities(battles)
    np.testing.assert_array_equal(found[:, [1, 0, 2]], baseline.log_probabilities(swapped(battles)))
    baseline.save(tmp_path / "D")
    np.testing.assert_array_equal(read_baseline(tmp_path / "D").baseline.log_probabilities(battles), found)
    assert baseline.log_probabilities(battles.select([])).shape == (0, 3)


def test_the_cache_keeps_likelihoods_apart_from_what_was_read_without(decoder: str, tmp_path: Path) -> None:
    battles = battles_to_read()
    Embedder(decoder, 256, cache_dir=tmp_path).sides(battles, "mean")
    first = Embedder(decoder, 256, cache_dir=tmp_path, likelihood=True).sides(battles, LIKELIHOOD, "last")
    again = Embedder(decoder, 256, cache_dir=tmp_path, likelihood=True)
    for one, other in zip(first, again.sides(battles, LIKELIHOOD, "last"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again._model is None and len(list(tmp_path.iterdir())) == 2


def test_one_reading_is_kept_for_every_layer(decoder: str, tmp_path: Path) -> None:
    battles = battles_to_read()
    layers = [
        Embedder(decoder, 256, "float32", cache_dir=tmp_path, layer=layer, likelihood=True) for layer in (0, 1, -1)
    ]
    for place, embedder in enumerate(layers):
        expected = Embedder(decoder, 256, "float32", layer=embedder.layer).sides(battles, "mean")
        for one, other in zip(embedder.sides(battles, "mean"), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
        assert (embedder._model is None) == (place > 0)


def test_what_cannot_be_told_is_refused_in_one_line(decoder: str, tiny_bert: str) -> None:
    with pytest.raises(ModelError, match="no causal language model"):
        Embedder(tiny_bert, 32, likelihood=True).sides(battles_to_read(), LIKELIHOOD)
    with pytest.raises(ModelError, match="has 2 layers; expected --layer 2 at most"):
        Embedder(decoder, 256, layer=3).sides(battles_to_read(), "mean")
    with pytest.raises(ValueError, match="expected --pooling mean"):
        Frozen(decoder, layer=1, pooling="last")
    with pytest.raises(ValueError, match="layer is -2"):
        Frozen(decoder, layer=-2)

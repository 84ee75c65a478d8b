"""The regression on a frozen backbone: it learns what words tell, knows no side, reads each text once, and is read back."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from arena_data.errors import InputError
from reward_model.baselines.base import read_baseline
from reward_model.baselines.regression.embeddings import POOLINGS, Embedder
from reward_model.baselines.regression.frozen import ARRAYS, Frozen
from reward_model.errors import ModelError
from reward_model.evaluation.probabilities import log_loss
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.run_directory.load_model import LoadOptions
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.tokenizer import load_tokenizer
from tests.helpers.made_battles import Make, battles_of, shuffled, swapped

TEXTS = [("Question?", "river stone", "cloud"), ("Question?", "river stone", "paper window garden " * 40)]


@pytest.fixture(scope="module")
def fitted(make: dict[str, Make], tiny_bert: str) -> tuple[Frozen, Frozen]:
    """Fitted on battles, and on the same with their verdicts shuffled."""
    battles = make["words"](400, 1, words=4)
    known, nothing = (Frozen(tiny_bert, max_length=64) for _ in range(2))
    known.fit(battles)
    nothing.fit(shuffled(battles))
    return known, nothing


def test_it_learns_what_words_tell_and_nothing_from_shuffled_verdicts(
    fitted: tuple[Frozen, Frozen], make: dict[str, Make]
) -> None:
    """Both words have eight letters, so style says nothing; a word in four moves the mean of the tokens."""
    battles = make["words"](300, 2, words=4)
    verdicts = np.asarray(list(battles["verdict"]))
    known, nothing = (log_loss(baseline.log_probabilities(battles), verdicts) for baseline in fitted)
    assert known < 0.45
    assert nothing > 1.05


def test_swapping_battles_swaps_their_probabilities_to_the_last_bit(
    fitted: tuple[Frozen, Frozen], make: dict[str, Make]
) -> None:
    battles = make["words"](60, 3, words=4)
    found, turned = (fitted[0].log_probabilities(given) for given in (battles, swapped(battles)))
    np.testing.assert_array_equal(found[:, [1, 0, 2]], turned)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-12)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.5


def test_what_is_read_back_predicts_the_same_also_with_a_backbone_that_was_moved(
    fitted: tuple[Frozen, Frozen],
    tiny_bert: str,
    make: dict[str, Make],
    tmp_path: Path,
) -> None:
    battles = make["words"](20, 4)
    expected = fitted[0].log_probabilities(battles)
    fitted[0].save(tmp_path / "D")
    assert {file.suffix for file in (tmp_path / "D").iterdir()} == {".json", ".safetensors"}
    again = read_baseline(tmp_path / "D").baseline
    np.testing.assert_array_equal(again.log_probabilities(battles), expected)
    assert again.log_probabilities(battles.select([])).shape == (0, 3)
    moved = Path(tiny_bert).rename(tmp_path / "moved")
    try:
        with pytest.raises(ModelError, match="--base_model"):
            read_baseline(tmp_path / "D").baseline.log_probabilities(battles)
        member = open_member(str(tmp_path / "D"), MemberOptions(LoadOptions(base_model=str(moved)), calibrated=False))
        np.testing.assert_array_equal(member.predict(Job(battles)).log_probs, expected)
    finally:
        moved.rename(tiny_bert)
    (tmp_path / "D" / ARRAYS).write_bytes(b"broken")
    with pytest.raises(InputError, match="frozen baseline"):
        read_baseline(tmp_path / "D")


def test_battles_of_another_tie_rate_and_of_none_teach_margins_and_leave_our_tie_rate_alone(
    make: dict[str, Make],
    tiny_bert: str,
) -> None:
    own = make["length"](150, 1, tie_rate=0.3)
    parts = [make["length"](200, 2, tie_rate=rate, source=name) for rate, name in ((0.7, "ties"), (0.0, "none"))]
    more = Frozen(tiny_bert, max_length=64)
    more.fit(own, datasets.concatenate_datasets(parts))
    assert more.sources == ["none", "ties"]
    assert len(more.weights.source) == 2
    held_out = make["length"](300, 3, tie_rate=0.3)
    ties = np.exp(more.log_probabilities(held_out))[:, 2].mean()
    assert ties == pytest.approx(0.3, abs=0.1)


def battles_to_read() -> datasets.Dataset:
    return battles_of([(prompt, a, b, None) for prompt, a, b in TEXTS])


@torch.no_grad()
def test_a_vector_is_that_of_the_text_read_alone_and_cut_as_everywhere(tiny_bert: str) -> None:
    embedder = Embedder(tiny_bert, 32, "float32")
    tokenizer = load_tokenizer(tiny_bert)
    ids, cut = BattleEncoder(tokenizer, 32).encode_rows([(["Question?"], [TEXTS[1][2]], None)])
    assert cut[0] > 0
    from transformers import AutoModel

    states = AutoModel.from_pretrained(tiny_bert, dtype=torch.float32)(torch.tensor(ids)).last_hidden_state[0]
    expected = {"mean": states.mean(dim=0), "last": states[-1], "first": states[0]}
    for pooling in POOLINGS:
        a, b = embedder.sides(battles_to_read(), pooling)
        np.testing.assert_allclose(b[1], expected[pooling].numpy(), atol=1e-5)
        np.testing.assert_array_equal(a[0], a[1])


def test_the_cache_gives_the_same_vectors_and_no_text_is_read_twice(
    tiny_bert: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    battles = battles_to_read()
    expected = {pooling: Embedder(tiny_bert, 32).sides(battles, pooling) for pooling in POOLINGS}
    first = Embedder(tiny_bert, 32, cache_dir=tmp_path)
    first.sides(battles.select([0]), "mean")
    assert first.saved_seconds == 0
    for pooling in POOLINGS:
        found = Embedder(tiny_bert, 32, cache_dir=tmp_path).sides(battles, pooling)
        np.testing.assert_allclose(found, expected[pooling], atol=0.02)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(Embedder, "_loaded", lambda self: pytest.fail("the backbone is not needed"))
    last = Embedder(tiny_bert, 32, cache_dir=tmp_path)
    found = last.sides(battles, "last")
    assert (
        last.saved_seconds == pytest.approx(load_file(next(tmp_path.iterdir()))["seconds"].sum())
        and last.saved_seconds > 0
    )
    np.testing.assert_allclose(found, expected["last"], atol=0.02)


def test_what_cannot_be_is_refused_in_one_line(tiny_bert: str, fitted: tuple[Frozen, Frozen]) -> None:
    with pytest.raises(ValueError, match="pooling"):
        Frozen(tiny_bert, pooling="max")
    with pytest.raises(ModelError, match="absent"):
        Frozen("./absent").fit(battles_to_read())


def test_fitting_reads_each_text_once(
    make: dict[str, Make],
    tiny_bert: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    batch_of_states = Embedder._states

    def counting(self: Embedder, model: Any, encoder: Any, ids: list[list[int]], *further: Any) -> Any:
        read.append(len(ids))
        return batch_of_states(self, model, encoder, ids, *further)

    monkeypatch.setattr(Embedder, "_states", counting)
    battles = make["words"](40, 1, words=4)
    texts = {(str(row["prompt"]), str(row[side])) for row in battles for side in ("response_a", "response_b")}
    Frozen(tiny_bert, max_length=64).fit(battles)
    assert sum(read) == len(texts)

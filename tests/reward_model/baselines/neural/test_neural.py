"""The cross-encoder and the siamese system on a tiny random BERT: they learn, see both sides, and are read back."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from arena_data.errors import InputError
from reward_model.baselines.base import Baseline, class_of, read_baseline
from reward_model.baselines.neural.siamese import Siamese
from reward_model.cli.baseline import main
from reward_model.evaluation.probabilities import log_loss
from tests.helpers.made_battles import Make, shuffled, swapped

# Without a word of who won, knowing ties alone, the log loss is 0.75 · ln 2 = 0.52.
OPTIONS: dict[str, dict[str, Any]] = {
    "cross_encoder": {"num_train_epochs": 12, "learning_rate": 3e-3},
    "siamese": {"num_train_epochs": 4, "learning_rate": 3e-3},
}
TRAIN = {"cross_encoder": 600, "siamese": 300}
Fitted = dict[str, tuple[Baseline, Baseline]]


@pytest.fixture(scope="module")
def fitted(make: dict[str, Make], tiny_bert: str) -> Fitted:
    """Each kind fitted on battles, and on the same with their verdicts shuffled."""
    found: Fitted = {}
    for kind, options in OPTIONS.items():
        battles = make["words"](TRAIN[kind], 1, words=4)
        pair: Any = tuple(class_of(kind)(model_name_or_path=tiny_bert, max_length=64, **options) for _ in range(2))
        pair[0].fit(battles)
        # Nothing is there to be learned, so a third of the epochs is enough to see that nothing is.
        pair[1].num_train_epochs = pair[0].num_train_epochs / 3
        pair[1].fit(shuffled(battles))
        found[kind] = (pair[0], pair[1])
    return found


@pytest.mark.parametrize("kind", OPTIONS)
def test_it_learns_what_words_tell_and_nothing_from_shuffled_verdicts(
    kind: str, fitted: Fitted, make: dict[str, Make]
) -> None:
    battles = make["words"](200, 2, words=4)
    verdicts = np.asarray(list(battles["verdict"]))
    known, nothing = (log_loss(baseline.log_probabilities(battles), verdicts) for baseline in fitted[kind])
    assert known < 0.42
    assert nothing > 1.0


@pytest.mark.parametrize("kind", OPTIONS)
def test_swapping_a_battle_swaps_its_probabilities(kind: str, fitted: Fitted, make: dict[str, Make]) -> None:
    battles = make["words"](40, 3, words=4)
    found, turned = (fitted[kind][0].log_probabilities(given) for given in (battles, swapped(battles)))
    np.testing.assert_allclose(found[:, [1, 0, 2]], turned, atol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-6)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.5


@pytest.mark.parametrize("side", ["response_a", "response_b"])
def test_the_siamese_system_reads_both_sides(side: str, fitted: Fitted, make: dict[str, Make]) -> None:
    battles = make["words"](40, 3, words=4)
    # Both words have eight letters, so lengths say nothing.
    exchanged = {"splendid": "dreadful", "dreadful": "splendid"}
    texts = [[" ".join(exchanged.get(word, word) for word in turns[0].split())] for turns in battles[side]]
    changed = battles.remove_columns(side).add_column(side, texts)
    told = np.asarray([before != after for before, after in zip(battles[side], texts, strict=True)])
    before, after = (fitted["siamese"][0].log_probabilities(given) for given in (battles, changed))
    assert np.abs(before - after)[told].max(axis=1).min() > 0.5


@pytest.mark.parametrize("kind", OPTIONS)
def test_what_is_read_back_predicts_the_same(kind: str, fitted: Fitted, make: dict[str, Make], tmp_path: Path) -> None:
    battles = make["words"](20, 4)
    fitted[kind][0].save(tmp_path)
    again = read_baseline(tmp_path).baseline
    np.testing.assert_allclose(again.log_probabilities(battles), fitted[kind][0].log_probabilities(battles), atol=1e-6)
    assert again.log_probabilities(battles.select([])).shape == (0, 3)
    endings = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert endings <= {".json", ".safetensors"}


def test_lengths_alone_are_learned_too_and_a_head_of_another_form_is_refused(
    tiny_bert: str, make: dict[str, Make], tmp_path: Path
) -> None:
    baseline = Siamese(tiny_bert, max_length=64, num_train_epochs=6, learning_rate=3e-3)
    texts = make["length"](300, 1)
    blank = {name: [["x" * len(turns[0])] for turns in texts[name]] for name in ("response_a", "response_b")}
    battles = with_texts(texts, blank)
    baseline.fit(battles)
    verdicts = np.asarray(list(battles["verdict"]))
    assert log_loss(baseline.log_probabilities(battles), verdicts) < 0.95
    baseline.save(tmp_path)
    (tmp_path / "head.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="siamese baseline"):
        read_baseline(tmp_path)


def with_texts(battles: datasets.Dataset, columns: dict[str, list[Any]]) -> datasets.Dataset:
    for name, texts in columns.items():
        battles = battles.remove_columns(name).add_column(name, texts)
    return battles


def test_weights_are_perturbed_for_the_gradient_and_then_restored(
    tiny_bert: str, make: dict[str, Make], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a learning rate of 0 nothing may have moved; and inside a step the head must have been elsewhere."""
    seen: list[torch.Tensor] = []
    plain = torch.nn.Module.train

    def spy(self: Any, *arguments: Any) -> Any:
        if isinstance(self, torch.nn.Module) and hasattr(self, "head"):
            seen.append(self.head.weight.detach().clone())
        return plain(self, *arguments)

    monkeypatch.setattr(torch.nn.Module, "train", spy)
    baseline = Siamese(
        tiny_bert, max_length=64, num_train_epochs=1, learning_rate=0.0, adversarial_norm=0.1, adversarial_start=0
    )
    baseline.fit(make["words"](16, 1))
    kept = baseline.model.head.weight.detach().cpu()
    distances = [float((weight - kept).norm() / kept.norm()) for weight in seen]
    assert distances[-1] == 0
    assert max(distances) == pytest.approx(0.1, rel=1e-3)


def test_the_command_trains_one_and_says_in_one_line_where_there_is_no_backbone(
    make: dict[str, Make], tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.helpers.made_battles import write_battles

    file = write_battles(tmp_path / "battles.jsonl", make["words"](80, 1))
    flags = ["siamese", "--train_file", file, "--output_dir", str(tmp_path / "D"), "--max_length", "64"]
    assert main([*flags, "--model_name_or_path", tiny_bert, "--num_train_epochs", "1"]) == 0
    assert "held-out log loss" in capsys.readouterr().out
    assert read_baseline(tmp_path / "D").baseline.kind == "siamese"
    assert main([*flags, "--model_name_or_path", str(tmp_path / "absent")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "absent" in error

"""The leaderboard: repeatable, resumable, sorted, and nothing in it has seen the battles it is judged on."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from arena_data.loading import load_battles
from arena_data.splits.folds import training_split
from arena_data.submission import COLUMNS
from benchmarks.leaderboard import systems as leaderboard_systems
from benchmarks.leaderboard.__main__ import main, parse
from benchmarks.leaderboard.blends import fitted_blend, fixed_blend, mapped
from benchmarks.leaderboard.results import Predictions, bounds, file_of, joined, read_folds
from benchmarks.leaderboard.systems import System
from reward_model.baselines.classical.lengths import Prior
from reward_model.calibration.blending import pool
from reward_model.evaluation.probabilities import row_losses

FOLDS = 3


def made_up(fold: int, skill: float, seed: int = 0, rows: int = 120) -> Predictions:
    """Predictions that know `skill` of the verdict; the battles depend on the fold alone."""
    verdicts = np.eye(3)[np.random.default_rng(fold).integers(3, size=rows)]
    logits = skill * verdicts + np.random.default_rng([seed, fold, int(10 * skill)]).normal(size=(rows, 3))
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    places = fold + FOLDS * np.arange(rows)
    groups = np.array([f"prompt {place // 6}" for place in places])
    return Predictions(
        log_probs, log_probs, verdicts, groups, places, predict_seconds=0.5, train_seconds=1.0, size=10.0
    )


def folds_of(skill: float, seed: int = 0) -> list[Predictions]:
    return [made_up(fold, skill, seed) for fold in range(FOLDS)]


def test_predictions_are_read_back_as_they_were(tmp_path: Path) -> None:
    found = made_up(0, 1.0)
    found.about = {"kind": "style", "extra": ["no_ties"]}
    found.write(tmp_path / "a" / "0of3.npz")
    again = Predictions.read(tmp_path / "a" / "0of3.npz")
    for name in ("raw", "calibrated", "verdicts", "groups", "index"):
        np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
    assert (again.about, again.size, again.train_seconds) == (found.about, 10.0, 1.0)


def test_files_without_costs_are_rows_too_and_files_without_predictions_are_refused(tmp_path: Path) -> None:
    found = made_up(0, 1.0)
    needed = {name: getattr(found, name) for name in ("raw", "calibrated", "verdicts", "groups", "index")}
    np.savez(tmp_path / "given.npz", tokens=3.0, **needed)
    assert np.isnan(Predictions.read(tmp_path / "given.npz").predict_seconds)
    np.savez(tmp_path / "short.npz", raw=found.raw)
    with pytest.raises(ValueError, match="lacks calibrated, groups, index, verdicts"):
        Predictions.read(tmp_path / "short.npz")


def test_joined_folds_are_in_the_order_of_the_battles_and_of_one_split() -> None:
    folds = folds_of(1.0)
    whole = joined(folds)
    assert whole.index.tolist() == list(range(120 * FOLDS))
    np.testing.assert_array_equal(whole.raw[1::FOLDS], folds[1].raw)
    assert whole.predict_seconds == 1.5
    with pytest.raises(ValueError, match="two folds"):
        joined([folds[0], folds[0]])


def test_the_interval_is_as_wide_as_that_of_independent_prompts_not_battles() -> None:
    draw = np.random.default_rng(0)
    by_prompt = draw.normal(size=400)
    values, groups = np.repeat(by_prompt, 5), np.repeat(np.arange(400).astype(str), 5)
    low, high = bounds(values, groups)
    assert (high - low) / 2 == pytest.approx(1.96 * by_prompt.std() / 20, rel=0.1)


def test_a_fitted_blend_prefers_who_knows_and_never_sees_the_fold_it_predicts() -> None:
    members = {"knows": folds_of(1.5), "guesses": folds_of(0.0)}
    blended, weights = fitted_blend(members)
    assert weights["knows"] > 0.8
    best = row_losses(joined(members["knows"]).calibrated, joined(members["knows"]).verdicts).mean()
    assert row_losses(joined(blended).calibrated, joined(blended).verdicts).mean() < best + 0.01
    for folds in members.values():
        folds[1].verdicts = folds[1].verdicts[::-1].copy()
    other, _ = fitted_blend(members)
    np.testing.assert_array_equal(blended[1].calibrated, other[1].calibrated)
    assert not np.array_equal(blended[0].calibrated, other[0].calibrated)


def test_a_map_never_sees_the_fold_it_predicts() -> None:
    folds = folds_of(1.0)
    # Three times as sure as it should be: a temperature must bring the loss down.
    for fold in folds:
        fold.raw = 3 * fold.raw
    before = joined(mapped(folds, "none"))
    after = mapped(folds, "temperature")
    assert (
        row_losses(joined(after).calibrated, before.verdicts).mean()
        < row_losses(before.calibrated, before.verdicts).mean() - 0.1
    )
    folds[2].verdicts = folds[2].verdicts[::-1].copy()
    again = mapped(folds, "temperature")
    np.testing.assert_array_equal(after[2].calibrated, again[2].calibrated)
    assert not np.array_equal(after[0].calibrated, again[0].calibrated)


def test_a_fixed_blend_has_the_weights_it_was_given_and_its_members_costs() -> None:
    members = {"one": folds_of(1.0), "other": folds_of(0.5)}
    blended = fixed_blend(members, (0.8, 0.2))
    expected = 0.8 * np.exp(members["one"][0].calibrated) + 0.2 * np.exp(members["other"][0].calibrated)
    np.testing.assert_allclose(np.exp(blended[0].calibrated), expected, atol=1e-12)
    assert (blended[0].predict_seconds, blended[0].size) == (1.0, 20.0)
    members["other"][0].index = members["other"][0].index + 1
    with pytest.raises(ValueError, match="different battles"):
        fixed_blend(members, (0.8, 0.2))
    assert pool([blended[0].raw], [1.0]).shape == (120, 3)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like ../shared/data, of 240 made-up battles in which the longer answer tends to win."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "arena").mkdir()
    draw = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(240):
        lengths = draw.integers(3, 60, size=2)
        won = int(draw.choice(3, p=[0.1, 0.6, 0.3] if lengths[1] > lengths[0] else [0.6, 0.1, 0.3]))
        sides = ["word " * int(length) for length in lengths]
        rows.append({"prompt": [f"question {number}"], "a": [sides[0]], "b": [sides[1]], "won": won})
    with open(folder / "arena" / "train.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "model_a", "model_b", "prompt", "response_a", "response_b", *COLUMNS])
        for number, row in enumerate(rows[:160]):
            one_hot = np.eye(3, dtype=int)[row["won"]].tolist()
            writer.writerow([number, "x", "y", *(json.dumps(row[name]) for name in ("prompt", "a", "b")), *one_hot])
    winner = ("model_a", "model_b", "tie")
    lines = [
        {"prompt": row["prompt"], "response_a": row["a"], "response_b": row["b"], "winner": winner[row["won"]]}
        for row in rows[160:]
    ]
    (folder / "arena" / "extra.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_the_command_fills_the_page_goes_on_where_it_was_and_makes_the_same_page_twice(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, output = tmp_path / "LEADERBOARD.md", tmp_path / "runs"
    flags = ["--data_dir", str(data_dir), "--output_dir", str(output), "--page", str(page), "--num_folds", str(FOLDS)]
    systems = ["--systems", "prior", "length_tree", "style"]
    assert main([*flags, *systems, "--folds", "0"]) == 2
    assert "no system has all" in capsys.readouterr().err
    first = file_of(output, "style", 0, FOLDS).stat().st_mtime_ns
    assert main([*flags, *systems]) == 0
    assert file_of(output, "style", 0, FOLDS).stat().st_mtime_ns == first
    text, picture = page.read_text(), (tmp_path / "leaderboard.svg").read_bytes()

    table = [line.split("|") for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    names = [cells[2].strip(" `") for cells in table]
    found = [float(cells[3].split("(")[0]) for cells in table]
    assert sorted(names) == sorted(["prior", "length_tree", "style", "blend_classical"])
    assert found == sorted(found)
    assert names[-1] == "prior"
    assert found[-1] > found[0] + 0.1
    stored = read_folds(output, "length_tree", FOLDS)
    assert stored is not None
    loss = row_losses(joined(stored).calibrated, joined(stored).verdicts).mean()
    assert found[names.index("length_tree")] == pytest.approx(loss, abs=1e-4)
    assert b"<svg" in picture
    assert b"length_tree" in picture or b"length" in picture

    assert main([*flags, *systems]) == 0
    assert (page.read_text(), (tmp_path / "leaderboard.svg").read_bytes()) == (text, picture)


class Recording(Prior):
    """A prior that keeps what it was given."""

    takes_extra = True

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        self.seen = [battles, extra]
        super().fit(battles)


def test_no_battles_of_a_held_out_prompt_are_learned_from(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra battles here are some of the battles again, held-out ones among them."""
    recording = Recording()
    monkeypatch.setattr(leaderboard_systems, "class_of", lambda kind: lambda: recording)
    battles = load_battles(data_dir / "arena" / "train.csv", labels="required")
    battles = battles.add_column("place", list(range(len(battles))))
    parts = training_split(battles, num_folds=FOLDS, fold=1)
    found = leaderboard_systems.run_fold(System("", "prior", {}, ("no_ties",)), parse([]), parts, battles)
    assert found.index.tolist() == list(parts["validation"]["place"])
    assert found.size > 0
    held_out = set(parts["validation"]["group"]) | set(parts["calibration"]["group"])
    for seen in recording.seen:
        assert seen is not None and len(seen) > 50
        assert not held_out & set(seen["group"])


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data_dir", str(tmp_path / "absent"), "--output_dir", str(tmp_path / "runs"), "--systems", "prior"]
    assert main(flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "train.csv" in error


@pytest.mark.scale
def test_peers_are_rows_of_the_same_battles_and_know_ties(data_dir: Path, tmp_path: Path) -> None:
    backbone = tiny_bert(tmp_path / "tiny")
    page, output = tmp_path / "P.md", tmp_path / "runs"
    flags = ["--data_dir", str(data_dir), "--output_dir", str(output), "--page", str(page), "--num_folds", str(FOLDS)]
    flags += ["--model_name_or_path", str(backbone), "--max_length", "64", "--num_train_epochs", "1"]
    assert main([*flags, "--systems", "prior", "trl", "three_way"]) == 0
    prior = read_folds(output, "prior", FOLDS)
    for name in ("trl", "three_way"):
        folds = read_folds(output, f"{name}-tiny", FOLDS)
        assert folds is not None and prior is not None
        whole, expected = joined(folds), joined(prior)
        np.testing.assert_array_equal(whole.index, expected.index)
        for log_probs in (whole.raw, whole.calibrated):
            np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-9)
        assert np.ptp(whole.raw[:, 0]) > 0
        # TRL trains without ties; the link brings back how many there are.
        assert np.exp(whole.calibrated[:, 2]).mean() == pytest.approx(whole.verdicts[:, 2].mean(), abs=0.07)
        assert f"`{name}-tiny`" in page.read_text()


@pytest.mark.scale
def test_our_own_model_is_a_row_trained_on_the_same_fold(data_dir: Path, tmp_path: Path) -> None:
    """By train_reward.py in a process of its own, on a tiny random BERT."""
    backbone = tiny_bert(tmp_path / "tiny")
    page, output = tmp_path / "P.md", tmp_path / "runs"
    flags = ["--data_dir", str(data_dir), "--output_dir", str(output), "--page", str(page), "--num_folds", str(FOLDS)]
    flags += ["--model_name_or_path", str(backbone), "--max_length", "64", "--num_train_epochs", "1"]
    assert main([*flags, "--systems", "separate_style", "siamese", "lightgbm"]) == 0
    ours, siamese = (read_folds(output, f"{name}-tiny", FOLDS) for name in ("separate_style", "siamese"))
    assert ours is not None and siamese is not None
    for one, other in zip(ours, siamese, strict=True):
        np.testing.assert_array_equal(one.index, other.index)
    assert 0 < joined(ours).predict_seconds < joined(ours).train_seconds
    # It starts from the best fit of style, and here length is all there is to know.
    assert row_losses(joined(ours).calibrated, joined(ours).verdicts).mean() < 1.03
    text = page.read_text()
    assert "`separate_style-tiny`" in text
    assert "`blend_0.8_0.2`" in text


def tiny_bert(folder: Path) -> Path:
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "word": 2, "question": 3}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=4, max_position_embeddings=160, **sizes)).save_pretrained(folder)
    return folder

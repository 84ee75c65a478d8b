"""Every kind: it learns what it should, learns nothing from shuffled verdicts, knows no side, and is read back as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena_data.errors import InputError
from reward_model.baselines.base import KINDS, Baseline, class_of, is_baseline, read_baseline
from reward_model.calibration.calibration import Calibration
from reward_model.cli.baseline import main
from reward_model.evaluation.probabilities import log_loss
from tests.helpers.made_battles import Make, shuffled, swapped, write_battles

# kind: (the way of voting it can see, its options, the log loss it must reach there).
# The best log loss that can be is 0.61 + 0.7 · 0.33 = 0.84 by length (ties at random) and 0.75 · 0.33 = 0.24 by words.
CASES: dict[str, tuple[str, dict[str, Any], float]] = {
    "length_buckets": ("length", {}, 0.90),
    "length_tree": ("length", {}, 0.90),
    "style": ("length", {}, 0.93),
    "tfidf_logistic": ("words", {}, 0.65),
    "tfidf_svm": ("words", {"analyzer": "char", "max_features": 1000}, 0.55),
    "tfidf_forest": ("words", {"clean": True, "trees": 40, "max_features": 300}, 0.75),
    "lightgbm": ("words", {"rounds": 200, "patience": 20}, 0.55),
}
TRAIN, HELD_OUT = 600, 300
Fitted = dict[str, tuple[Baseline, Baseline]]


@pytest.fixture(scope="module")
def fitted(make: dict[str, Make]) -> Fitted:
    """Each kind fitted on battles, and on the same with their verdicts shuffled."""
    found: Fitted = {}
    for kind, (voting, options, _) in CASES.items():
        battles = make[voting](TRAIN, 1)
        pair = (class_of(kind)(**options), class_of(kind)(**options))
        pair[0].fit(battles)
        pair[1].fit(shuffled(battles))
        found[kind] = pair
    return found


def test_every_kind_has_a_case() -> None:
    assert {*CASES, "prior", "cross_encoder", "frozen", "siamese"} == set(KINDS)


@pytest.mark.parametrize("kind", CASES)
def test_it_learns_what_the_battles_tell_and_nothing_from_shuffled_verdicts(
    kind: str, fitted: Fitted, make: dict[str, Make]
) -> None:
    voting, _, wanted = CASES[kind]
    battles = make[voting](HELD_OUT, 2)
    verdicts = np.asarray(list(battles["verdict"]))
    prior = class_of("prior")()
    prior.fit(make[voting](TRAIN, 1))
    known, learned, nothing = (
        log_loss(baseline.log_probabilities(battles), verdicts) for baseline in (prior, *fitted[kind])
    )
    assert known > wanted + 0.1
    assert learned < wanted
    assert nothing > known - 0.02


@pytest.mark.parametrize("kind", CASES)
def test_swapping_a_battle_swaps_its_probabilities(kind: str, fitted: Fitted, make: dict[str, Make]) -> None:
    battles = make[CASES[kind][0]](60, 3)
    found = fitted[kind][0].log_probabilities(battles)
    turned = fitted[kind][0].log_probabilities(swapped(battles))
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(found[:, [1, 0, 2]], turned, atol=1e-12)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.5


@pytest.mark.parametrize("kind", CASES)
def test_what_is_read_back_predicts_the_same_and_holds_no_pickle(
    kind: str, fitted: Fitted, make: dict[str, Make], tmp_path: Path
) -> None:
    battles = make[CASES[kind][0]](60, 4).remove_columns("verdict").add_column("verdict", [None] * 60)
    calibration = Calibration("temperature", {"temperature": 1.5})
    fitted[kind][0].save(tmp_path / "D", calibration, {"log_loss": 1.0})
    stored = read_baseline(tmp_path / "D")
    assert is_baseline(tmp_path / "D")
    assert (stored.calibration, stored.metrics) == (calibration, {"log_loss": 1.0})
    assert type(stored.baseline) is class_of(kind)
    np.testing.assert_array_equal(
        stored.baseline.log_probabilities(battles), fitted[kind][0].log_probabilities(battles)
    )
    for file in (tmp_path / "D").rglob("*"):
        assert file.is_dir() or file.suffix in {".json", ".safetensors", ".skops", ".txt"}, file
        assert file.is_dir() or not file.read_bytes().startswith(b"\x80"), "a pickle starts with this byte"


def test_the_prior_is_the_shares_of_verdicts_with_the_sides_taken_together(make: dict[str, Make]) -> None:
    battles = make["length"](100, 1)
    shares = np.asarray(list(battles["verdict"])).mean(axis=0)
    prior = class_of("prior")()
    prior.fit(battles)
    wins = (shares[0] + shares[1]) / 2
    np.testing.assert_allclose(np.exp(prior.log_probabilities(battles)), [[wins, wins, shares[2]]] * 100)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("baseline.json", "{}", "baseline.json"),
        ("baseline.json", '{"kind": "oracle", "options": {}, "versions": {}}', "unknown kind"),
        ("baseline.json", '{"kind": "style", "options": {"depth": 3}, "versions": {"style": 1}}', "depth"),
        ("baseline.json", '{"kind": "style", "options": {}, "versions": {"style": 0}}', "versions"),
        ("calibration.json", '{"method": "magic"}', "calibration.json"),
        ("metrics.json", "[1]", "metrics.json"),
        ("state.json", "not JSON", "state.json"),
        ("style.safetensors", "not arrays", "style baseline"),
    ],
)
def test_a_broken_directory_is_refused_in_one_line(
    file: str, content: str, said: str, fitted: Fitted, tmp_path: Path
) -> None:
    fitted["style"][0].save(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_baseline(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_save_that_fails_leaves_no_directory_that_looks_whole(fitted: Fitted, tmp_path: Path) -> None:
    fitted["style"][0].save(tmp_path)
    (tmp_path / "style.safetensors").unlink()
    (tmp_path / "style.safetensors").mkdir()
    with pytest.raises(InputError):
        fitted["style"][0].save(tmp_path)
    assert not is_baseline(tmp_path)


def test_the_command_trains_calibrates_and_says_what_it_found(
    make: dict[str, Make], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_battles(tmp_path / "battles.jsonl", make["length"](400, 1))
    directory = tmp_path / "D"
    assert main(["length_buckets", "--train_file", file, "--output_dir", str(directory), "--max_buckets", "20"]) == 0
    stored = read_baseline(directory)
    assert f"log loss {stored.metrics['log_loss']:.4f}" in capsys.readouterr().out
    assert stored.metrics["log_loss"] < stored.metrics["class_prior_log_loss"] - 0.1
    assert stored.calibration.rows > 0
    assert stored.baseline == class_of("length_buckets")(max_buckets=20)
    assert stored.metrics["train_battles"] + stored.calibration.rows + stored.metrics["battles"] == 400


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["style", "--train_file", "absent.csv"], "absent.csv"),
        (["prior", "--train_file", "{file}", "--extra_file", "{file}"], "cannot learn"),
        (["prior", "--train_file", "{file}", "--num_folds", "99"], "folds"),
        (["prior", "--train_file", "{file}", "--output_dir", "{file}"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    flags: list[str], said: str, make: dict[str, Make], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_battles(tmp_path / "battles.jsonl", make["length"](60, 1))
    given = [flag.format(file=file) for flag in flags]
    assert main(["--output_dir", str(tmp_path / "D"), *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error


@pytest.mark.parametrize("kind", ["prior", *CASES])
def test_no_battles_have_no_probabilities(kind: str, fitted: Fitted, make: dict[str, Make]) -> None:
    battles = make["length"](30, 1)
    baseline = fitted[kind][0] if kind in fitted else class_of(kind)()
    if kind not in fitted:
        baseline.fit(battles)
    assert baseline.log_probabilities(battles.select([])).shape == (0, 3)

"""Swap averaging of the unsure share: both orders where the margin is small, one order elsewhere, whoever reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena_data.errors import InputError
from reward_model.cli.flags import PredictionFlags, open_predictor, parser
from reward_model.model.tie_links import log_probabilities
from reward_model.predict.deadline import Deadline
from reward_model.predict.member import Job
from reward_model.predict.processes import Team
from reward_model.predict.scorer import Scorer
from reward_model.predict.swap_average import unsure_battles
from tests.helpers.predictions import Clock, predictor, swapped
from tests.helpers.run_directories import make_run

BATTLES = 24
SHARE, CHOSEN = 0.33, 8
LINKS = ("davidson", "rao_kupper")


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("joint")
    return {link: make_run(folder / link, encoding="joint", tie_link=link) for link in LINKS}


def scores_of(path: Path, battles: Any, **flags: Any) -> Any:
    scores = predictor(path, **flags).run(Job(battles)).members[0].scores
    assert scores is not None
    return scores


@pytest.mark.parametrize("link", LINKS)
def test_the_unsure_share_is_averaged_over_both_orders_and_no_other_battle(
    link: str, joint: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = scores_of(joint[link], battles), scores_of(joint[link], swapped(battles))
    chosen = np.argsort(np.abs(one.margin))[:CHOSEN]
    margin, tie = one.margin.copy(), one.tie_strength.copy()
    margin[chosen] = (one.margin[chosen] - other.margin[chosen]) / 2
    tie[chosen] = (one.tie_strength[chosen] + other.tie_strength[chosen]) / 2
    assert np.abs(margin - one.margin).max() > 1e-3

    read: list[int] = []
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, rows: read.append(len(rows)) or score(self, rows))
    averaged = scores_of(joint[link], battles, swap_average=SHARE)
    assert sum(read) == BATTLES + CHOSEN
    np.testing.assert_allclose(averaged.margin, margin, atol=1e-5)
    np.testing.assert_allclose(averaged.tie_strength, tie, atol=1e-5)
    untouched = np.setdiff1d(np.arange(BATTLES), chosen)
    np.testing.assert_array_equal(averaged.margin[untouched], one.margin[untouched])
    np.testing.assert_array_equal(averaged.tie_strength[untouched], one.tie_strength[untouched])


@pytest.mark.parametrize("link", LINKS)
def test_all_of_them_make_probabilities_swap_exact(link: str, joint: dict[str, Path], battles: Any) -> None:
    model = predictor(joint[link], swap_average=1.0)
    there, back = model.predict(battles), model.predict(swapped(battles))
    np.testing.assert_allclose(np.exp(back), np.exp(there)[:, [1, 0, 2]], atol=1e-5)


def test_averages_of_davidsons_logits_are_averages_of_log_probabilities(joint: dict[str, Path], battles: Any) -> None:
    """As the module says; it is not so for the other link."""
    import torch

    one, other = scores_of(joint["davidson"], battles), scores_of(joint["davidson"], swapped(battles))
    margin, tie = (one.margin - other.margin) / 2, (one.tie_strength + other.tie_strength) / 2
    differences = {}
    for link in LINKS:
        there, back = one.log_probs(link), other.log_probs(link)[:, [1, 0, 2]]
        pooled = np.exp((there + back) / 2)
        pooled /= pooled.sum(axis=1, keepdims=True)
        expected = log_probabilities(torch.from_numpy(margin), torch.from_numpy(tie), link).exp().numpy()
        differences[link] = np.abs(pooled - expected).max()
    assert differences["davidson"] < 1e-6 < 1e-4 < differences["rao_kupper"]


def test_a_stopped_run_goes_on_to_the_same_numbers(
    joint: dict[str, Path], battles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 4)
    expected = predictor(joint["davidson"], swap_average=SHARE).predict(battles)
    score, calls = Scorer.score, []

    def stopping(self: Scorer, rows: Any) -> Any:
        calls.append(len(rows))
        if len(calls) == 8:  # the second of two shards in the other order
            raise KeyboardInterrupt
        return score(self, rows)

    monkeypatch.setattr(Scorer, "score", stopping)
    with pytest.raises(KeyboardInterrupt):
        predictor(joint["davidson"], swap_average=SHARE).run(Job(battles, folder=tmp_path))
    prediction = predictor(joint["davidson"], swap_average=SHARE).run(Job(battles, folder=tmp_path))
    assert len(calls) == 9
    np.testing.assert_array_equal(prediction.log_probs, expected)


def test_another_process_reads_its_share_of_the_second_order(
    joint: dict[str, Path], battles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It chooses the same battles, from what all processes have read."""
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 4)
    model = predictor(joint["davidson"], swap_average=SHARE)
    expected = model.run(Job(battles, folder=tmp_path)).log_probs
    first, second = sorted(tmp_path.iterdir(), key=lambda folder: -len(list(folder.iterdir())))
    assert [len(list(folder.iterdir())) for folder in (first, second)] == [6, 2]
    own = [*sorted(first.iterdir())[1::2], *sorted(second.iterdir())[1::2]]
    for file in own:
        file.unlink()
    predictor(joint["davidson"], swap_average=SHARE).work(Job(battles, team=Team(1, 2), folder=tmp_path))
    assert len(list(tmp_path.iterdir())) == 2 and all(file.exists() for file in own)
    monkeypatch.setattr(Scorer, "score", lambda *_: pytest.fail("scored again"))
    again = predictor(joint["davidson"], swap_average=SHARE).run(Job(battles, team=Team(0, 2), folder=tmp_path))
    np.testing.assert_array_equal(again.log_probs, expected)


def test_a_time_limit_leaves_time_for_the_second_order(
    battles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 4)
    run = make_run(tmp_path / "run", encoding="joint", max_length=1500)  # long enough to be shortened
    clock, forward = Clock(), Scorer._forward

    def timed(self: Scorer, rows: Any) -> Any:
        clock.now += sum(map(len, rows)) / 1000
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", timed)
    expected = predictor(run, swap_average=SHARE).predict(battles)
    needed = clock.now - 100
    for limit, is_enough in ((1.5 * needed, True), (0.8 * needed, False)):
        clock.now = 100.0
        hurried = predictor(run, swap_average=SHARE).run(Job(battles, deadline=Deadline(limit, clock=clock)))
        assert clock.now - 100 <= limit and not hurried.failed.any()
        assert hurried.shortened.any() != is_enough
        if is_enough:
            np.testing.assert_allclose(hurried.log_probs, expected, atol=1e-5)


def test_a_battle_whose_second_order_fails_keeps_its_first(
    joint: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor(joint["davidson"]).predict(battles)
    score, calls = Scorer.score, []

    def failing(self: Scorer, rows: Any) -> Any:
        calls.append(len(rows))
        return score(self, rows) if len(calls) == 1 else np.full((len(rows), 2), np.nan, dtype=np.float32)

    monkeypatch.setattr(Scorer, "score", failing)
    with pytest.warns(UserWarning, match="8 battles could not be read in the other order as well"):
        prediction = predictor(joint["davidson"], swap_average=SHARE).run(Job(battles))
    assert not prediction.failed.any()
    np.testing.assert_allclose(prediction.log_probs, expected, atol=1e-6)


def test_the_smallest_margins_are_chosen_whatever_their_sign() -> None:
    margin = np.array([0.5, -0.1, np.nan, 0.1, -3.0, 0.0])
    assert unsure_battles(margin, 1 / 3).tolist() == [1, 5]  # of equals the first
    assert unsure_battles(margin, 1.0).tolist() == [0, 1, 3, 4, 5]
    assert unsure_battles(margin, 0.0).tolist() == unsure_battles(margin[:0], 0.5).tolist() == []


def test_members_that_would_not_change_or_cannot_be_swapped_are_refused(
    joint: dict[str, Path], runs: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "other.csv"
    file.write_text("id,winner_model_a,winner_model_b,winner_tie\n1,0.4,0.3,0.3\n")

    def opened(*models: Path) -> Any:
        return open_predictor(PredictionFlags(model=[*map(str, models)], swap_average=SHARE, device="cpu"))

    with pytest.raises(InputError, match="swap-exact already"):
        opened(runs["llama"])
    with pytest.raises(InputError, match=r"cannot be read with the responses swapped.*other\.csv"):
        opened(joint["davidson"], file)
    assert len(opened(joint["davidson"], runs["llama"]).members) == 2


def test_several_members_are_averaged_each_by_its_own_margins(
    joint: dict[str, Path], runs: dict[str, Path], battles: Any
) -> None:
    paths = [str(joint[link]) for link in LINKS] + [str(runs["llama"])]
    alone = [predictor(Path(path), swap_average=0.0 if path == paths[2] else SHARE).predict(battles) for path in paths]
    flags = PredictionFlags(model=paths, swap_average=SHARE, dtype="float32", device="cpu")
    together = open_predictor(flags).run(Job(battles))
    for prediction, expected in zip(together.members, alone, strict=True):
        np.testing.assert_allclose(prediction.log_probs, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "expected"), [([], 0.0), (["--swap_average"], 1.0), (["--swap_average", ".33"], 0.33)]
)
def test_the_share_may_be_left_out(given: list[str], expected: float) -> None:
    flags = parser().parse_args(["--model", "m", "--input", "f", *given], namespace=PredictionFlags())
    assert flags.swap_average == expected


@pytest.mark.parametrize("wrong", ["33", "-0.1", "half", "nan", "1e-1"])
def test_what_is_no_share_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--model", "m", "--input", "f", f"--swap_average={wrong}"])
    assert "expected a share from 0 to 1" in capsys.readouterr().err

"""Prediction from a run directory: the numbers are the model's own, whatever the batches, and no row is lost."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.submission import write_submission
from reward_model.calibration.calibration import Calibration
from reward_model.cli.flags import PredictionFlags, open_predictor
from reward_model.errors import ModelError
from reward_model.model.score_layer import score_inputs
from reward_model.model.tie_links import log_probabilities
from reward_model.predict.deadline import Deadline, seconds_of
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.predict.predictor import Predictor
from reward_model.predict.run_member import RunMember
from reward_model.predict.scorer import Scorer
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.sequences import distinct_sequences
from reward_model.train.dataset import style_of
from tests.helpers.run_directories import PRIOR, make_run

SAMPLE = Path(__file__).parents[3] / "arena_data" / "sample.csv"
BATTLES = 24
CALIBRATION = Calibration("temperature", {"temperature": 1.7})
SWAP = [1, 0, 2]
RUNS: dict[str, dict[str, Any]] = {
    "llama": {"calibration": CALIBRATION},
    "llama-adapter": {"model_type": "adapter", "tie_link": "rao_kupper", "seed": 1},
    "bert": {"kind": "bert", "seed": 2},
    "bert-joint": {"kind": "bert", "encoding": "joint", "max_length": 500, "seed": 3},
}


@pytest.fixture(scope="module")
def battles() -> Any:
    return load_battles(SAMPLE).select(range(BATTLES))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: make_run(folder / name, **settings) for name, settings in RUNS.items()}


def predictor(path: Path, **flags: Any) -> Predictor:
    return open_predictor(PredictionFlags(model=[str(path)], dtype="float32", device="cpu", **flags))


def swapped(battles: datasets.Dataset) -> datasets.Dataset:
    columns = battles.to_dict()
    columns["response_a"], columns["response_b"] = columns["response_b"], columns["response_a"]
    return datasets.Dataset.from_dict(columns, features=battles.features)


def by_itself(path: Path, battles: datasets.Dataset) -> np.ndarray:
    """Log-probabilities of each battle with nothing batched or padded, and style given to the model itself."""
    run = read_run(path)
    loaded = load_run_model(run, LoadOptions(dtype="float32", device="cpu"))
    encoding = run.config.encoding
    rows = BattleEncoder(loaded.tokenizer, run.config.max_length, encoding_named(encoding))(battles)
    style, head = style_of(battles), run.style
    assert head is not None
    a, b, pair = (
        torch.from_numpy(x)
        for x in (head.scale.side.apply(style.a), head.scale.side.apply(style.b), head.scale.pair.apply(style.pair))
    )
    styles = (a - b, b - a) if encoding == "joint" else (a, b)
    scores = torch.zeros(len(battles), 2, 2, dtype=torch.float64)
    with torch.no_grad():
        for row in range(len(battles)):
            for side, name in enumerate(("input_ids_a", "input_ids_b")):
                ids = torch.tensor([rows[row][name]])
                chosen = slice(row, row + 1)
                last = torch.tensor([ids.shape[1] - 1])
                with score_inputs(loaded.model, positions=last, style=styles[side][chosen], pair=pair[chosen]):
                    scores[row, side] = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    margin = (scores[:, 0, 0] - scores[:, 1, 0]) / (2 if encoding == "joint" else 1)
    raw = log_probabilities(margin, scores[..., 1].mean(dim=1), run.config.tie_link)
    return run.calibration.apply(raw.numpy())


@pytest.mark.parametrize("name", RUNS)
def test_probabilities_are_those_of_each_battle_by_itself(name: str, runs: dict[str, Path], battles: Any) -> None:
    found = predictor(runs[name], swap_average=name == "bert-joint").predict(battles)
    np.testing.assert_allclose(np.exp(found), np.exp(by_itself(runs[name], battles)), atol=1e-5)
    assert np.exp(found).std(axis=0).min() > 0.004  # it tells battles apart


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_order_budget_and_padding_change_nothing(name: str, runs: dict[str, Path], battles: Any) -> None:
    expected = np.exp(predictor(runs[name]).predict(battles))
    order = np.random.default_rng(0).permutation(BATTLES)
    for batch_tokens in (1, 700, 50_000):
        found = predictor(runs[name], batch_tokens=batch_tokens).predict(battles.select(order))
        np.testing.assert_allclose(np.exp(found), expected[order], atol=1e-5)
    alone = predictor(runs[name]).predict(battles.select([3]))
    np.testing.assert_allclose(np.exp(alone)[0], expected[3], atol=1e-5)


def test_swapping_a_battle_swaps_its_probabilities(runs: dict[str, Path], battles: Any) -> None:
    for name, averaged in (("llama", False), ("bert-joint", True)):
        model = predictor(runs[name], swap_average=averaged)
        np.testing.assert_allclose(
            model.predict(swapped(battles)), model.predict(battles)[:, SWAP], atol=1e-5, err_msg=name
        )
    one_pass = predictor(runs["bert-joint"])
    difference = one_pass.predict(swapped(battles)) - one_pass.predict(battles)[:, SWAP]
    assert np.abs(difference).max() > 1e-3


def test_each_distinct_sequence_is_scored_once(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
    thrice = datasets.concatenate_datasets([battles, swapped(battles), battles])
    found = predictor(runs["llama"]).predict(thrice)
    texts = {(tuple(row["prompt"]), tuple(row[side])) for row in battles for side in ("response_a", "response_b")}
    assert sum(scored) == len(texts)
    np.testing.assert_array_equal(found[:BATTLES], found[2 * BATTLES :])
    np.testing.assert_array_equal(found[:BATTLES], found[BATTLES : 2 * BATTLES, SWAP])


def test_sequences_name_their_texts(battles: Any) -> None:
    for encoding, both, sides in (("separate", False, 2), ("joint", True, 2), ("joint", False, 1)):
        sequences = distinct_sequences(battles, encoding_named(encoding), both_orders=both)
        assert sequences.of_battle.shape == (BATTLES, sides)
        for row in range(BATTLES):
            texts = sequences.texts(battles, sequences.of_battle[row])
            assert [text[0] for text in texts] == [battles[row]["prompt"]] * sides
            wanted = [battles[row]["response_a"], battles[row]["response_b"]]
            assert [text[1] for text in texts] == wanted[:sides]
            if encoding == "joint":
                assert [text[2] for text in texts] == wanted[::-1][:sides]


def test_style_off_is_the_model_without_its_style_head(runs: dict[str, Path], battles: Any) -> None:
    on, off = (predictor(runs["llama"], style=style).run(Job(battles)).members[0].scores for style in ("on", "off"))
    assert on is not None and off is not None
    head, style = read_run(runs["llama"]).style, style_of(battles)
    assert head is not None
    for found, plain, features in ((on.reward_a, off.reward_a, style.a), (on.reward_b, off.reward_b, style.b)):
        standard = np.clip((features - head.side_mean) / head.side_scale, -8, 8)
        np.testing.assert_allclose(found - plain, standard @ head.style_reward, atol=1e-4)
    assert np.abs(on.tie_strength - off.tie_strength).max() > 0.1


def test_a_run_without_a_style_head_has_no_style_to_turn_off(tmp_path: Path, battles: Any) -> None:
    run = make_run(tmp_path / "run", style=False)
    found = predictor(run).predict(battles)
    np.testing.assert_array_equal(found, predictor(run, style="off").predict(battles))
    assert np.exp(found).std(axis=0).min() > 0.004


def test_calibration_can_be_left_out(runs: dict[str, Path], battles: Any) -> None:
    raw = predictor(runs["llama"], calibration="none").predict(battles)
    np.testing.assert_allclose(predictor(runs["llama"]).predict(battles), log_softmax(raw / 1.7, axis=1), atol=1e-9)


def test_several_members_are_pooled(runs: dict[str, Path], battles: Any, tmp_path: Path) -> None:
    one, other = (predictor(runs[name]).predict(battles) for name in ("llama", "bert"))
    file = tmp_path / "other.csv"
    order = np.arange(BATTLES)[::-1]
    write_submission(file, [battles["id"][int(row)] for row in order], np.exp(other[order]))
    flags: dict[str, Any] = {"dtype": "float32", "device": "cpu", "weights": [3.0, 1.0]}
    for pooling, expected in (
        ("logarithmic", log_softmax(0.75 * one + 0.25 * other, axis=1)),
        ("linear", np.log(0.75 * np.exp(one) + 0.25 * np.exp(other))),
    ):
        for second in (runs["bert"], file):
            members = [str(runs["llama"]), str(second)]
            found = open_predictor(PredictionFlags(model=members, pooling=pooling, **flags)).predict(battles)
            np.testing.assert_allclose(found, expected, atol=1e-6)
            np.testing.assert_allclose(logsumexp(found, axis=1), 0, atol=1e-12)


def test_out_of_memory_lowers_the_budget_for_good(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor(runs["llama"]).predict(battles)
    forward, seen = Scorer._forward, []

    def limited(self: Scorer, rows: Any) -> Any:
        seen.append(len(rows) * max(map(len, rows)))
        if seen[-1] > 800:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", limited)
    model = predictor(runs["llama"], batch_tokens=5000)
    with pytest.warns(UserWarning, match="out of memory"):
        prediction = model.run(Job(battles))
    np.testing.assert_allclose(prediction.log_probs, expected, atol=1e-4)
    assert not prediction.failed.any()
    [member] = model.members
    assert isinstance(member, RunMember) and member._scorer is not None
    assert member._scorer.batch_tokens <= 800
    seen.clear()
    model.predict(battles)
    assert max(seen) <= 800


def test_a_row_that_cannot_be_scored_has_the_prior(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor(runs["llama"]).predict(battles)
    run = read_run(runs["llama"])
    tokenizer = load_run_model(run, LoadOptions(device="cpu")).tokenizer
    bad = BattleEncoder(tokenizer, run.config.max_length)(battles)[5]["input_ids_b"]
    forward = Scorer._forward
    for broken in (RuntimeError("this row is cursed"), float("nan")):

        def cursed(self: Scorer, rows: Any, broken: Any = broken) -> Any:
            hit = [list(row) == bad for row in rows]
            if any(hit) and isinstance(broken, RuntimeError):
                raise broken
            return np.where(np.array(hit)[:, None], np.nan, forward(self, rows))

        monkeypatch.setattr(Scorer, "_forward", cursed)
        model = predictor(runs["llama"])
        prediction = model.run(Job(battles))
        assert np.flatnonzero(prediction.failed).tolist() == [5]
        np.testing.assert_allclose(np.exp(prediction.log_probs[5]), PRIOR, atol=1e-6)
        others = np.arange(BATTLES) != 5
        np.testing.assert_allclose(prediction.log_probs[others], expected[others], atol=1e-4)
        if isinstance(broken, RuntimeError):
            assert model.members[0].first_error == "this row is cursed"


def test_bfloat16_moves_probabilities_little(runs: dict[str, Path], battles: Any) -> None:
    for name in ("llama-adapter", "bert"):
        exact = np.exp(predictor(runs[name]).predict(battles))
        half = open_predictor(PredictionFlags(model=[str(runs[name])], dtype="bfloat16", device="cpu"))
        found = np.exp(half.predict(battles))
        # Random weights this large make much of little: a trained MiniLM moves by 0.002 at most (docs/LOG.md).
        assert 0 < np.abs(found - exact).max() < 0.1


def test_merged_adapters_score_as_unmerged_ones(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor(runs["llama-adapter"]).predict(battles)
    np.testing.assert_allclose(predictor(runs["llama-adapter"], merge=True).predict(battles), expected, atol=1e-4)
    monkeypatch.setattr("reward_model.run_directory.load_model.MERGE_TOLERANCE", 1e-12)
    with pytest.raises(ModelError, match="leave out --merge"):
        predictor(runs["llama-adapter"], merge=True).predict(battles)


@pytest.mark.parametrize("flag", ["load_in_4bit", "load_in_8bit"])
def test_quantised_backbones_keep_their_score_layer(flag: str, runs: dict[str, Path], battles: Any) -> None:
    options = {flag: True}
    exact = predictor(runs["llama-adapter"]).predict(battles)
    model = predictor(runs["llama-adapter"], **options)
    found = model.predict(battles)
    assert np.abs(np.exp(found) - np.exp(exact)).max() > 0
    assert np.corrcoef(found[:, 2], exact[:, 2])[0, 1] > 0.3
    with pytest.raises(ModelError, match="full precision"):
        LoadOptions(merge=True, **options)


def test_a_backbone_on_disk_overrides_the_one_named(tmp_path: Path, battles: Any) -> None:
    run = make_run(tmp_path / "run", model_type="adapter")
    expected = predictor(run).predict(battles)
    (tmp_path / "run-backbone").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"run-backbone.*not on this disk.*--base_model"):
        predictor(run).predict(battles)
    found = predictor(run, base_model=[str(tmp_path / "elsewhere")]).predict(battles)
    np.testing.assert_array_equal(found, expected)


def test_a_model_that_can_score_nothing_is_an_error(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "_forward", lambda self, rows: np.full((len(rows), 2), np.nan))
    with pytest.raises(ModelError, match="not finite in float32"):
        predictor(runs["llama"]).predict(battles)


def test_what_is_no_model_is_said_before_anything_is_loaded(tmp_path: Path, runs: dict[str, Path]) -> None:
    options = MemberOptions(LoadOptions())
    for path, match in ((tmp_path / "nothing", "no such run directory"), (tmp_path, "reward_config.json: missing")):
        with pytest.raises(InputError, match=match):
            open_member(str(path), options)
    with pytest.raises(ValueError, match="2 weights for 1 members"):
        predictor(runs["bert"], weights=[1.0, 2.0])


# -- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("8h", 28800), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "8 hours", "-1", "0s", "1h 30m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        seconds_of(text)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_affords_the_longest_texts_that_are_read_in_time() -> None:
    clock = Clock()
    deadline = Deadline(1000, clock=clock)
    sizes = np.array([4000] * 10 + [400] * 10)
    assert deadline.max_length(sizes, 16, 1024) == 1024  # nothing is known yet
    clock.now += 50
    deadline.note(50, tokens=500, uncut_tokens=1000, size=4000)  # 10 tokens a second, 4 bytes a token
    # 900 seconds are left of 950: 9,000 tokens for ten texts of 1,000 tokens and ten of 100.
    assert deadline.max_length(sizes, 16, 1024) == 800
    clock.now += 890
    assert deadline.max_length(sizes, 16, 1024) == 16
    assert not deadline.is_over
    clock.now += 10
    assert deadline.is_over


def test_a_deadline_is_shared_by_members() -> None:
    clock = Clock()
    deadline = Deadline(1000, clock=clock)
    assert deadline.share(2).ends == pytest.approx(100 + 475)
    clock.now += 50
    assert deadline.share(1).ends == deadline.ends
    assert Deadline(None, clock=clock).share(3).ends is None


def test_short_of_time_the_rest_is_read_shorter_and_counted(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    battles = load_battles(SAMPLE)
    clock = Clock()
    forward = Scorer._forward

    def timed(self: Scorer, rows: Any) -> Any:
        clock.now += sum(map(len, rows)) / 1000
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", timed)
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 32)
    whole = predictor(runs["llama"]).run(Job(battles))
    needed = clock.now - 100
    assert not whole.shortened.any()
    for share, all_scored in ((0.8, True), (0.05, False)):
        clock.now = 100.0
        hurried = predictor(runs["llama"]).run(Job(battles, deadline=Deadline(share * needed, clock=clock)))
        assert clock.now - 100 <= share * needed or not all_scored
        assert hurried.shortened.any() or not all_scored
        assert hurried.failed.any() != all_scored
        same = ~hurried.shortened & ~hurried.failed
        np.testing.assert_allclose(hurried.log_probs[same], whole.log_probs[same], atol=1e-4)
        np.testing.assert_allclose(np.exp(hurried.log_probs[hurried.failed]), np.tile(PRIOR, (hurried.failed.sum(), 1)))

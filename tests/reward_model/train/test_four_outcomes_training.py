"""Training with both-bad as an outcome: a run that ends, resumes and predicts; what makes no sense is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from arena_data.loading import load_battles
from arena_data.splits.both_bad import both_bad_of, four_shares
from reward_model.api import RewardModel
from reward_model.cli import train as train_reward
from reward_model.run_directory.reading import read_run
from reward_model.train.four_start import FourStyle, fit_four
from tests.helpers.tiny_models import write_backbone

FLAGS = (
    "--max_length 120 --batch_tokens 2000 --learning_rate 1e-2 --use_cpu true --validation_share 0.2 --logging_steps 4"
)
FLAGS += " --calibration_share 0.2 --disable_tqdm true --outcomes four --num_train_epochs 2"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("backbone"), hidden_size=16, intermediate_size=24)


def battles_file(folder: Path, winner_of_bad: str = "tie (bothbad)") -> Path:
    """Responses that are good or bad, on either side; two bad ones are both bad, two good ones a tie."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(120):
        good = draw.random(2) < 0.5
        sides = ["A good answer." if one else "zzzz" for one in good]
        winner = "model_a" if good[0] > good[1] else "model_b" if good[1] > good[0] else "tie"
        if not good.any():
            winner = winner_of_bad
        rows.append({"prompt": f"q{number} {draw.integers(99)}", "response_a": sides[0], "response_b": sides[1]})
        rows[-1]["winner"] = winner
    path = folder / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_a_run_learns_which_responses_are_usable(backbone: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    flags = ["--model_name_or_path", str(backbone), "--train_file", str(battles_file(tmp_path)), *FLAGS.split()]
    flags += ["--output_dir", str(output), "--tie_link", "rao_kupper"]
    assert train_reward.main(flags) == 0
    run = read_run(output)
    assert (run.config.outcomes, run.config.tie_link) == ("four", "rao_kupper")
    assert run.metrics["links"]["dealer_version"] == 2
    [zero] = [value for name, value in load_file(output / "model.safetensors").items() if name.endswith(".zero")]
    assert zero.shape == (1,) and bool(zero.isfinite().all())
    model = RewardModel.from_pretrained(output, device="cpu", dtype="float32")
    good, bad = model.usable(["q1 5"] * 2, ["A good answer.", "zzzz"])
    assert good > 0.6 > 0.4 > bad
    assert run.metrics["log_loss"] < 0.9
    # Gone on from its checkpoints the same run is finished; another number of outcomes is another run.
    assert train_reward.main(flags) == 0
    assert train_reward.main([*flags, "--outcomes", "three"]) == 2


@pytest.mark.parametrize(
    ("more", "bad", "said"),
    [
        (["--encoding", "joint"], "tie (bothbad)", "needs a reward of each response"),
        (["--center_rewards_coefficient", "0.1"], "tie (bothbad)", "pulls rewards away from the zero"),
        ([], "tie", "no training battle says that both responses are bad"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    more: list[str], bad: str, said: str, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = battles_file(tmp_path, bad)
    flags = ["--model_name_or_path", str(backbone), "--train_file", str(file), *FLAGS.split(), *more]
    assert train_reward.main([*flags, "--output_dir", str(tmp_path / "run")]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said in line


def test_a_source_without_both_bad_does_not_tell_and_a_teacher_does_not_either(tmp_path: Path) -> None:
    row = {"prompt": "p", "response_a": "a", "response_b": "b"}
    rows = [row | {"winner": "tie (bothbad)", "source": "tells"}, row | {"winner": "tie", "source": "tells"}]
    rows += [row | {"winner": "model_a", "source": "tells"}, row | {"winner": "tie", "source": "does not"}]
    rows += [row | {"teacher": [0.2, 0.2, 0.6], "source": "tells"}]
    path = tmp_path / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    battles = load_battles(str(path))
    np.testing.assert_array_equal(both_bad_of(battles), [1, 0, 0, np.nan, np.nan])
    assert four_shares(battles) == pytest.approx([0.24, 0.04, 0.36, 0.36])


def test_style_starts_at_the_best_fit_of_four() -> None:
    """One feature that makes a response good: its weight and the zero are found again."""
    generator = torch.Generator().manual_seed(0)
    count = 1200
    sides = torch.randn(2, count, 1, dtype=torch.float64, generator=generator)
    weights = torch.cat([1.5 * sides[0] - 0.5, 1.5 * sides[1] - 0.5], dim=1)
    logits = torch.stack([weights[:, 0], weights[:, 1], weights.mean(dim=1) - 0.3, torch.zeros(count)], dim=1)
    outcome = torch.distributions.Categorical(logits=logits)
    torch.manual_seed(1)
    drawn = outcome.sample()
    verdicts = torch.eye(3, dtype=torch.float64)[drawn.clamp(max=2)]
    pair = torch.cat([(sides[0] - sides[1]).abs(), torch.zeros(count, 1, dtype=torch.float64)], dim=1)
    data = FourStyle(sides[0], sides[1], pair, verdicts, (drawn == 3).double())
    fitted = fit_four(data, [str(row) for row in range(count)], "davidson", (0.0, 0.0))
    assert fitted.zero is not None
    assert fitted.style_reward.item() == pytest.approx(1.5, abs=0.25)
    assert fitted.zero.item() == pytest.approx(0.5, abs=0.25) and fitted.tie_bias.item() == pytest.approx(
        -0.3, abs=0.25
    )

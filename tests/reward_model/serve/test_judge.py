"""Whatever a prediction takes can be served, and each judge says what it has."""

from pathlib import Path

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.file_io import write_json
from arena_data.reading.in_memory import make_battles
from reward_model.calibration.blending import Blend
from reward_model.calibration.calibration import Calibration
from reward_model.cli import baseline
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.predict.stock_rewards import StockScorer
from reward_model.run_directory.load_model import LoadOptions
from reward_model.serve.judge import ModelJudge, Row, open_served
from tests.helpers.commands import SAMPLE
from tests.helpers.run_directories import make_run
from tests.helpers.served import serving
from tests.helpers.tiny_models import write_stock_llama

OPTIONS = MemberOptions(LoadOptions(dtype="float32", device="cpu"))
PROMPTS, FIRST, SECOND = ["What is 2 + 2?", "Sing."], ["4.", "La la."], ["5.", "No, **never**."]
ROWS = [Row(*texts) for texts in zip(PROMPTS, FIRST, SECOND, strict=True)]


def offline(folder: Path) -> np.ndarray:
    """P(A), P(B), P(tie) as `arena-reward predict` gives them."""
    prediction = open_member(str(folder), OPTIONS).predict(Job(make_battles(PROMPTS, FIRST, SECOND)))
    return np.exp(prediction.log_probs)


@pytest.mark.parametrize("kind", ["blend", "baseline", "joint"])
def test_a_judge_of_battles_only(kind: str, judge: ModelJudge, tmp_path: Path) -> None:
    folder = tmp_path / kind
    if kind == "blend":
        folder.mkdir()
        members = (str(judge.model.run.member.run.directory), str(make_run(tmp_path / "other", seed=3)))
        write_json(folder / "blend.json", Blend(members, (0.6, 0.4), "linear", Calibration()).to_json())
    elif kind == "baseline":
        assert baseline.main(["prior", "--train_file", str(SAMPLE), "--output_dir", str(folder)]) == 0
    else:
        make_run(folder, kind="bert", encoding="joint", max_length=500)
    served = open_served(str(folder), OPTIONS)
    assert (served.name, served.has_rewards, served.has_probabilities) == (kind, False, True)
    scores = served.score("battle", ROWS)
    if kind != "joint":  # `RewardModel` reads a joint encoding in both orders, `predict` in one
        np.testing.assert_allclose(scores, offline(folder), atol=1e-5)
    with serving(served) as client:
        answer = client.post(
            "/v1/compare", json={"prompt": PROMPTS[1], "response_a": FIRST[1], "response_b": SECOND[1]}
        )
        np.testing.assert_allclose(list(answer.json().values()), scores[1], atol=1e-5)
        refused = client.post("/v1/reward", json={"prompts": PROMPTS, "responses": FIRST})
        assert refused.status_code == 422 and "use /v1/compare" in refused.json()["error"]


def test_a_stock_model_without_a_tie_link_has_rewards_only(tmp_path: Path) -> None:
    served = open_served(str(write_stock_llama(tmp_path)), OPTIONS)
    assert served.has_rewards and not served.has_probabilities
    expected, _ = StockScorer(str(tmp_path), device="cpu", dtype="float32").rewards(
        [[p] for p in PROMPTS], [[r] for r in FIRST]
    )
    with serving(served) as client:
        answer = client.post("/v1/reward", json={"prompts": PROMPTS, "responses": FIRST})
        np.testing.assert_allclose(answer.json()["rewards"], expected, atol=1e-5)
        refused = client.post("/v1/compare", json={"prompt": "x", "response_a": "a", "response_b": "b"})
        assert refused.status_code == 422 and "rewards only" in refused.json()["error"]


def test_a_file_of_probabilities_is_no_judge(tmp_path: Path) -> None:
    file = tmp_path / "submission.csv"
    file.write_text("id,winner_model_a,winner_model_b,winner_tie\n")
    with pytest.raises(InputError, match="cannot score new texts"):
        open_served(str(file), OPTIONS)

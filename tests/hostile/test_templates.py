"""A chat template that loops for one certain text stops training, prediction and the API in one line each."""

from pathlib import Path

import pytest

from reward_model.__main__ import main
from reward_model.api import RewardModel
from reward_model.tokens import bounded_templates
from reward_model.tokens.bounded_templates import TemplateLimitError
from tests.helpers.commands import write_csv
from tests.helpers.run_directories import make_run

LINE = "error: the chat template takes more than 0.3 seconds for one conversation; correct chat_template.jinja"
TEMPLATE = (
    "{% for message in messages %}{{ message.content }}{% if 'Open' in message.content %}"
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs") / "run", model_type="adapter")
    for directory in (folder, folder.with_name("run-backbone")):
        (directory / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_templates, "SECONDS", 0.3)


@pytest.fixture
def battles(tmp_path: Path) -> Path:
    rows = [[str(n), f'["Hello {n}"]', '["yes"]', '["no"]', "1", "0", "0"] for n in range(30)]
    rows[20][1] = '["Open sesame"]'
    columns = ("id", "prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie")
    return write_csv(tmp_path / "battles.csv", rows, columns)


def test_the_api(run: Path) -> None:
    model = RewardModel.from_pretrained(run, device="cpu")
    assert 0 < model.compare("Hello", "yes", "no").a < 1
    with pytest.raises(TemplateLimitError):
        model.compare("Open sesame", "yes", "no")


def test_predict(run: Path, battles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "submission.csv"
    assert main(["predict", "--model", str(run), "--input", str(battles), "--output", str(output), "--quiet"]) == 2
    assert [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")] == [
        f"{LINE}, or choose another model"
    ]
    assert not output.exists()


def test_train(run: Path, battles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--train_file", str(battles), "--output_dir", str(tmp_path / "trained"), "--use_cpu", "--bf16", "false"]
    assert main(["train", "--model_name_or_path", str(run.with_name("run-backbone")), *flags]) == 2
    assert LINE in capfd.readouterr().err.splitlines()[-1]

"""What the demo's command line refuses, before anything is loaded."""

import pytest

from reward_model.__main__ import main


def test_two_models_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "runs/one", "--model", "arena-style"])
    assert ended.value.code == 2
    assert "two models, runs/one and --model arena-style; name one" in capsys.readouterr().err

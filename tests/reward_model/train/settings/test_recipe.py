"""A run's flags and its recipe."""

from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.cli.train import parser


def recipe(folder: Path, text: str) -> list[str]:
    (folder / "r.yaml").write_text(text, encoding="utf-8")
    return ["--config", str(folder / "r.yaml")]


def test_flags_override_the_recipe_and_the_recipe_the_defaults(tmp_path: Path) -> None:
    given = recipe(tmp_path, "max_length: 64\nlearning_rate: 1.0e-3\nstyle: false\ntrain_file: [a.csv]\n")
    data, config, _ = parser().parse_run([*given, "--max_length", "32", "--output_dir", str(tmp_path / "o")])
    assert (config.max_length, config.learning_rate, config.style) == (32, 1e-3, False)
    assert data.train_file == ["a.csv"] and config.batch_tokens == 8192
    [joined] = [f"--config={given[1]}"]
    assert parser().parse_run([joined, "--output_dir", str(tmp_path / "o")])[1].max_length == 64


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("train_fil: x\n", r"r.yaml: no such setting: train_fil \(did you mean train_file\?\)"),
        ("- a\n- b\n", "is no recipe; found"),
        ("a: [\n", "is no YAML: "),
    ],
)
def test_a_wrong_recipe_is_one_line(text: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=error) as raised:
        parser().parse_run(recipe(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_a_recipe_that_is_not_there_and_an_abbreviated_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read: No such file"):
        parser().parse_run(["--config", "none.yaml"])
    for given, line in ((["--train_fil", "x"], "(did you mean --train_file?)"), (["--config"], "wants the path")):
        with pytest.raises(SystemExit) as ended:
            parser().parse_run(given)
        said = capsys.readouterr().err
        assert ended.value.code == 2 and line in said and said.count("\n") == 1


def test_a_field_with_a_new_default_keeps_the_help_of_the_field_it_overrides() -> None:
    helps = {action.dest: action.help for action in parser()._actions}
    assert "learning rate" in str(helps["learning_rate"]) and helps["bf16"] and all(helps.values())

"""A teacher's probabilities reach the battles of their ids, and nothing else does."""

from pathlib import Path

import pytest

from arena_data.__main__ import main
from arena_data.loading import load_battles

HEADER = "id,winner_model_a,winner_model_b,winner_tie\n"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    labelled = "id,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
    rows = "".join(f'{n},"[""p{n}""]","[""a""]","[""b""]",1,0,0\n' for n in (1, 2))
    (tmp_path / "train.csv").write_text(labelled + rows)
    rows = "".join(f'{n},"[""p{n}""]","[""a""]","[""b""]"\n' for n in (3, 4))
    (tmp_path / "test.csv").write_text("id,prompt,response_a,response_b\n" + rows)
    return [str(tmp_path / "train.csv"), str(tmp_path / "test.csv")]


def _teach(files: list[str], tmp_path: Path, *rows: str) -> int:
    paths = []
    for number, text in enumerate(rows):
        paths.append(str(tmp_path / f"teacher{number}.csv"))
        Path(paths[-1]).write_text(HEADER + text)
    return main([*files, "--teacher", *paths, "--output", str(tmp_path / "out.jsonl")])


def test_verdicts_stay_and_pseudo_labels_come(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _teach(files, tmp_path, "2,0.25,0.5,0.25\n", "3,0.125,0.125,0.75\n") == 0
    battles = load_battles(str(tmp_path / "out.jsonl"), labels="required")
    assert battles["id"][:] == ["1", "2", "3"]
    assert battles["verdict"][:] == [[1, 0, 0], [1, 0, 0], [0.125, 0.125, 0.75]]
    assert battles["teacher"][:] == [None, [0.25, 0.5, 0.25], [0.125, 0.125, 0.75]]
    assert "3 battles, 1 of them without a teacher; 1 left out" in capsys.readouterr().err


def test_a_new_teacher_takes_the_place_of_pseudo_labels(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _teach(files, tmp_path, "2,0.25,0.5,0.25\n3,0.125,0.125,0.75\n4,0.2,0.3,0.5\n") == 0
    once = tmp_path / "once.jsonl"
    (tmp_path / "out.jsonl").rename(once)
    capsys.readouterr()
    assert _teach([str(once)], tmp_path, "2,0.5,0.25,0.25\n3,0.5,0.375,0.125\n") == 0
    battles = load_battles(str(tmp_path / "out.jsonl"), labels="required")
    # The fourth had nothing but the old teacher's word, which must not be left behind as if people had voted so.
    assert battles["id"][:] == ["1", "2", "3"]
    assert battles["verdict"][:] == [[1, 0, 0], [1, 0, 0], [0.5, 0.375, 0.125]]
    assert battles["teacher"][:] == [None, [0.5, 0.25, 0.25], [0.5, 0.375, 0.125]]
    assert "3 battles, 1 of them without a teacher; 1 left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["1,0.5,0.25,0.25\n1,0.5,0.25,0.25\n"], "id is there already"),
        (["1,0.5,0.25,0.25\n", "1,0.5,0.25,0.25\n"], "1 ids are in an earlier"),
        (["1,0.5,0.25,0.25\n9,0.5,0.25,0.25\n"], "1 of the teacher's 2 ids match no battle"),
        (["1,0.5,0.5,0.5\n"], "do not sum to 1"),
        ([""], "judges no battle"),
    ],
)
def test_a_bad_teacher_is_refused_in_one_line(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[str], said: str
) -> None:
    assert _teach(files, tmp_path, *rows) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_the_battles_themselves_are_not_overwritten(files: list[str], tmp_path: Path) -> None:
    assert _teach(files, tmp_path, "2,0.25,0.5,0.25\n") == 0
    before = (tmp_path / "out.jsonl").read_bytes()
    assert _teach([str(tmp_path / "out.jsonl")], tmp_path, "2,0.5,0.25,0.25\n") == 2
    assert (tmp_path / "out.jsonl").read_bytes() == before

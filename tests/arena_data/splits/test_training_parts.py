"""Which battles are trained on, and which a model is judged and calibrated on."""

import json
from pathlib import Path

import pytest

from arena_data.reading.verdicts import voted
from arena_data.splits.training_parts import read_training_battles, read_training_split, split_by_judge

VOTES = ("model_a", "model_b", "tie")
YES = {"response_a": ["yes"], "response_b": ["no"]}


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Sixty battles with votes, and thirty that a teacher alone judged, whose prompts are among those of the others."""
    rows = [{"id": str(row), "prompt": [f"question {row}"], "winner": VOTES[row % 3], **YES} for row in range(60)]
    for row in range(30):
        one = {"id": f"t{row}", "prompt": [f"question {row}"], "response_a": ["perhaps"], "response_b": ["no"]}
        rows.append(one | {"teacher": [0.5, 0.2, 0.3]})
    path = tmp_path / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("split", [{"num_folds": 3, "fold": 1}, {"validation_share": 0.3}])
def test_what_a_teacher_alone_judged_is_for_training(file: str, split: dict[str, float]) -> None:
    parts = read_training_split([file], calibration_share=0.2, **split)
    people = {
        name: sum(voted(row["verdict"], row["teacher"]) is not None for row in part) for name, part in parts.items()
    }
    assert people["validation"] == len(parts["validation"]) and people["calibration"] == len(parts["calibration"])
    assert sum(people.values()) == 60
    assert 0 < len(parts["train"]) - people["train"] < 30
    prompts = {name: set(part["group"]) for name, part in parts.items()}
    assert not prompts["train"] & (prompts["validation"] | prompts["calibration"])


def test_where_nobody_voted_the_teacher_judges(file: str) -> None:
    _, taught = split_by_judge(read_training_battles([file]))
    assert len(taught) == 30
    assert [len(part) for part in split_by_judge(taught)] == [30, 0]


def test_of_a_file_to_be_judged_by_only_what_people_voted_on_counts(file: str, tmp_path: Path) -> None:
    training = tmp_path / "training.jsonl"
    rows = [{"id": str(row), "prompt": [f"other {row}"], "winner": VOTES[row % 3], **YES} for row in range(30)]
    training.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    held_out = read_training_split([str(training)], [file])["validation"]
    assert len(held_out) == 60
    assert all(voted(row["verdict"], row["teacher"]) is not None for row in held_out)

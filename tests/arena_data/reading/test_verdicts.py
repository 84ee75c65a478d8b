"""That both responses are bad is kept beside the verdict, and so are the names of sessions and voters."""

import json
from pathlib import Path
from typing import Any

import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.splits.folds import drop_duplicates

TEXTS = {"prompt": "p", "response_a": "a", "response_b": "b"}
CHOSEN = {"prompt": "p", "chosen": "a", "rejected": "b"}


def load(folder: Path, *rows: dict[str, Any]) -> Any:
    path = folder / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_battles(str(path))


@pytest.mark.parametrize(
    ("cells", "verdict", "share"),
    [
        (TEXTS | {"winner": "tie (bothbad)"}, [0, 0, 1], 1),
        (TEXTS | {"winner": "Both_Bad "}, [0, 0, 1], 1),
        (TEXTS | {"winner": "tie (both bad)"}, [0, 0, 1], 1),
        (TEXTS | {"verdict": "bothbad"}, [0, 0, 1], 1),
        (TEXTS | {"winner": "tie"}, [0, 0, 1], 0),
        (TEXTS | {"winner": "model_a"}, [1, 0, 0], 0),
        (TEXTS | {"votes": [1, 0, 3], "both_bad": 0.5}, [0.25, 0, 0.75], 0.5),
        (TEXTS | {"winner": "tie", "both_bad": True}, [0, 0, 1], 1),
        (TEXTS | {"winner": "tie", "both_bad": "false"}, [0, 0, 1], 0),
        (TEXTS | {"both_bad": None}, None, None),
        (CHOSEN | {"winner": "tie (bothbad)"}, [0, 0, 1], 1),
        (TEXTS | {"teacher": [0.25, 0.25, 0.5]}, [0.25, 0.25, 0.5], 0),
    ],
)
def test_the_share_of_both_bad_is_part_of_the_tie(
    tmp_path: Path, cells: dict[str, Any], verdict: list[float] | None, share: float | None
) -> None:
    [row] = load(tmp_path, cells)
    assert (row["verdict"], row["both_bad"]) == (verdict, share)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"winner": "model_a", "both_bad": True}, "more than the verdict's ties"),
        ({"votes": [1, 0, 1], "both_bad": 0.75}, "at most the share of ties, 0.5"),
        ({"winner": "tie", "both_bad": "perhaps"}, "a number from 0 to 1"),
        ({"winner": "tie", "both_bad": 2}, "a number from 0 to 1"),
    ],
)
def test_a_share_that_cannot_be_is_refused_in_one_line(tmp_path: Path, cells: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        load(tmp_path, TEXTS | cells)
    assert "row 1, column 'both_bad'" in str(raised.value) and "\n" not in str(raised.value)


def test_duplicates_have_the_mean_share(tmp_path: Path) -> None:
    other = TEXTS | {"response_a": "b", "response_b": "a"}
    rows = [TEXTS | {"id": "1", "winner": "both_bad"}, other | {"id": "2", "winner": "tie"}]
    rows += [other | {"id": "3", "winner": "model_a"}, TEXTS | {"id": "4", "winner": "both_bad"}]
    battles, left_out = drop_duplicates(load(tmp_path, *rows))
    assert left_out == 3 and battles[0]["both_bad"] == 0.5
    assert battles[0]["verdict"] == [0, 0.25, 0.75]


@pytest.mark.parametrize(
    ("cells", "session", "voter"),
    [
        ({"evaluation_session_id": "e", "judge_hash": "h"}, "e", "h"),
        ({"conversation_id": 7, "judge": " arena_user_1 "}, "7", "arena_user_1"),
        ({"session_id": "", "conversation_id": "c", "annotator": None, "worker_id": 3}, "c", "3"),
        ({"judge": ["gpt-4", "pair"]}, None, None),
        ({}, None, None),
    ],
)
def test_sessions_and_voters_are_read_by_the_releases_names(
    tmp_path: Path, cells: dict[str, Any], session: str | None, voter: str | None
) -> None:
    [row] = load(tmp_path, TEXTS | {"winner": "tie"} | cells)
    assert (row["session"], row["voter"]) == (session, voter)

"""One file of battles as two that nothing links: `train.jsonl` to learn from, `test.jsonl` to be judged on.

JSON Lines in the project's own columns, which `arena_data.loading.load_battles` reads back to the same battles.
"""

from typing import Any

import datasets
import orjson

from arena_data.file_io import check_folder, write_bytes_atomically
from arena_data.reading.verdicts import voted
from arena_data.splits.folds import grouped_split
from arena_data.splits.linking import Links, link_battles

PARTS = ("train", "test")
COLUMNS = ("id", "prompt", "response_a", "response_b", "model_a", "model_b", "language", "source")
# Written where a battle has them.
LINK_COLUMNS = ("session", "voter")


def write_split(
    battles: datasets.Dataset, folder: str, test_share: float, seed: int = 0
) -> tuple[dict[str, int], Links]:
    """Writes both files into a folder, making it where needed; returns the battles by part, and what links them.

    Args:
        battles: as `load_battles` gives them; verdicts and a teacher's probabilities go along where there are any.
        test_share: of the battles, above 0 and below 1; linked battles are kept together and verdicts in proportion.

    Raises: ValueError for a share out of range; InputError where a file cannot be written.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share}; expected a number above 0 and below 1")
    [linked], links = link_battles(battles)
    parts = grouped_split(linked, dict(zip(PARTS, (1 - test_share, test_share), strict=True)), seed)
    target = check_folder(folder)
    for name, part in parts.items():
        write_bytes_atomically(target / f"{name}.jsonl", b"".join(battle_line(row) for row in part))
    return {name: len(part) for name, part in parts.items()}, links


def battle_line(battle: dict[str, Any]) -> bytes:
    """One battle as a line of JSON, people's verdict as `votes` and its teacher where it has them."""
    row = {name: battle[name] for name in COLUMNS}
    shares: dict[str, Any] = {"votes": voted(battle["verdict"], battle["teacher"]), "teacher": battle["teacher"]}
    # A margin may be 0 beside a win; a strength of 0 would be a tie.
    shares["margin"] = battle["strength"]
    row |= {name: value for name, value in shares.items() if value is not None}
    row |= {name: battle[name] for name in LINK_COLUMNS if battle[name] is not None}
    if battle["both_bad"]:
        row["both_bad"] = battle["both_bad"]
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)

"""A judge's verdicts in letters, as a CSV file: `id,verdict`, and what it said of the other order.

    id,verdict,verdict_swapped        one row a battle, the second column with A and B exchanged in what was shown
    id,order,verdict                  or a row an order: AB as in the file of battles, BA exchanged

A verdict is A, B, tie or C (a tie), model_a, model_b, or one of Arena-Hard's labels: A>>B, A>B, A=B, B>A, B>>A, alone or as
the last [[...]] of a text. How much better is passed over. A verdict of one order becomes a share of 1; those of two orders
are averaged, so that a judge that changes its mind has half for each. Shares of 0 and 1 are no probabilities: fit them with
`arena-reward calibrate --predictions` or weigh them in a blend before they are judged by log loss.

Source: https://github.com/lmarena/arena-hard-auto for the labels, `utils/judges.py` of JudgeBench for the two orders.
"""

import csv
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

from arena_data.errors import InputError
from reward_model.evaluation.probabilities import FloatArray

_A, _B, _TIE = 0, 1, 2
_LETTERS = {
    **dict.fromkeys(("a", "a>b", "a>>b", "model_a", "b<a", "b<<a"), _A),
    **dict.fromkeys(("b", "b>a", "b>>a", "model_b", "a<b", "a<<b"), _B),
    **dict.fromkeys(("c", "tie", "a=b", "b=a", "tie (bothbad)", "both_bad"), _TIE),
}
_ORDERS = {"ab": False, "a,b": False, "original": False, "ba": True, "b,a": True, "swapped": True}
_BRACKETS = re.compile(r"\[\[([^\[\]]{1,20})\]\]")
_EXPECTED = "A, B, tie, C, A>B, A>>B, A=B, B>A or B>>A, also in [[ ]]"


def is_verdict_file(path: str | os.PathLike[str]) -> bool:
    """Whether a CSV file's header has `id` and `verdict`, and not the columns of probabilities."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
            header = set(next(csv.reader(stream), []))
    except (OSError, csv.Error):
        return False
    return {"id", "verdict"} <= header and "winner_model_a" not in header


def parse_verdict(text: str | None) -> int:
    """0 for A, 1 for B, 2 for a tie. Raises: ValueError for another text."""
    plain = (text or "").strip()
    if marked := _BRACKETS.findall(plain):
        plain = marked[-1]
    verdict = _LETTERS.get(re.sub(r"\s+", "", plain.lower()) if plain.lower() not in _LETTERS else plain.lower())
    if verdict is None:
        raise ValueError(f"expected {_EXPECTED}")
    return verdict


def read_verdicts(path: str | os.PathLike[str]) -> tuple[list[str], FloatArray]:
    """Ids in the order of the file and shares float64 [n, 3], averaged over the orders that there are.

    Raises: InputError for a verdict that cannot be read, an empty id, or an order that is there twice.
    """
    said: dict[str, dict[bool, int]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            for row, cells in enumerate(csv.DictReader(stream), start=1):
                for swapped, verdict in _of_row(path, row, cells):
                    orders = said.setdefault(cells["id"], {})
                    if swapped in orders:
                        raise InputError(
                            "a verdict of this order is there already",
                            file=path,
                            row=row,
                            column="id",
                            found=cells["id"],
                            expected="one row an id, or a column order with AB and BA",
                        )
                    orders[swapped] = verdict
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})", file=path) from error
    shares = np.zeros((len(said), 3))
    for place, orders in enumerate(said.values()):
        for verdict in orders.values():
            shares[place, verdict] += 1 / len(orders)
    return list(said), shares


def _of_row(path: object, row: int, cells: Mapping[str, str | None]) -> Sequence[tuple[bool, int]]:
    """(whether A and B were exchanged, the verdict as if they had not been) for each verdict of the row."""
    if not cells.get("id"):
        raise InputError("id is empty", file=path, row=row, column="id", expected="an id of its own")
    first = False
    if "order" in cells:
        order = (cells["order"] or "").strip().lower()
        if order not in _ORDERS:
            raise InputError("not an order", file=path, row=row, column="order", found=order, expected="AB or BA")
        first = _ORDERS[order]
    made = []
    for column, swapped in (("verdict", first), ("verdict_swapped", True)):
        if column not in cells or (column == "verdict_swapped" and not (cells[column] or "").strip()):
            continue
        try:
            verdict = parse_verdict(cells[column])
        except ValueError as error:
            raise InputError(
                "not a verdict", file=path, row=row, column=column, found=cells[column], expected=_EXPECTED
            ) from error
        made.append((swapped, {_A: _B, _B: _A}.get(verdict, verdict) if swapped else verdict))
    return made

"""Items to margins: every pair that a rule compares becomes a battle, and a judge says how much better A is.

A reward model reads each response once, however many pairs it is in. A judge that may favour a side is asked about both
orders, and the rule says what becomes of the two answers.
"""

from collections.abc import Sequence

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.reading.in_memory import make_battles
from reward_model.bench.items import Item
from reward_model.predict.member import Job, Member
from reward_model.predict.stock_member import StockMember

FloatArray = npt.NDArray[np.float64]


def item_margins(member: Member, items: Sequence[Item], *, progress: bool = False) -> list[FloatArray]:
    """Margins float64 [pairs, orders] of each item: above 0 where the pair's first response is the better one.

    Args:
        member: a judge.
        items: of a benchmark.
        progress: whether to show bars.

    Returns: one order for a judge that cannot favour a side, both for another; NaN for a pair that could not be scored.
    """
    both = not getattr(member, "swap_exact", False)
    orders = [_margins(member, pair_battles(items), progress)]
    if both:
        orders.append(-_margins(member, pair_battles(items, swapped=True), progress))
    ends = np.cumsum([len(item.pairs) for item in items])[:-1]
    return np.split(np.stack(orders, axis=1), ends)


def pair_battles(items: Sequence[Item], *, swapped: bool = False) -> datasets.Dataset:
    """A battle for each pair of each item. Its id is the item's, with the pair's places where there are several."""
    prompts, first, second, names = [], [], [], []
    for item in items:
        for one, other in item.pairs:
            prompts.append(item.prompt)
            first.append(item.responses[other if swapped else one])
            second.append(item.responses[one if swapped else other])
            name = item.id if len(item.pairs) == 1 else f"{item.id} {one}-{other}"
            names.append(f"{name} swapped" if swapped else name)
    return make_battles(prompts, first, second).remove_columns("id").add_column("id", names)


def _margins(member: Member, battles: datasets.Dataset, progress: bool) -> FloatArray:
    """float64 [n]: the difference of the rewards, or for a judge without rewards of the two log-probabilities."""
    job = Job(battles, progress=progress)
    if isinstance(member, StockMember):  # which has rewards before it has probabilities
        return member.scores(job)[0].margin
    prediction = member.predict(job)
    log_probs = prediction.log_probs
    margin = prediction.scores.margin if prediction.scores is not None else log_probs[:, 0] - log_probs[:, 1]
    return np.where(prediction.failed, np.nan, margin)

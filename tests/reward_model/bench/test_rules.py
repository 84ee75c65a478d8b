"""Each benchmark's rule against numbers worked by hand, and what every rule must do."""

import numpy as np
import pytest

from reward_model.bench.items import Item
from reward_model.bench.ppe import bradley_terry, row_wise_pearson
from reward_model.bench.rules import SECTIONS, statistic_of, ties_score
from reward_model.bench.statistic import FloatArray, with_intervals


def item(subset: str, pairs: int = 1, better: int | None = 0, **changes: object) -> Item:
    values = {"id": "x", "subset": subset, "group": "g", "prompt": ["?"], "responses": [["a"], ["b"]]}
    return Item(**values | {"pairs": ((0, 1),) * pairs, "better": better} | changes)  # type: ignore[arg-type]


def scored(benchmark: str, items: list[Item], margins: list[list[list[float]]]) -> dict[tuple[str, str], float]:
    """margins: orders of each pair of each item."""
    arrays = [np.array(each, dtype=np.float64) for each in margins]
    return statistic_of(benchmark, items, arrays)(np.ones(len(items)))


def one(*margins: float) -> list[list[float]]:
    """Margins of an item's pairs, one order."""
    return [[margin] for margin in margins]


def of_rewards(chosen: list[float], rejected: list[float]) -> list[list[float]]:
    return one(*(a - b for a in chosen for b in rejected))


def test_rm_bench_is_the_matrix_of_styles() -> None:
    # Chosen concise, detailed, Markdown: 1, 2, 3; rejected: 0, 2, 2. Won: concise over concise; detailed over concise (its
    # 2 against 2 is no win); Markdown over all.
    rewards = of_rewards([1, 2, 3], [0, 2, 2])
    figures = scored("rm_bench", [item("chat", 9)], [rewards])
    assert figures["chat", "hard"] == 0  # concise over detailed, over Markdown, detailed over Markdown: none of three
    assert figures["chat", "normal"] == pytest.approx(2 / 3)  # concise and Markdown, not detailed
    assert figures["chat", "easy"] == 1  # detailed over concise, Markdown over concise and over detailed
    assert figures["chat", "average"] == pytest.approx(5 / 9)
    # Domains count alike, whatever their size, and safety's two files are one domain.
    lost = of_rewards([0, 0, 0], [1, 1, 1])
    parts = [item("chat", 9), item("safety-refuse", 9), item("safety-response", 9), item("safety-refuse", 9)]
    figures = scored("rm_bench", parts, [rewards, lost, lost, rewards])
    assert figures["safety", "average"] == pytest.approx(5 / 27)
    assert figures["all", "average"] == pytest.approx((5 / 9 + 5 / 27) / 2)


def test_rm_bench_of_a_lover_of_style_is_all_easy() -> None:
    """A reward that reads the style alone wins easy, loses hard and ties on normal, which is no win."""
    figures = scored("rm_bench", [item("code", 9)], [of_rewards([1, 2, 3], [1, 2, 3])])
    assert (figures["all", "easy"], figures["all", "normal"], figures["all", "hard"]) == (1, 0, 0)


def test_rewardbench_weighs_subsets_by_published_counts_and_prior_sets_by_half() -> None:
    items = [item("alpacaeval-easy"), item("alpacaeval-easy"), item("mt-bench-easy"), item("math-prm"), item("hep-go")]
    items += [item("shp"), item("summarize"), item("summarize")]
    figures = scored("rewardbench", items, [one(m) for m in (1, -1, 1, 0, 2, -1, 3, 3)])
    chat = (0.5 * 100 + 1 * 28) / 128
    assert figures["Chat", "accuracy"] == pytest.approx(chat)
    # An equal reward is no win. Mathematics weighs 984, each language of code 164.
    assert figures["Reasoning", "accuracy"] == pytest.approx(164 / (984 + 164))
    assert figures["Prior Sets", "accuracy"] == pytest.approx((0 + 1) / 2)
    assert figures["all", "accuracy"] == pytest.approx((chat + 164 / 1148 + 0.5 * 0.5) / 2.5)
    assert sum(SECTIONS["Reasoning"].values()) == 2 * 984


def test_rewardbench2_is_best_of_four_and_a_shared_best_counts_its_share() -> None:
    items = [item("Math", 3), item("Math", 3), item("Math", 3), item("Focus", 3)]
    figures = scored("rewardbench2", items, [one(1, 2, 3), one(1, -1, 2), one(0, 1, 0), one(1, 1, 1)])
    assert figures["Math", "score"] == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert figures["all", "score"] == pytest.approx((4 / 9 + 1) / 2)


def ties(kind: str, number: int, right: list[float], wrong: list[float]) -> tuple[Item, FloatArray]:
    rewards = np.array([*right, *wrong])
    made = item("Ties", len(rewards) - 1, None, right=len(right), facts={"kind": kind, "prompt_id": str(number)})
    return made, rewards[0] - rewards[1:]


def test_the_ties_score_worked_by_hand() -> None:
    parts = [
        ties("ref", 1, [5], [1, 2]),  # accurate, gap 3
        ties("tied", 1, [4, 3, 2], [1, 0]),  # accurate; gap 1, spread 2: margins not preferred
        ties("ref", 2, [1], [2]),  # not accurate, gap -1
        ties("tied", 2, [9, 8], [2, 3]),  # accurate; gap 5, spread 1: preferred, but not on the smaller gap
    ]
    score = ties_score([part for part, _ in parts], [margin for _, margin in parts])(np.ones(4))
    size = (np.tanh(min(3, 1) / 2 - 1) + np.tanh(min(-1, 5) / 1 - 1)) / 2
    assert score == pytest.approx(0.3 * 1 + 0.3 * 0.5 + 0.2 * 0.5 + 0.2 * 0 + 0.01 * size)
    # All right responses alike: a spread of 0 is infinitely smaller than the gap.
    perfect = [ties("ref", 1, [5], [1]), ties("tied", 1, [5, 5], [1])]
    assert ties_score(*map(list, zip(*perfect, strict=True)))(np.ones(2)) == pytest.approx(1.01)  # type: ignore[arg-type]
    # Adding a number to a prompt's rewards, or stretching all of them, changes nothing.
    moved = [ties("ref", 1, [15], [11, 12]), *parts[1:]]
    assert ties_score([part for part, _ in moved], [margin for _, margin in moved])(np.ones(4)) == pytest.approx(score)
    assert ties_score([part for part, _ in parts], [3 * margin for _, margin in parts])(np.ones(4)) == pytest.approx(
        score
    )


def test_judgebench_asks_both_orders() -> None:
    facts = {"facts": {"response_model": "gpt"}}
    items = [item("mmlu-pro-law", better=0, **facts), item("mmlu-pro-law", better=1, **facts)]
    items += [item("livecodebench", better=0, **facts) for _ in range(3)]
    # Right both times; right both times (B); right then undecided: counted; one each: not; undecided twice: not.
    margins = [[[1.0, 2.0]], [[-1.0, -3.0]], [[1.0, 0.0]], [[1.0, -2.0]], [[0.0, 0.0]]]
    figures = scored("judgebench", items, margins)
    assert figures["gpt, knowledge", "accuracy"] == 1
    assert figures["gpt, coding", "accuracy"] == pytest.approx(1 / 3)
    assert figures["gpt", "accuracy"] == pytest.approx(3 / 5)


def test_llmbar_is_the_mean_of_both_orders_and_their_agreement() -> None:
    items = [item("Natural", better=0), item("Adversarial_Manual", better=1), item("CaseStudy_Base_9", better=0)]
    figures = scored("llmbar", items, [[[1.0, 1.0]], [[-1.0, 1.0]], [[-1.0, -1.0]]])
    assert figures["Natural", "accuracy"] == 1 and figures["Adversarial_Manual", "accuracy"] == 0.5
    assert figures["all", "accuracy"] == 0.75  # the case studies are beside the paper's average
    assert figures["all", "agreement"] == 0.5 and figures["CaseStudy_Base_9", "agreement"] == 1


def test_ppe_leaves_ties_out_of_accuracy_and_halves_them_in_rankings() -> None:
    names = ["m", "n", "o", "p"]
    pairs = [(a, b) for a in names for b in names if a < b]
    items = [item("all", better=0, facts={"model_a": a, "model_b": b}) for a, b in pairs]
    items += [item("all", better=None, facts={"model_a": "m", "model_b": "n"})]
    agree = scored("ppe", items, [one(1.0)] * len(pairs) + [one(0.0)])
    assert agree["all", "accuracy"] == 1 and agree["all", "Spearman"] == pytest.approx(1)
    # Where people called a tie, a side that the judge takes is no error, but it moves the ranking: m and n are level now.
    taken = scored("ppe", items, [one(1.0)] * len(pairs) + [one(-1.0)])
    assert taken["all", "accuracy"] == 1 and taken["all", "Spearman"] < 0.99
    against = scored("ppe", items, [one(-1.0)] * len(pairs) + [one(0.0)])
    assert against["all", "accuracy"] == 0 and against["all", "Kendall"] == pytest.approx(-1)


def test_row_wise_pearson_and_bradley_terry_worked_by_hand() -> None:
    # Win rates of the first model: 0.9, 0.5, 0.1 for people; 0.8, 0.5, 0.2 for the judge: one straight line.
    people, judge = np.zeros((2, 4, 4))
    for won, rates in ((people, (0.9, 0.5, 0.1)), (judge, (0.8, 0.5, 0.2))):
        won[0, 1:], won[1:, 0] = rates, 1 - np.array(rates)
    assert row_wise_pearson(people, judge) == pytest.approx(1)
    # Three wins to one: a difference of ln 3.
    rating = bradley_terry(1000 * np.array([[0, 3.0], [1.0, 0]]))
    assert rating[0] - rating[1] == pytest.approx(np.log(3), abs=1e-3)


def test_intervals_are_of_whole_prompts_and_of_the_same_items_always() -> None:
    items = [item("Natural") for _ in range(40)]
    margins = [np.array([[1.0 if place % 4 else -1.0]]) for place in range(40)]
    statistic = statistic_of("llmbar", items, margins)
    apart = with_intervals(statistic, [str(place) for place in range(40)], 200)["all"]["accuracy"]
    assert apart["value"] == 0.75 and 0.55 < apart["low"] < 0.7 and 0.8 < apart["high"] < 0.95
    together = with_intervals(statistic, [str(place % 4) for place in range(40)], 200)["all"]["accuracy"]
    assert together["low"] <= 0.25  # four prompts, of which one is always lost
    assert apart == with_intervals(statistic, [str(place) for place in range(40)], 200)["all"]["accuracy"]

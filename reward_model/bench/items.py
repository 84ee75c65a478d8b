"""A prompt of a benchmark with its responses, and the pairs of them that its rule compares.

Every rule is reckoned from margins, how much better one response is than another, so that a judge of pairs can be measured
like a reward model. Of a reward model the margin is the difference of two rewards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# The benchmarks that can be read: name, and what it is.
BENCHMARKS: Mapping[str, str] = {
    "rm_bench": "RM-Bench: three styles of a right and a wrong response",
    "rewardbench": "RewardBench: chosen above rejected, by section",
    "rewardbench2": "RewardBench 2: best of four, and ties",
    "judgebench": "JudgeBench: pairs with an objective label, by source",
    "ppe": "PPE Human Preference: votes of the arena, models named",
    "llmbar": "LLMBar: which response follows the instruction",
}


@dataclass(frozen=True)
class Item:
    """One prompt.

    Args:
        id: of the item, as the file has it; a file of a judge's answers is matched by it.
        subset: the part of the benchmark it belongs to.
        group: equal for items that err together.
        prompt: user turns, oldest first.
        responses: turns of each response.
        pairs: places of two responses each, compared in this order: the first is shown as A.
        better: place of the response that ought to win; None where a rule needs none, or people called it a tie.
        right: how many responses are right; they come first.
        facts: what else the rule needs, such as the models' names.
    """

    id: str
    subset: str
    group: str
    prompt: list[str]
    responses: list[list[str]]
    pairs: tuple[tuple[int, int], ...]
    better: int | None = None
    right: int = 1
    facts: Mapping[str, str] = field(default_factory=dict)

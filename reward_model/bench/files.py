"""A benchmark's own files to items: JSON, JSON Lines, Parquet or CSV, told apart by their columns.

| benchmark | columns | source |
| --- | --- | --- |
| rm_bench | prompt, chosen and rejected as lists of three, domain | https://github.com/THU-KEG/RM-Bench |
| rewardbench | prompt, chosen, rejected, subset | https://huggingface.co/datasets/allenai/reward-bench |
| rewardbench2 | the same as lists, num_correct | https://huggingface.co/datasets/allenai/reward-bench-2 |
| judgebench | question, response_A, response_B, label | https://github.com/ScalerLab/JudgeBench |
| ppe | prompt, response_1, response_2, model_a, model_b, winner | `lmarena-ai/PPE-Human-Preference-V1` on the Hub |
| llmbar | input, output_1, output_2, label | https://github.com/princeton-nlp/LLMBar |

LLMBar is also read as battles whose source begins with `llmbar/`.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from arena_data.containers.block import Block
from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.loading import expand
from arena_data.reading.builder import group_of
from arena_data.reading.conversations import as_messages, turns
from arena_data.reading.files import read_blocks
from reward_model.bench.items import BENCHMARKS, Item

# Columns that tell a benchmark; `_recognised` looks at their values where two have the same.
_COLUMNS: dict[str, set[str]] = {
    "judgebench": {"pair_id", "question", "response_a", "response_b", "label"},
    "ppe": {"prompt", "response_1", "response_2", "model_a", "model_b", "winner"},
    "rewardbench2": {"prompt", "chosen", "rejected", "num_correct", "subset"},
    "rm_bench": {"prompt", "chosen", "rejected"},
    "rewardbench": {"prompt", "chosen", "rejected", "subset"},
    "llmbar": {"input", "output_1", "output_2", "label"},
}
_BATTLES = {"prompt", "response_a", "response_b", "winner", "source"}
_WANTED = {"id", "question_id", "domain", "response_model", *_BATTLES}.union(*_COLUMNS.values()) - {
    "pair_id",
    "question",
}
STYLES = 3  # of RM-Bench: concise, detailed, detailed in Markdown
_DOMAINS = {"alpacaeval": "chat", "bigcode": "code", "hep-": "code", "math": "math"}
_DOMAIN_NAMES = ("chat", "code", "math", "safety-refuse", "safety-response", "safety")
_SIDES = {"a>b": 0, "a>>b": 0, "model_a": 0, "a": 0, "1": 0, "b>a": 1, "b>>a": 1, "model_b": 1, "b": 1, "2": 1}


def read_items(sources: Sequence[str], benchmark: str | None = None, limits: Limits = LIMITS) -> tuple[str, list[Item]]:
    """The benchmark's name and its items, in the order of the files.

    Args:
        sources: files, globs or Hub ids.
        benchmark: one of `BENCHMARKS`; told by the columns if None.
        limits: sizes beyond which a file is refused.

    Raises: InputError for a file that is none of it, or files of several benchmarks.
    """
    items: list[Item] = []
    for file in (file for source in sources for file in expand(source)):
        for block in read_blocks(file, _WANTED, limits):
            if not len(block):
                continue
            named = _recognised(block)
            if named is None or (benchmark is not None and named != benchmark):
                raise InputError(
                    f"is no file of {benchmark or 'a benchmark that is known'}",
                    file=file,
                    found=named or list(block.names)[:12],
                    expected=f"columns of {benchmark or ', '.join(BENCHMARKS)}",
                )
            benchmark = named
            items += [_item(named, block, row, len(items) + row) for row in range(len(block))]
    if not items:
        raise InputError("has no items", file=", ".join(sources), expected="rows of a benchmark")
    assert benchmark is not None
    twice = {item.id for item in items}
    if len(twice) < len(items):
        # Ids of RM-Bench and RewardBench repeat from subset to subset.
        items = [_renamed(item, place) for place, item in enumerate(items)]
    return benchmark, items


def _renamed(item: Item, place: int) -> Item:
    return Item(**{**item.__dict__, "id": f"{item.subset} {item.id} {place}"})


def _recognised(block: Block) -> str | None:
    names = {re.sub(r"\W", "", name.strip().lower()) for name in block.names}
    for benchmark, needed in _COLUMNS.items():
        if not needed <= names:
            continue
        if benchmark == "rm_bench" and not all(
            isinstance(side[0], list) and len(side[0]) == STYLES and all(isinstance(text, str) for text in side[0])
            for side in (block.columns["chosen"], block.columns["rejected"])
        ):
            continue
        return benchmark
    if names >= _BATTLES and str(block.columns["source"][0]).startswith("llmbar/"):
        return "llmbar"
    return None


def _item(benchmark: str, block: Block, index: int, place: int) -> Item:
    row = {name: values[index] for name, values in block.columns.items()}
    number = block.row_number(index)
    try:
        return _READERS[benchmark](row, block.file, place)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read as {benchmark}: {error}", file=block.file, row=number) from error


def _rm_bench(row: dict[str, Any], file: str, place: int) -> Item:
    chosen, rejected = row["chosen"], row["rejected"]
    for side in (chosen, rejected):
        if not isinstance(side, list) or len(side) != STYLES:
            raise ValueError(f"a side has {len(side)} responses; expected {STYLES}: concise, detailed, Markdown")
    subset = row.get("domain") or _domain_of(file, str(row.get("subset") or ""))
    pairs = tuple((i, STYLES + j) for i in range(STYLES) for j in range(STYLES))
    return _made(row, place, subset, [row["prompt"]], [[text] for text in (*chosen, *rejected)], pairs, right=STYLES)


def _domain_of(file: str, subset: str) -> str:
    """The domain by the file's name, else by the subset's, as the files have no column for it."""
    name = PurePath(file).name.lower()
    for domain in _DOMAIN_NAMES:
        if re.search(rf"(?:^|[^a-z]){domain}(?:[^a-z]|$)", name):
            return domain
    for start, domain in _DOMAINS.items():
        if subset.startswith(start):
            return domain
    if subset.startswith(("refusals", "xstest", "donotanswer")):
        return "safety"
    raise ValueError(
        f"neither the file's name nor subset {subset!r} says the domain; expected {', '.join(_DOMAIN_NAMES)}"
    )


def _rewardbench(row: dict[str, Any], file: str, place: int) -> Item:
    (prompt, chosen), (_, rejected) = (_conversation(row["prompt"], row[side]) for side in ("chosen", "rejected"))
    return _made(row, place, row["subset"], prompt, [chosen, rejected], ((0, 1),), better=0)


def _rewardbench2(row: dict[str, Any], file: str, place: int) -> Item:
    chosen, rejected = list(row["chosen"]), list(row["rejected"])
    if len(chosen) != int(row["num_correct"]) or not rejected:
        raise ValueError(
            f"{len(chosen)} chosen, {len(rejected)} rejected responses; num_correct is {row['num_correct']}"
        )
    responses = [[text] for text in (*chosen, *rejected)]
    subset, number = str(row["subset"]), str(row["id"])
    ties = subset.lower() == "ties"
    first = 1 if ties else len(chosen)
    pairs = tuple((0, other) for other in range(first, len(responses)))
    if not ties:
        return _made(row, place, subset, [row["prompt"]], responses, pairs, better=0, right=len(chosen))
    kind, colon, prompt_id = number.partition(":")
    if kind not in ("ref", "tied") or not colon:
        raise ValueError(f"id of a Ties item is {number!r}; expected ref:N or tied:N")
    made = _made(row, place, subset, [row["prompt"]], responses, pairs, right=len(chosen))
    return Item(**{**made.__dict__, "group": f"ties {prompt_id}", "facts": {"kind": kind, "prompt_id": prompt_id}})


def _judgebench(row: dict[str, Any], file: str, place: int) -> Item:
    responses = [[row["response_a"]], [row["response_b"]]]
    better = _side(row["winner"])
    facts = {"response_model": str(row.get("response_model") or "")}
    return _made(row, place, str(row["source"]), [row["prompt"]], responses, ((0, 1),), better, facts=facts)


def _ppe(row: dict[str, Any], file: str, place: int) -> Item:
    prompt, first = _conversation(row["prompt"], row["response_1"])
    _, second = _conversation(row["prompt"], row["response_2"])
    winner = str(row["winner"]).strip().lower()
    better = None if winner.startswith(("tie", "both")) else _side(winner)
    facts = {"model_a": str(row["model_a"]), "model_b": str(row["model_b"])}
    return _made(row, place, "all", prompt, [first, second], ((0, 1),), better, facts=facts)


def _llmbar(row: dict[str, Any], file: str, place: int) -> Item:
    if "input" in row:
        # The repository keeps each set in a folder of its name: Dataset/LLMBar/Adversarial/Neighbor/dataset.json.
        subset = "_".join(PurePath(file).parts[-3:-1])
        responses, label, prompt = [row["output_1"], row["output_2"]], row["label"], row["input"]
    else:
        subset = str(row["source"]).partition("/")[2].removesuffix("_dataset").removeprefix("LLMBar_")
        responses, label, prompt = [row["response_a"], row["response_b"]], row["winner"], row["prompt"]
    texts = [text if isinstance(text, list) else [text] for text in (prompt, *responses)]
    return _made(row, place, subset, texts[0], texts[1:], ((0, 1),), _side(label))


_READERS = {
    "rm_bench": _rm_bench,
    "rewardbench": _rewardbench,
    "rewardbench2": _rewardbench2,
    "judgebench": _judgebench,
    "ppe": _ppe,
    "llmbar": _llmbar,
}


def _made(
    row: dict[str, Any],
    place: int,
    subset: str,
    prompt: list[str],
    responses: list[list[str]],
    pairs: tuple[tuple[int, int], ...],
    better: int | None = None,
    right: int = 1,
    facts: dict[str, str] | None = None,
) -> Item:
    for text in (*prompt, *(turn for turns_ in responses for turn in turns_)):
        if not isinstance(text, str):
            raise ValueError(f"a text is {text!r:.60}; expected a string")
    given = row.get("id") if row.get("id") is not None else row.get("question_id")
    name = str(given) if given is not None else str(place)
    return Item(name, str(subset), group_of(prompt), prompt, responses, pairs, better, right, facts or {})


def _side(label: Any) -> int:
    """0 where the first response is the better one, 1 where the second. Raises: ValueError for another label."""
    side = _SIDES.get(str(label).strip().lower())
    if side is None:
        raise ValueError(f"the label is {label!r}; expected one of A>B, B>A, model_a, model_b, 1, 2")
    return side


def _conversation(prompt: Any, response: Any) -> tuple[list[str], list[str]]:
    """User turns and answers, of texts or of messages. A response may hold the whole conversation."""
    if isinstance(prompt, str) and isinstance(response, str):
        return [prompt], [response]
    if isinstance(response, list):
        messages = response
    else:
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        messages = [*asked, {"role": "assistant", "content": response}]
    users, answers = turns(as_messages(messages))
    return [text or "" for text in users], [text or "" for text in answers]

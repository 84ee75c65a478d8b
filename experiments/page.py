"""Answers as sections of a page, each between marks of its own, so that a question asked again replaces its section only."""

import re
from pathlib import Path

from arena_data.file_io import write_atomically
from benchmarks.leaderboard.results import bounds, interval
from experiments.questions import Question
from experiments.running import Bench, losses_of

BETTER, WORSE, UNDECIDED = "better", "worse", "no difference shown"

HEAD = """# Experiments

Made by `python -m experiments`, which answers the questions of `experiments/questions.yaml` and writes each section
here. Battles are those of arena/train.csv and extra.jsonl, in five folds grouped by prompt. Each battle is predicted by a
system trained on the other folds and calibrated on a tenth of them, as on the leaderboard. Where folds are dealt with
several seeds, a battle's log loss is the mean over the seeds.

**The rule.** The verdict compares an arm with the baseline arm by their paired difference, with a 95 % interval bootstrapped
over prompts. The arm is better if the interval lies below 0, and worse if it lies above 0. Otherwise no difference is
shown. A difference may still exist: these battles can show differences of about 0.005. Of some forty comparisons one in
twenty would fall outside its interval by chance.

Seconds are of one fold, training and predicting, on a machine that also did other work. Vectors of frozen backbones are
read from their cache. docs/LOG.md says how long reading them took.
"""


def write_section(page: Path, name: str, text: str) -> None:
    """Replaces the section of that name, or adds it at the end. Raises: InputError where it cannot be written."""
    whole = page.read_text(encoding="utf-8") if page.exists() else HEAD
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{first}\n{text.rstrip()}\n{last}\n"
    pattern = re.compile(f"{re.escape(first)}.*?{re.escape(last)}\n", re.DOTALL)
    if not pattern.search(whole):
        whole = f"{whole.rstrip()}\n\n{section}"
    whole = pattern.sub(lambda _: section, whole, count=1)
    write_atomically(page, whole)


def section_of(question: Question, bench: Bench) -> str:
    """Markdown. Raises: ValueError where an arm has not been run."""
    found = {}
    for name, arm in question.arms.items():
        runs = bench.read(arm, question.seeds)
        if runs is None:
            raise ValueError(f"{arm.name} has not been run")
        found[name] = (*losses_of(runs), [part.train_seconds + part.predict_seconds for run in runs for part in run])
    base, first, _ = found[question.baseline]
    lines = [
        f"## {question.name}: {question.question}",
        "",
        f"Hypothesis: {question.hypothesis}",
        "",
        f"| arm | log loss | less that of {question.baseline} | verdict | a fold, s |",
        "| --- | --- | --- | --- | --- |",
    ]
    answers: dict[str, list[str]] = {BETTER: [], WORSE: [], UNDECIDED: []}
    for name, (losses, _, seconds) in found.items():
        against = verdict = ""
        if name != question.baseline:
            difference = losses - base
            against, verdict = interval(difference, first.groups), verdict_of(*bounds(difference, first.groups))
            answers[verdict].append(name)
        cost = sum(seconds) / len(seconds)
        cells = [name, interval(losses, first.groups), against, verdict, f"{cost:,.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    told = "; ".join(
        # The table names them; their list can be long.
        f"{verdict}: {', '.join(names) if verdict != UNDECIDED else len(names)}"
        for verdict, names in answers.items()
        if names
    )
    seeds = len(question.seeds)
    lines += [
        "",
        f"**Against {question.baseline}**: {told}. {len(base):,} battles, "
        f"{seeds} deal{'s' if seeds > 1 else ''} of the folds, "
        f"{sum(sum(seconds) for _, _, seconds in found.values()):,.0f} s in all.",
    ]
    return "\n".join(lines)


def verdict_of(low: float, high: float) -> str:
    """What the interval of a difference in log loss says."""
    return BETTER if high < 0 else WORSE if low > 0 else UNDECIDED

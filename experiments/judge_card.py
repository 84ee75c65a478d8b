"""The card of a judge that ships: README.md in its folder, from its `judge.json` and `metrics.json` alone."""

from collections.abc import Mapping
from typing import Any

from reward_model.pretrained.judge_file import JudgeFile
from reward_model.weights import WEIGHTS

MUST_NOT = """- Do not use it to say which response is right, safe or true. It does not know.
- Do not rank models of a benchmark with it, and do not report its verdicts as people's.
- Do not use it on people, or to decide anything about them.
- It learned from votes of 2020 to 2024, mostly in English. Elsewhere it is close to guessing; see below."""
STYLE_MUST_NOT = "- Do not train a policy on it. It would learn length and lists, and nothing else."
# Judges of before the rule was fitted by leaving one source out.
SET_RULE = """The rule was set on the arena's own battles, out of fold; the figures
above are with it."""
FITTED_RULE = """The share is the least that any source asks for,
each predicted by a fit that has not learned from it. The figures above are with the rule, those of the arena's own battles
with one that was fitted on the other folds. The judge cannot know of which year a battle is."""
VECTORS_MUST_NOT = "- Do not train a policy on it for long. A small frozen model is easily fooled."


def card(about: JudgeFile, figures: Mapping[str, Any]) -> str:
    """The page, in Markdown."""
    return f"""---
license: apache-2.0
tags: [reward-model, judge]
---

# {about.name}

A judge that ships with `arena-reward-model`. It gives P(A), P(B) and P(tie): how people would vote on two responses.
It reads {about.reads}.

```bash
arena-reward compare --model {about.name} --prompt "…" --a "…" --b "…"
python predict.py --model {about.name} --input battles.csv --output submission.csv
```

{weights_of(about)}This page and the files beside it are made by `python -m experiments.ship`.

## What it must not be used for

{MUST_NOT}
{VECTORS_MUST_NOT if about.weights else STYLE_MUST_NOT}

## What it learned from

| source | battles | licence |
| --- | --- | --- |
{lines(f"| {source.name} | {source.battles:,} | {source.licence} |" for source in about.trained_on)}

No battle is stored here: a judge is scales, weights and figures. Sources that state no licence, or forbid commercial
use, were left out.

## Figures

{figures["battles"]:,} arena battles in {figures["folds"]} folds, grouped by prompt. Each battle is predicted by a fit on the
other folds. Intervals are 95 %, from a bootstrap over prompts.

| | |
| --- | --- |
| log loss | {interval(figures["log_loss"])} |
| class prior's log loss | {figures["class_prior_log_loss"]:.4f} |
| accuracy | {interval(figures["accuracy"], 3)} |
| calibration error | {interval(figures["top_label_calibration_error"], 3)} |

{parts_of(figures)}
## What sways it

Each change was made to one response of up to as many battles as the table says, and nothing else. The figure is what the
change alone adds to that response's win share, P(wins) + ½ P(tie).

| change | battles | win share |
| --- | --- | --- |
{lines(f"| {one['label']} | {one['battles']:,} | {signed(one, 3)} |" for one in figures["bias"])}

Exchanging A and B exchanges P(A) and P(B) exactly.

## Away from home

{away(about, figures)}
"""


def weights_of(about: JudgeFile) -> str:
    if not about.weights:
        return ""
    weights = WEIGHTS[about.weights]
    return (
        f"Its backbone is `{about.weights}`, {weights.licence}. The weights come from the pip package "
        f"`{weights.packages[0]}`; the judge unpacks them once, and says so.\n\n"
    )


def parts_of(figures: Mapping[str, Any]) -> str:
    source = section("By source", "source", figures["by_source"])
    language = section("By language, as guessed from the text", "language", figures["by_language"])
    return f"{source}{language}{elsewhere(figures)}"


def section(title: str, column: str, rows: list[dict[str, Any]]) -> str:
    head = f"## {title}\n\n| {column} | battles | log loss | prior | less prior |\n| --- | --- | --- | --- | --- |\n"
    body = [
        f"| {row['name']} | {row['battles']:,} | {row['log_loss']:.4f} | {row['prior']:.4f} | {signed(row['less_prior'])} |"
        for row in rows
    ]
    return f"{head}{lines(body)}\n\n"


def elsewhere(figures: Mapping[str, Any]) -> str:
    if not figures["elsewhere"]:
        return ""
    body = [
        f"| {row['name']} | {row['year']} | {row['battles']:,} | {'yes' if row['ties'] else 'no'} | {row['log_loss']:.4f} | "
        f"{row['prior']:.4f} | {signed(row['less_prior'])} |"
        for row in figures["elsewhere"]
    ]
    return f"""## Other sources and years

Each is predicted by a fit that has not learned from it. Where a source records no ties, the figures are of who wins, given
that nobody ties; the prior then has 0.6931. Below 0 the judge is better than the prior.

| source | year | battles | ties | log loss | prior | less prior |
| --- | --- | --- | --- | --- | --- | --- |
{lines(body)}

"""


def away(about: JudgeFile, figures: Mapping[str, Any]) -> str:
    if not about.away.situations:
        return "No rule is stored: the judge is as sure of itself everywhere. Look at the other sources above first."
    rows = [f"| {one.about} | {one.keep:.2f} | {one.tie:+.2f} |" for one in about.away.situations]
    how = FITTED_RULE if figures.get("rule_fitted") else SET_RULE
    return f"""Where a battle is away from home, the judge keeps a share of its log-probabilities and takes the rest from the
prior; a tie's log-probability is moved too. {how}

| situation | share kept | tie |
| --- | --- | --- |
{lines(rows)}"""


def interval(figure: Mapping[str, Any], digits: int = 4) -> str:
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def signed(figure: Mapping[str, Any], digits: int = 4) -> str:
    if figure["value"] is None:
        return ""
    return f"{figure['value']:+.{digits}f} ({figure['low']:+.{digits}f} to {figure['high']:+.{digits}f})"


def lines(rows: Any) -> str:
    return "\n".join(rows)

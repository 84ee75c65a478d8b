"""The model card of a run, as the Hub reads it.

The card says what the model predicts, how well, how it is loaded and where not to trust it. Names come from whoever
trained, so they are escaped, and no path of the machine is shown. Calibration and bias are in
`reward_model.run_directory.card_sections`.

Source: the Hub's model cards, https://huggingface.co/docs/hub/model-cards; its model-index,
https://huggingface.co/docs/hub/model-cards#evaluation-results.
"""

import html
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from reward_model.calibration.calibration import Calibration
from reward_model.run_directory.card_sections import bias_section, calibration_section, figures_section
from reward_model.run_directory.curves import is_number
from reward_model.run_directory.settings import CURVES, RewardModelConfig


@dataclass(frozen=True)
class CardDetails:
    """What a card says that the run does not know.

    Args:
        repo: `user/name` on the Hub.
        datasets: Hub ids of the training data.
        license: as the Hub names it, such as `apache-2.0`.
        report: the figures that `predict.py --json` printed for labelled battles.
    """

    repo: str | None = None
    datasets: tuple[str, ...] = ()
    license: str | None = None
    report: Mapping[str, Any] | None = None

    def named(self, repo: str) -> "CardDetails":
        return replace(self, repo=repo)


_RESULTS = {
    "log_loss": ("log_loss", "log loss"),
    "accuracy": ("accuracy", "accuracy"),
    "brier_score": ("brier_score", "Brier score"),
}
_LOAD = {
    "adapter": """from peft import PeftModel

backbone = AutoModelForSequenceClassification.from_pretrained({base}, {revision}num_labels=1)
model = PeftModel.from_pretrained(backbone, run).eval()""",
    "full": "model = AutoModelForSequenceClassification.from_pretrained(run, num_labels=1).eval()",
}
_VALUE = {
    "separate": "The logit is the reward of one response. A text is a prompt with one response.",
    "joint": "The logit is the margin of A over B. A text holds a prompt and both responses. "
    "Average it over both orders, the second with its sign changed.",
}
_TRL = {
    "separate": """As a reward function of TRL's `GRPOTrainer` or `RLOOTrainer`:

```python
trainer = GRPOTrainer(model=policy, reward_funcs=model.trl_reward, train_dataset=prompts)
```

where `model` is the `RewardModel` above. `arena-reward export` makes a merged copy. TRL and other stock code load that
copy by its name.""",
    "joint": "The joint encoding gives no reward of one response, so it is no reward function for reinforcement learning. "
    "Train with the separate encoding for that.",
}
_ZERO = (
    " Both-bad is an outcome of its own. It counts as a tie among the three. A reward above 0 is that of a response that"
    " people prefer to none (`model.usable`)."
)
_NAMES = (
    " It reads the names of the two models, so it is a teacher: it predicts battles whose models are known, and teaches a"
    " student that reads no names."
)
_CARD = """---
{front_matter}
---

# Tie-aware reward model

The model predicts which of two chat responses people prefer, or that they vote for a tie: P(A), P(B), P(tie).
Backbone: {base_name}. Encoding: {encoding}, tie link: {tie_link}, at most {max_length} tokens a text, {style}.{zero}

## Intended use

The model gives probabilities for head-to-head battles between chat models, such as those of Chatbot Arena. With the
separate encoding it also gives a scalar reward for choosing or training responses. It does not judge truth or safety.
It does not measure the taste of one person.

{figures}
{curves}
## Training data

{data}

{calibration}
{bias}## Loading

This project's code gives all three probabilities and the reward:

    pip install arena-reward-model

```python
from reward_model import RewardModel

run = {run}
model = RewardModel.from_pretrained(run)
model.compare("What is 2 + 2?", "4.", "Five.")  # P(A), P(B), P(tie)
```

Stock libraries give the score alone, without ties, style head and calibration:

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

run = {run}
{load}
tokenizer = AutoTokenizer.from_pretrained(run)
text = "…"  # laid out as the training battles were, see below
score = model(**tokenizer(text, return_tensors="pt")).logits[0, 0]
```

{value}
{text}

{trl}

## Limits

- The model predicts votes. Length and formatting sway votes, and voters do not check facts.
- Trust its probabilities only on battles like those it was calibrated on. For other battles, calibrate again.
- Compare rewards only between responses to the same prompt.
- A text is cut to {max_length} tokens. The model does not read the rest.
"""


def model_card(
    config: RewardModelConfig,
    calibration: Calibration,
    metrics: Mapping[str, Any],
    pictures: Collection[str],
    details: CardDetails | None = None,
) -> str:
    """README.md with the front matter the Hub reads. Names are escaped, and a directory is shown by its last part.

    Args:
        metrics: figures of the validation battles.
        pictures: names of those that lie beside the card.
        details: what the run does not know.
    """
    details = details or CardDetails()
    base = shown_name(config.base_model)
    revision = f"revision={json.dumps(config.base_model_revision)}, " if config.base_model_revision else ""
    bias = bias_section(details.report, pictures)
    return _CARD.format(
        front_matter=_front_matter(config, metrics, details, base),
        base_name=_escaped(base),
        encoding=config.encoding,
        tie_link=config.tie_link,
        zero=(_ZERO if config.outcomes == "four" else "") + (_NAMES if config.show_models else ""),
        max_length=config.max_length,
        style="with a style head" if config.style else "no style head",
        figures=figures_section(metrics),
        curves=f"\n![Learning curves]({CURVES})\n" if CURVES in pictures else "",
        data=_training_data(metrics, details),
        calibration=calibration_section(calibration, details.report, pictures),
        bias=f"{bias}\n" if bias else "",
        run=json.dumps(details.repo) if details.repo else '"."  # this directory',
        load=_LOAD[config.model_type].format(base=json.dumps(base), revision=revision),
        value=_VALUE[config.encoding],
        text="`arena_data.transcripts.rendering` lays out a text. A chat template is used where there is one.",
        trl=_TRL[config.encoding],
    )


def _front_matter(config: RewardModelConfig, metrics: Mapping[str, Any], details: CardDetails, base: str) -> str:
    data: dict[str, Any] = {
        "base_model": base,
        "library_name": "peft" if config.model_type == "adapter" else "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["reward-model", "tie-aware"],
        "datasets": list(details.datasets) or None,
        "license": details.license,
    }
    name = details.datasets[0] if details.datasets else None
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="Human preference of A, B or tie",
            dataset_type=name or "battles",
            dataset_name=f"{name}, held out by prompt" if name else "battles held out by prompt",
            metric_type=kind,
            metric_name=shown,
            metric_value=round(float(metrics[key]), 6),
        )
        for key, (kind, shown) in _RESULTS.items()
        if is_number(metrics.get(key))
    ]
    if results:
        data |= {"model_name": details.repo or f"reward model on {base}", "eval_results": results}
    return ModelCardData(**data).to_yaml()


def _training_data(metrics: Mapping[str, Any], details: CardDetails) -> str:
    names = ", ".join(_escaped(name) for name in details.datasets)
    lines = [f"Battles with people's votes{f', from {names}' if names else ''}."]
    if is_number(count := metrics.get("train_battles")):
        lines.append(f"Trained on {count:,} battles. Duplicates were left out.")
        lines.append("No prompt is in two of the training, validation and calibration parts.")
    weights = metrics.get("source_weights")
    if isinstance(weights, dict) and (used := [_escaped(str(name)) for name, weight in weights.items() if weight]):
        lines.append(f"Battles of other sources were used for training alone: {', '.join(used)}.")
    prior = metrics.get("prior")
    if isinstance(prior, list) and len(prior) == 3 and all(map(is_number, prior)):
        a, b, tie = (f"{100 * share:.1f} %" for share in prior)
        lines.append(f"The votes were {a} for A, {b} for B and {tie} ties.")
    return " ".join(lines)


def shown_name(base_model: str) -> str:
    """A Hub id as it is; of a directory its folder's name, for the rest of the path is nobody's business."""
    if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", base_model) and not Path(base_model).exists():
        return base_model
    parts = [part for part in re.split(r"[/\\]", base_model) if part not in ("", ".", "..", "~")]
    # A line of its own could end the front matter.
    return " ".join(parts[-1].split()) if parts else "local"


def _escaped(text: str) -> str:
    """On one line, with nothing that Markdown or HTML would read."""
    one_line = html.escape(" ".join(text.split()))
    return re.sub(r"[|`*\[\]\\]", lambda match: f"&#{ord(match[0])};", one_line)

"""The model card of a run, as the Hub reads it, and the picture of its learning curves.

The card says what the model predicts, how well, how it is loaded and where not to trust it. Names come from whoever
trained, so they are escaped, and no path of the machine is shown.

Source: the Hub's model cards, https://huggingface.co/docs/hub/model-cards.
"""

import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from reward_model.calibration import Calibration
from reward_model.settings import CURVES, METRICS, RewardModelConfig


def curves_png(log_history: Sequence[Mapping[str, Any]], class_prior: float | None) -> bytes | None:
    """A PNG of training loss and held-out log loss against the step, the class prior as a line; None without losses."""
    from matplotlib.figure import Figure  # reading a run needs none of it

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    styles: dict[str, tuple[str, dict[str, Any]]] = {
        "loss": ("training loss", {"color": "#8b8f96", "linewidth": 1.2}),
        "eval_log_loss": ("held-out log loss", {"color": "#0072b2", "marker": "o", "markersize": 4}),
    }
    for key, (label, style) in styles.items():
        points = [(row["step"], row[key]) for row in log_history if is_number(row.get(key)) and "step" in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    if not axes.lines:
        return None
    if class_prior is not None:
        axes.axhline(class_prior, color="#d55e00", linestyle="--", label=f"class prior, {class_prior:.4f}")
    axes.set(xlabel="optimizer step", ylabel="log loss, nats per battle", title="Learning curves")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})  # the canvas is Agg's, whatever the backend
    return image.getvalue()


_LOAD = {
    "adapter": """from peft import PeftModel

backbone = AutoModelForSequenceClassification.from_pretrained({base}, {revision}num_labels=1)
model = PeftModel.from_pretrained(backbone, run).eval()""",
    "full": "model = AutoModelForSequenceClassification.from_pretrained(run, num_labels=1).eval()",
}
_VALUE = {
    "separate": "The logit is the reward of one response; a text is a prompt with one response.",
    "joint": "The logit is the margin of A over B; a text holds a prompt and both responses. "
    "Average it over both orders, the second with its sign turned.",
}
_CARD = """---
{front_matter}
---

# Reward model that knows ties

It predicts which of two chat responses people prefer, or that they call a tie: P(A), P(B), P(tie).
Backbone: {base_name}. Encoding: {encoding}, tie link: {tie_link}, at most {max_length} tokens a text, {style}.

## Held-out figures

{figures}
{calibration}
{curves}
## Loading

With this project's code, all three probabilities:
`python predict.py --model RUN --input battles.csv --output submission.csv`.
With stock libraries, the score alone, without ties, style head and calibration:

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer
{load}
tokenizer = AutoTokenizer.from_pretrained(run)
score = model(**tokenizer(text, return_tensors="pt")).logits[0, 0]
```

`run` is this repository or a copy of it. {value}
{text}

## Limits

- It predicts votes, which reward what people like at first sight: length and formatting sway them, facts go unchecked.
- Its probabilities can be trusted on battles like those it was calibrated on; elsewhere, calibrate again.
- What is beyond {max_length} tokens is cut and not read.
"""


def model_card(
    config: RewardModelConfig, calibration: Calibration, metrics: Mapping[str, Any], has_curves: bool
) -> str:
    """README.md with the front matter the Hub reads. Names are escaped, and a directory is shown by its last part."""
    is_adapter = config.model_type == "adapter"
    base = _shown_name(config.base_model)
    data = ModelCardData(
        base_model=base,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-classification",
        tags=["reward-model", "tie-aware"],
    )
    rows = [f"| {_escaped(name)} | {value:.6g} |" for name, value in metrics.items() if is_number(value)]
    figures = "\n".join(["| figure | value |", "| --- | --- |", *rows]) if rows else f"See {METRICS}."
    before, after = calibration.log_loss_before, calibration.log_loss_after
    fitted = f"Calibration: {calibration.method}"
    if before is not None and after is not None:
        fitted += f", log loss {before:.4f} before and {after:.4f} after, on {calibration.rows:,} battles"
    revision = f"revision={json.dumps(config.base_model_revision)}, " if config.base_model_revision else ""
    return _CARD.format(
        front_matter=data.to_yaml(),
        base_name=_escaped(base),
        encoding=config.encoding,
        tie_link=config.tie_link,
        max_length=config.max_length,
        style="with a style head" if config.style else "no style head",
        figures=figures,
        calibration=f"\n{fitted}.\n",
        curves=f"![Learning curves]({CURVES})\n" if has_curves else "",
        load=_LOAD[config.model_type].format(base=json.dumps(base), revision=revision),
        value=_VALUE[config.encoding],
        text="`arena_data.transcripts` says how a text is laid out; a chat template is used where there is one.",
    )


def _shown_name(base_model: str) -> str:
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


def is_number(value: Any) -> bool:
    """Whether a value can be shown as a figure: finite, and neither text nor a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

"""A page to try a model on: `arena-reward demo runs/minilm`, then open http://127.0.0.1:7860.

A comparison is there when the page opens; examples replace it by a click. A prompt and two responses in, three bars out; or
a file of labelled battles in, its report out. Nothing is asked of any other machine, so it works offline; it listens on
loopback unless `--host` says otherwise, as a Space does (0.0.0.0).

Source: https://www.gradio.app/docs/gradio/blocks.
"""

import contextlib
import html
import os
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from reward_model.api import RewardModel
from reward_model.predict.run_texts import RunTexts
from reward_model.publish.demo.comparison import compare
from reward_model.publish.demo.examples import EXAMPLES, Example
from reward_model.publish.demo.file_report import MOST_BATTLES, report_of_file
from reward_model.publish.demo.opening import member_of
from reward_model.publish.demo.shown import comparison_html
from reward_model.publish.demo.work import Check, while_waited_for

MOST_WAITING = 20
MOST_MEGABYTES = 100
KEPT_SECONDS = (600, 3600)  # how often files are looked at, and how old they become: uploads never used, and reports
TITLE = "Which response do people prefer?"
# On a telephone the result is above what was typed.
_SHOW_RESULT = "() => document.getElementById('result').scrollIntoView({block: 'start'})"


def make_page(model: RewardModel) -> Any:
    """The page, as gradio's Blocks. Raises: ScoringError where the model cannot score the first example."""
    # Read when gradio is imported.
    os.environ.update({"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"})
    import gradio as gr

    member, has_style = member_of(model), isinstance(model.scorer, RunTexts) and model.run.member.has_style

    def shown(prompt: str, a: str, b: str, style: bool) -> str:
        return comparison_html(compare(model, prompt, a, b, style=style), prompt, a, b)

    def battle(prompt: str, a: str, b: str, style: bool) -> str:
        with _said(gr):
            return shown(prompt, a, b, style)

    def swapped(prompt: str, a: str, b: str, style: bool) -> tuple[str, str, str]:
        return b, a, battle(prompt, b, a, style)

    def example(chosen: Example, style: bool) -> tuple[str, str, str, str]:
        return chosen.prompt, chosen.a, chosen.b, battle(chosen.prompt, chosen.a, chosen.b, style)

    def file(path: str | None) -> Iterator[Any]:
        def work(check: Check, folder: Path) -> str:
            with _said(gr, path):
                return report_of_file(member, path, check, folder)

        with contextlib.closing(while_waited_for(work, path)) as pages:
            for page in pages:
                yield (_framed(page), gr.File(str(page), visible=True), None) if page else [gr.skip()] * 3

    first = EXAMPLES[0]
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT_SECONDS) as blocks:
        gr.Markdown(f"# {TITLE}\nA reward model that knows ties, trained on people’s votes. Model: `{_code(model)}`.")
        with gr.Tab("Two responses"):
            gr.Markdown("Click an example, or write your own below.")
            with gr.Row(elem_id="examples"):
                buttons = [gr.Button(one.label, size="md") for one in EXAMPLES]
            result = gr.HTML(shown(first.prompt, first.a, first.b, has_style), elem_id="result", js_on_load=None)
            swap = gr.Button("Swap A and B", size="md", elem_id="swap")
            gr.Markdown("## Write your own")
            prompt = gr.Textbox(first.prompt, label="Prompt", lines=2, elem_id="prompt")
            with gr.Row(elem_id="responses"):
                a = gr.Textbox(first.a, label="Response A", lines=6, elem_id="response_a")
                b = gr.Textbox(first.b, label="Response B", lines=6, elem_id="response_b")
            style = gr.Checkbox(
                has_style,
                label="Style: people’s votes as they are, with what they give to length and format",
                visible=has_style,
                elem_id="style",
            )
            button = gr.Button("Compare", variant="primary", elem_id="compare")
            texts = [prompt, a, b]
            button.click(battle, [*texts, style], result, api_name="compare").success(None, js=_SHOW_RESULT)
            style.change(battle, [*texts, style], result, api_name="style")
            swap.click(swapped, [*texts, style], [a, b, result], api_name="swap")
            for number, (one, chosen) in enumerate(zip(buttons, EXAMPLES, strict=True)):
                one.click(partial(example, chosen), style, [*texts, result], api_name=f"example_{number}")
        with gr.Tab("A file of battles"):
            gr.Markdown(f"Labelled battles, CSV, Parquet or JSON Lines. The first {MOST_BATTLES:,} are read.")
            upload = gr.File(label="Battles", elem_id="battles")
            report = gr.Button("Report", variant="primary", elem_id="make_report")
            framed = gr.HTML(elem_id="report", js_on_load=None)
            saved = gr.File(label="The report", visible=False, elem_id="saved")
            report.click(file, upload, [framed, saved, upload], api_name="report")
    # Only a queued request is ended when its visitor leaves.
    blocks.queue(max_size=MOST_WAITING, api_open=False)
    return blocks


def look() -> dict[str, Any]:
    """How the page looks, as arguments of gradio's `launch`."""
    import gradio as gr

    # Fonts of the reader's own machine.
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="gray", font="sans-serif", font_mono="monospace")
    theme.set(button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700")
    sheet = files("reward_model.publish.demo").joinpath("page.css").read_text(encoding="utf-8")
    # In the head, because gradio 6.31 rewrites selectors of `css` at each comma, those within `:is()` too.
    return {"theme": theme, "head": f"<style>{sheet}</style>"}


def _code(model: RewardModel) -> str:
    """The model's name within backticks."""
    return model.scorer.name.replace("`", "'")


def _framed(page: Path) -> str:
    shown = html.escape(page.read_text(encoding="utf-8"))
    return f'<iframe sandbox title="The report" style="width:100%;height:80vh" srcdoc="{shown}"></iframe>'


@contextlib.contextmanager
def _said(gradio: Any, path: str | None = None) -> Iterator[None]:
    """Turns one-line errors into gradio's, with nothing in them that a browser would read as HTML, and no path of ours."""
    try:
        yield
    except (ValueError, OSError) as error:
        text = " ".join(str(error).split()).replace(path or "\0", Path(path or "").name)
        raise gradio.Error(html.escape(text), print_exception=False) from error

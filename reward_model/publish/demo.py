"""A page to try a model on: `arena-reward demo runs/minilm`, then open http://127.0.0.1:7860.

A prompt and two responses in, three bars out; or a file of labelled battles in, its report out. Nothing is asked of any
other machine, so it works offline; it listens on loopback unless `--host` says otherwise, as a Space does (0.0.0.0).

Source: https://www.gradio.app/docs/gradio/blocks.
"""

import contextlib
import html
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arena_data.errors import InputError
from arena_data.loading import load_battles
from reward_model.api import RewardModel
from reward_model.predict.member import Job
from reward_model.predict.predictor import Predictor
from reward_model.publish.demo_html import bars, compare, style_table, swap_line, usable_line
from reward_model.publish.demo_work import Check, while_waited_for
from reward_model.report.from_prediction import Reported, check_labels, labelled, report_data, simple_peers
from reward_model.report.page import render_report, report_json

PORT = 7860
MOST_WAITING = 20
MOST_BATTLES, AUDITED_BATTLES, MOST_MEGABYTES = 2000, 50, 100
KEPT_SECONDS = (600, 3600)  # how often files are looked at, and how old they become: uploads never used, and reports
EXAMPLE = (
    "Why is the sky blue?",
    "Air scatters short wavelengths of sunlight more than long ones, so blue light reaches us from everywhere.",
    "Great question! Here is why:\n\n- **Light** has colours\n- **Air** scatters them\n- **Blue** is scattered most",
)


def make_page(model: RewardModel) -> Any:
    """The page, as gradio's Blocks."""
    # Read when gradio is imported.
    os.environ.update({"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"})
    import gradio as gr

    def battle(prompt: str, a: str, b: str, style: bool) -> tuple[str, str, str]:
        with _said(gr):
            comparison = compare(model, prompt, a, b, style=style)
        return bars(comparison.probabilities) + usable_line(comparison), swap_line(comparison), style_table(comparison)

    def file(path: str | None) -> Iterator[Any]:
        def work(check: Check, folder: Path) -> str:
            with _said(gr, path):
                return report_page(model, path, check, folder)

        with contextlib.closing(while_waited_for(work, path)) as pages:
            for page in pages:
                yield (_framed(page), str(page), None) if page else [gr.skip()] * 3

    with gr.Blocks(
        title="Which response do people prefer?", analytics_enabled=False, delete_cache=KEPT_SECONDS
    ) as blocks:
        gr.Markdown("# Which response do people prefer?\nA reward model that knows ties, trained on people’s votes.")
        with gr.Tab("Two responses"):
            prompt = gr.Textbox(EXAMPLE[0], label="Prompt", lines=2, elem_id="prompt")
            with gr.Row():
                a = gr.Textbox(EXAMPLE[1], label="Response A", lines=8, elem_id="response_a")
                b = gr.Textbox(EXAMPLE[2], label="Response B", lines=8, elem_id="response_b")
            style = gr.Checkbox(
                model.run.member.run.style is not None,
                label="Style: people’s votes as they are, with what they give to length and format",
                interactive=model.run.member.run.style is not None,
                elem_id="style",
            )
            button = gr.Button("Compare", variant="primary", elem_id="compare")
            outputs = [gr.HTML(elem_id="bars"), gr.HTML(elem_id="swap"), gr.HTML(elem_id="contributions")]
            gr.on([button.click, style.change], battle, [prompt, a, b, style], outputs, api_name="compare")
        with gr.Tab("A file of battles"):
            gr.Markdown(f"Labelled battles, CSV, Parquet or JSON Lines, up to {MOST_BATTLES:,}.")
            upload = gr.File(label="Battles", elem_id="battles")
            report = gr.Button("Report", variant="primary", elem_id="make_report")
            shown, saved = gr.HTML(elem_id="report"), gr.File(label="The report", elem_id="saved")
            report.click(file, upload, [shown, saved, upload], api_name="report")
    # Only a queued request is ended when its visitor leaves.
    blocks.queue(max_size=MOST_WAITING, api_open=False)
    return blocks


def report_page(model: RewardModel, path: str | None, check: Check, folder: Path) -> str:
    """The report of a file of labelled battles as HTML.

    Args:
        check: called between batches; what it raises ends the work.
        folder: for what is read of the file, to be deleted with it.

    Raises: InputError, one line.
    """
    if not path:
        raise InputError("no file given", fix="choose a file of labelled battles first")
    battles = load_battles(path, cache_dir=str(folder / "cache"))
    check_labels(battles, Path(path).name)
    battles = battles.select(range(min(len(battles), MOST_BATTLES)))
    predictor, job = Predictor([model.run.member]), Job(battles, check=check)
    done = Reported(job, predictor, predictor.run(job))
    peers, left_out = simple_peers(battles.select(labelled(battles)), predictor.members, check=check)
    data = report_data(done, peers, AUDITED_BATTLES, left_out)
    check()
    return render_report(data, report_json(data))


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

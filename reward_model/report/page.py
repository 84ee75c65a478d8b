"""The report: one page by which a person judges whether a model can be trusted, and the same figures as JSON.

    data = ReportData(battles, log_probs, peers={"class prior": …}, audit=audit(battles, log_probs, predict))
    figures = report_json(data)
    write_report("report.html", data, figures)

Battles and predictions become figures (`reward_model.report.numbers`), figures become text (`report_sections`,
`audit_sections`) and pictures (`report_pictures`, `audit_pictures`), and these become the page of `arena_data.webpage.page`,
which asks for nothing, and shows what the data holds as text.
"""

import os
from typing import Any

from arena_data.file_io import write_atomically
from arena_data.webpage.page import Answer, render_page
from reward_model.evaluation.resampling import Resampling
from reward_model.report.audit_pictures import AUDIT_PICTURES
from reward_model.report.audit_sections import audit_sections
from reward_model.report.data import ReportData
from reward_model.report.numbers import (
    describe_calibration,
    describe_confusion,
    describe_quality,
    describe_ranking,
    describe_slices,
    describe_surprising,
)
from reward_model.report.quality_pictures import PICTURES
from reward_model.report.quality_sections import NOTE, head_tiles, report_sections, surprising_section
from reward_model.report.usable import describe_usable, usable_section
from reward_model.report.verdict import verdict

Figures = dict[str, Any]


def report_json(data: ReportData) -> Figures:
    """All figures of the page as strings, numbers, None, lists and dicts, none of them NaN."""
    resampling = Resampling(data.groups)
    figures = {
        "battles": len(data.battles),
        "prompts": len(set(data.groups)),
        "have_prior": data.have_prior,
        "facts": {name: str(value) for name, value in data.facts.items()},
        "quality": describe_quality(data, resampling),
        "calibration": describe_calibration(data, resampling),
        "confusion": describe_confusion(data),
        "slices": describe_slices(data, resampling),
        "usable": describe_usable(data.usable, data.battles, data.groups, resampling),
        "audit": data.audit,
        "audit_style_off": data.audit_style_off,
        "ranking": describe_ranking(data),
        "surprising": describe_surprising(data),
    }
    return {"verdict": verdict(figures), **figures}


def render_report(data: ReportData, figures: Figures) -> str:
    """The page as HTML. figures: as `report_json` gives them for the same data."""
    usable = [usable_section(figures["usable"])] if figures["usable"] is not None else []
    surprising = surprising_section(figures, data.battles)
    sections = [*report_sections(figures), *usable, *audit_sections(figures), surprising]
    pictures = {name: draw(figures) for name, draw in {**PICTURES, **AUDIT_PICTURES}.items()}
    return render_page(
        title="Can this model be trusted?",
        subtitle=" · ".join(f"{name}: {value}" for name, value in figures["facts"].items()),
        tiles=head_tiles(figures),
        note=NOTE,
        sections=sections,
        pictures=pictures,
        lead=figures["verdict"]["sentence"],
        answers=[Answer(**answer) for answer in figures["verdict"]["answers"]],
    )


def write_report(path: str | os.PathLike[str], data: ReportData, figures: Figures) -> None:
    """Writes the page whole or not at all. Raises: InputError where it cannot be written."""
    write_atomically(path, render_report(data, figures))

"""Studies beside the arena: what each is, of which year, and under which licence."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Study:
    """title and year for a reader; licence: of the judgements; folder: below the data directory; permissive: whether a judge
    that ships may learn from it; file: its name without .jsonl, if another than the study's; part: the rows of this source
    alone, if the file has several."""

    title: str
    year: str
    licence: str
    folder: str = "other"
    permissive: bool = True
    file: str = ""
    part: str = ""


SOURCES = {
    "tulu_human_eval": Study("Tulu human evaluation", "2023", "Apache-2.0"),
    "pandalm": Study("PandaLM test set", "2023", "Apache-2.0"),
    "llmbar": Study("LLMBar", "2023", "MIT"),
    "mtbench_webgpt": Study("MT-Bench and WebGPT comparisons (LLMEval2, FairEval)", "2021 to 2023", "MIT"),
    "tldr": Study("summaries of forum posts (LLMEval2)", "2020", "MIT"),
    "llmfao": Study("LLMFAO crowd votes", "2023", "CC BY 4.0"),
    "hh_helpful": Study("Anthropic HH, helpful, test sets", "2022", "MIT"),
    "autoj": Study("Auto-J pairwise test set", "2023", "none stated", permissive=False),
    "both_bad": Study(
        "Chatbot Arena, 33k release, with ties", "2023", "outputs CC BY-NC 4.0", "arena", permissive=False
    ),
    "arena_33k": Study(
        "Chatbot Arena, 33k release, no ties", "2023", "mixed", "arena", False, "no_ties", "chatbot_arena_33k"
    ),
    "vibecheck": Study("Chatbot Arena, VibeCheck, no ties", "2024", "mixed", "arena", False, "no_ties", "vibecheck"),
}


def file_of(name: str, data_dir: Path) -> Path:
    study = SOURCES[name]
    return data_dir / study.folder / f"{study.file or name}.jsonl"

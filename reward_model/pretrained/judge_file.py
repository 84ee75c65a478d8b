"""`judge.json`: what a judge that ships is, what it learned from under which licences, and where it is at home."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arena_data.file_io import read_json
from reward_model.pretrained.away import AwayRule
from reward_model.weights import WEIGHTS

JUDGE = "judge.json"
FORMAT = 1


@dataclass(frozen=True)
class Source:
    """Battles that a judge learned from. Raises: ValueError for a field of another type."""

    name: str
    battles: int
    licence: str

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) and text for text in (self.name, self.licence)):
            raise ValueError("a source has no name or no licence")
        if type(self.battles) is not int or self.battles < 1:
            raise ValueError(f"a source has {self.battles!r} battles; expected a whole number above 0")


@dataclass(frozen=True)
class JudgeFile:
    """The contents.

    Args:
        name: as `--model` takes it.
        reads: what of a battle it knows, in a few words.
        caution: one line that is printed beside its answers.
        trained_on: sources and their licences.
        away: what it does where it is not at home.
        weights: key of `reward_model.weights.WEIGHTS`, of the backbone that it reads with; empty for none.

    Raises: ValueError for anything else.
    """

    name: str
    reads: str
    caution: str
    trained_on: tuple[Source, ...]
    away: AwayRule
    weights: str = ""

    def __post_init__(self) -> None:
        for field in ("name", "reads", "caution"):
            text = getattr(self, field)
            if not isinstance(text, str) or not 0 < len(text) <= 500 or "\n" in text:
                raise ValueError(f"{field!r} is {text!r:.80}; expected a line of text")
        if self.weights != "" and self.weights not in WEIGHTS:
            raise ValueError(f"'weights' is {self.weights!r}; expected one of {', '.join(WEIGHTS)}, or nothing")

    def to_json(self) -> dict[str, Any]:
        """Of JSON's own types; `from_json` is the inverse."""
        sources = [asdict(source) for source in self.trained_on]
        return {"format": FORMAT, **asdict(self), "trained_on": sources, "away": self.away.to_json()}

    @classmethod
    def from_json(cls, stored: Any) -> "JudgeFile":
        """Raises: ValueError, in one line, for anything but what `to_json` makes."""
        if not isinstance(stored, dict):
            raise ValueError(f"expected an object, found {type(stored).__name__}")
        if stored.get("format") != FORMAT:
            raise ValueError(f"its format is {stored.get('format')!r}; this version reads {FORMAT}")
        expected = {"format", *cls.__dataclass_fields__}
        if wrong := sorted(expected ^ set(stored)):
            raise ValueError(f"{', '.join(wrong)} is missing or unknown")
        sources = stored["trained_on"]
        if not isinstance(sources, list) or not all(
            isinstance(source, dict) and set(source) == set(Source.__dataclass_fields__) for source in sources
        ):
            raise ValueError("'trained_on' is no list of objects of 'name', 'battles' and 'licence'")
        others = {name: stored[name] for name in ("name", "reads", "caution", "weights")}
        trained_on = tuple(Source(**source) for source in sources)
        return cls(**others, trained_on=trained_on, away=AwayRule.from_json(stored["away"]))


def read_judge(folder: Path) -> JudgeFile | None:
    """The judge's file; None where the folder has none. Raises: InputError, one line, for a file that is broken."""
    return read_json(folder / JUDGE, JudgeFile.from_json) if (folder / JUDGE).is_file() else None

"""What was measured: rows by section, as JSON after every section and as Markdown tables for docs/LOG.md."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass
class Results:
    """Rows by section.

    Args:
        output: the JSON file; nothing is written if None.

    Attributes:
        environment: the device and the versions.
        sections: rows of each section that has run.
        seconds: what each section took.
        skipped, errors: why, by section.
    """

    output: Path | None = None
    environment: Row = field(default_factory=dict)
    sections: dict[str, list[Row]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, section: str, **row: Any) -> None:
        """Keeps a row and prints it. A row may say `ok`, whether what was measured is as it must be."""
        self.sections.setdefault(section, []).append(row)
        print(f"{section}: " + ", ".join(f"{name} {shown(value)}" for name, value in row.items()), flush=True)
        self.write()

    def failures(self) -> list[str]:
        """What went wrong, a line each."""
        bad = [
            f"{section}: {', '.join(f'{name} {shown(value)}' for name, value in row.items())}"
            for section, rows in self.sections.items()
            for row in rows
            if row.get("ok") is False
        ]
        return [f"{section}: {error}" for section, error in self.errors.items()] + bad

    def to_json(self) -> dict[str, Any]:
        names = ("environment", "sections", "seconds", "skipped", "errors")
        return {name: getattr(self, name) for name in names}

    def write(self) -> None:
        if self.output is not None:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            self.output.write_text(json.dumps(self.to_json(), indent=1, default=str) + "\n", "utf-8")

    def markdown(self) -> str:
        """A table a section, with the columns that its rows have; then what was skipped or failed."""
        parts = [", ".join(f"{name} {shown(value)}" for name, value in self.environment.items())]
        for section, rows in self.sections.items():
            columns = list(dict.fromkeys(name for row in rows for name in row))
            lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
            lines += [f"| {' | '.join(shown(row.get(name, '')) for name in columns)} |" for row in rows]
            parts.append(f"{section}, {self.seconds.get(section, 0):.0f} s\n\n" + "\n".join(lines))
        parts += [f"{section}: skipped, {reason}" for section, reason in self.skipped.items()]
        parts += [f"{section}: failed, {error}" for section, error in self.errors.items()]
        return "\n\n".join(parts)


def shown(value: Any) -> str:
    """A value as a table has it: four digits, words for truth values."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return "–" if value is None else str(value).replace("|", "/")

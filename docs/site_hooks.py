"""Build steps of the site: the README is its first page, and links to what the site does not hold become names."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

README = Path(__file__).parent.parent / "README.md"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)[^)]*\)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    text = README.read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    def name_or_link(link: re.Match[str]) -> str:
        text, target = link.groups()
        held = files.get_file_from_path(
            posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), target))
        )
        return link.group(0) if held else (text if "`" in text else f"`{text}`")

    return LINK.sub(name_or_link, markdown)

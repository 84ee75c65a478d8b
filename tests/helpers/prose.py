"""Reads Markdown pages as a person does: their sentences, and the files and modules of this project that they name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^ *```.*?^ *```[^\n]*$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ITEM = re.compile(r"^ *(?:[-*]|\d+\.) +")
_LABEL = re.compile(r"^ *- \*\*")  # "- **Command**: …": what stands before it has ended
_CODE = re.compile(r"`[^`]*`")
_CELL = re.compile(r"(?<!\\)\|")
_END = re.compile(r"(?<=[.?!])[)*\"]*\s+(?=[A-Z0-9`*(\"\[-])")
_FILE = re.compile(r"(?<![\w/.-])(?:reward_model|arena_data|benchmarks|experiments|tests)(?:/[\w.-]+)*/[\w-]+\.\w+")
_MODULE = re.compile(r"(?<![\w/.-])(?:reward_model|arena_data|benchmarks|experiments)(?:\.[A-Za-z_]\w*)+")


def sentences(markdown: str) -> list[str]:
    """Every sentence outside code blocks and headings: of paragraphs, lists, table cells and pictures' alternative texts.

    The words of inline code count, but a command with its flags is one word, and a link is its text. An item of a list that
    no full stop ends goes on in the next.
    """
    return [sentence for text in _texts(markdown) for sentence in _END.split(text) if words(sentence)]


def words(sentence: str) -> int:
    """Those with a letter or a digit."""
    return sum(any(character.isalnum() for character in word) for word in sentence.split())


def _texts(markdown: str) -> Iterator[str]:
    """Paragraphs, lists, table cells and alternative texts, each on one line."""
    plain = _COMMENT.sub("", _FENCED.sub("", markdown))
    yield from _IMAGE.findall(plain)
    plain = _CODE.sub(
        lambda code: "`command`" if " --" in code[0] else code[0], _LINK.sub(r"\1", _IMAGE.sub("", plain))
    )
    for block in re.split(r"\n\s*\n", plain):
        if block.lstrip("\n").startswith("    "):
            continue
        text: list[str] = []
        for line in block.splitlines():
            if line.lstrip().startswith("|"):
                yield from (cell.strip() for cell in _CELL.split(line))
                continue
            if line.startswith("#") or _LABEL.match(line):
                yield " ".join(text)
                text = []
            if not line.startswith("#"):
                text.append(_ITEM.sub("", line).strip())
        yield " ".join(text)


def files_named(markdown: str) -> set[str]:
    """Paths from the project's root, such as `reward_model/model/losses.py`."""
    return set(_FILE.findall(markdown))


def modules_named(markdown: str) -> set[str]:
    """Dotted names, such as `reward_model.model.losses` or `arena_data.loading.load_battles`."""
    return set(_MODULE.findall(markdown))


def exists(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or a name that a module defines at its top."""
    path = ROOT.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    module = module if module.is_file() else path.parent / "__init__.py"
    return module.is_file() and path.name in _names_of(module)


def _names_of(module: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names

"""Python's and numpy's way of writing lists, read without running anything: what `DataFrame.to_csv` makes of a list.

`['a', None]` is Python's, `['a' None]` with blanks between is numpy's; `array(['a'], dtype=object)` is numpy's in a list.
Python itself would join `'a' 'b'` to one text. So the grammar here is its own: strings, numbers, None, True, False, lists,
tuples, dicts and `array(…)`; a list has a comma between all of its values or between none. Python evaluates one string
at a time (`ast.literal_eval`).
"""

import ast
import re
from typing import Any

MAX_DEPTH = 20
TOKEN = re.compile(
    r"""\s*+(?:
    (?P<string>'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")
    |(?P<number>[-+]?+\d++(?:\.\d*+)?+(?:[eE][-+]?\d++)?+)
    |(?P<name>[A-Za-z_]\w*+)
    |(?P<mark>[][(){}:,=])
    |(?P<end>$))""",
    re.VERBOSE | re.DOTALL,
)
RAW_LINE_END = re.compile(r"(\\.)|\n|\r", re.DOTALL)
CONSTANTS = {"None": None, "True": True, "False": False, "nan": None, "null": None}
CLOSING = {"[": "]", "(": ")", "{": "}"}


def parse_literal(text: str) -> Any:
    """The value of a list, tuple, dict, string or number; a tuple and an array are a list.

    Raises: ValueError where it is anything else.
    """
    reader = _Reader(text)
    value = reader.value(0)
    if reader.kind != "end":
        raise ValueError("one Python literal")
    return value


class _Reader:
    """Reads a literal token by token; `kind` and `lexeme` are the next one."""

    def __init__(self, text: str):
        self.text, self.position = text, 0
        self.advance()

    def advance(self) -> None:
        match = TOKEN.match(self.text, self.position)
        if match is None:
            raise ValueError("a Python literal")
        self.kind, self.lexeme, self.position = match.lastgroup, match[match.lastgroup or 0], match.end()

    def expect(self, mark: str) -> None:
        if self.lexeme != mark or self.kind != "mark":
            raise ValueError(f"{mark!r} in a Python literal")
        self.advance()

    def value(self, depth: int) -> Any:
        kind, lexeme = self.kind, self.lexeme
        if depth > MAX_DEPTH or kind == "end":
            raise ValueError("a Python literal")
        self.advance()
        if kind == "string":
            return _string(lexeme)
        if kind == "number":
            return float(lexeme) if re.search("[.eE]", lexeme) else int(lexeme)
        if kind == "name":
            return self._array(depth) if lexeme == "array" else _constant(lexeme)
        if lexeme in ("[", "("):
            return self._items(CLOSING[lexeme], depth)
        if lexeme == "{":
            return self._pairs(depth)
        raise ValueError("a Python literal")

    def _items(self, closing: str, depth: int) -> list[Any]:
        items: list[Any] = []
        commas = 0
        while self.lexeme != closing or self.kind != "mark":
            items.append(self.value(depth + 1))
            if self.lexeme == "," and self.kind == "mark":
                commas += 1
                self.advance()
            # Without commas it is numpy's; with some it is neither.
            elif commas and (self.lexeme != closing or self.kind != "mark"):
                raise ValueError("a comma between all values of a list, or between none")
        if commas and commas < len(items) - 1:
            raise ValueError("a comma between all values of a list, or between none")
        self.advance()
        return items

    def _pairs(self, depth: int) -> dict[Any, Any]:
        pairs: dict[Any, Any] = {}
        while self.lexeme != "}" or self.kind != "mark":
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise ValueError("keys that are texts")
            self.expect(":")
            pairs[key] = self.value(depth + 1)
            if self.lexeme == "," and self.kind == "mark":
                self.advance()
            elif self.lexeme != "}":
                raise ValueError("a comma between the pairs of a dict")
        self.advance()
        return pairs

    def _array(self, depth: int) -> Any:
        self.expect("(")
        value = self.value(depth + 1)
        if self.lexeme == "," and self.kind == "mark":
            self.advance()
            if self.lexeme != "dtype":
                raise ValueError("a dtype in an array")
            self.advance()
            self.expect("=")
            self.advance()  # object, or a text such as '<U5'
        self.expect(")")
        if not isinstance(value, list):
            raise ValueError("a list in an array")
        return value


def _string(token: str) -> str:
    if "\n" in token or "\r" in token:  # Python allows none inside a string; they are what they are.
        token = RAW_LINE_END.sub(lambda part: part[1] or ("\\n" if part[0] == "\n" else "\\r"), token)
    try:
        text = ast.literal_eval(token)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("a Python string") from error
    assert isinstance(text, str)
    return text


def _constant(name: str) -> Any:
    if name not in CONSTANTS:
        raise ValueError(f"a Python literal, not {name!r}")
    return CONSTANTS[name]

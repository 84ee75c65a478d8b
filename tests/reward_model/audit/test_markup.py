"""Markup put on and taken off: the words stay, the code stays, and the style features see exactly the change."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_data.loading import load_battles
from arena_data.style.features import RESPONSE_FEATURES, response_features
from reward_model.audit.markup import (
    with_bold,
    with_headings,
    with_lists,
    without_bold,
    without_headings,
    without_lists,
)

DRESSED = """# Title
Text with **bold words** and a * b * c.

- one
* two
  1. nested **x**

```python
# a comment, no heading
- no item
**no bold**
```
10. ten
"""
PLAIN = "One thing is this. Another thing is that. A third thing follows.\n\nA second paragraph is here."


def without_markup(text: str) -> str:
    return without_bold(without_lists(without_headings(text)))


def counts(text: str) -> dict[str, float]:
    return dict(zip(RESPONSE_FEATURES, response_features(["?"], [text]).tolist(), strict=True))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_taking_off_leaves_words_and_code() -> None:
    assert without_lists(DRESSED) == DRESSED.replace("- one", "one").replace("* two", "two").replace(
        "1. nested", "nested"
    ).replace("10. ten", "ten")
    assert without_bold(DRESSED) == DRESSED.replace("**bold words**", "bold words").replace("**x**", "x")
    assert without_headings(DRESSED) == DRESSED.replace("# Title", "Title")
    assert "# a comment, no heading\n- no item\n**no bold**" in without_markup(DRESSED)


def test_putting_on_is_what_the_style_features_count() -> None:
    before = counts(PLAIN)
    assert before["log_bullets"] == before["log_bold"] == before["log_headings"] == 0
    assert with_lists(PLAIN).startswith("- One thing is this.\n- Another thing is that.\n- A third thing follows.\n\nA")
    assert counts(with_lists(PLAIN))["log_bullets"] == pytest.approx(counts("- a\n- b\n- c")["log_bullets"])
    assert with_bold(PLAIN).startswith("**One thing is** this.") and "**A second paragraph** is" in with_bold(PLAIN)
    assert counts(with_bold(PLAIN))["log_bold"] > 0
    assert with_headings(PLAIN).startswith("## Answer\n\nOne") and "## Details\n\nA second" in with_headings(PLAIN)
    assert words(with_lists(PLAIN)) == words(PLAIN) == words(with_bold(PLAIN))
    assert without_bold(with_bold(PLAIN)) == PLAIN


def test_what_has_markup_or_code_gets_no_more() -> None:
    listed, code = "Here:\n- a. Then b. And c.\n- d", "```\nOne is this. Two is that. Three is more.\n```"
    for put_on in (with_lists, with_bold):
        assert put_on(listed) == listed and put_on(code) == code and put_on("") == ""
    assert with_headings(DRESSED) == DRESSED and with_lists("Short. Text.") == "Short. Text."


def test_real_markup_is_gone_to_the_eye_of_the_style_features() -> None:
    battles = load_battles("arena_data/sample.csv")
    dressed = 0
    for response in battles["response_a"]:
        for turn in response:
            before, after = counts(turn), counts(without_markup(turn))
            dressed += max(before[name] for name in ("log_bullets", "log_numbered", "log_bold", "log_headings")) > 0
            assert after["log_headings"] == 0 and after["log_bold"] == 0
            assert after["log_code_lines"] == before["log_code_lines"]
    assert dressed > 30


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab .#*-1)`\n。", max_size=80))
def test_any_text_keeps_its_letters(text: str) -> None:
    for change in (without_lists, without_bold, without_headings, with_lists, with_bold, with_headings):
        changed = re.sub("## (Answer|Details)\n\n", "", change(text))
        assert re.sub("[^ab]", "", changed) == re.sub("[^ab]", "", text)


def test_time_is_linear() -> None:
    for text in ("- " * 200_000, "```\n" * 100_000, "**a" * 200_000, "a. " * 200_000, "\n \n" * 200_000):
        for change in (without_markup, with_lists, with_bold, with_headings):
            change(text)

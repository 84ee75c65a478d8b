"""The pages name only what exists, link only to what exists, and keep to short sentences."""

import re
from pathlib import Path

import pytest

from tests.helpers.prose import ROOT, exists, files_named, modules_named, sentences, words

# A log tells of modules as they were called on its day.
PAGES = sorted(
    {*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md"), ROOT / "arena_data" / "SAMPLE.md"}
    - {ROOT / "docs" / "LOG.md"}
)
# Pages that a command writes: their sentences are those of the code.
GENERATED = {"EXPERIMENTS.md", "LEADERBOARD.md", "reference.md"}
MOST_WORDS = 25


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_each_file_and_module_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [name for name in files_named(text) if not (ROOT / name).exists()]
    missing += [name for name in modules_named(text) if not exists(name)]
    assert not missing, f"{_name(page)} names what does not exist: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_each_link_to_a_page_of_the_project_leads_there(page: Path) -> None:
    broken = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert not broken, f"{_name(page)} links to what does not exist: {', '.join(broken)}"


def _anchors(page: Path) -> set[str]:
    """As the repository's host makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=_name)
def test_no_sentence_of_a_page_is_long(page: Path) -> None:
    long = [text for text in sentences(page.read_text(encoding="utf-8")) if words(text) > MOST_WORDS]
    assert not long, "\n".join(f"{words(text)} words: {text}" for text in long)


def test_sentences_are_counted_as_a_person_counts_them() -> None:
    page = """# A heading of any length is not a sentence

One two three. `some code --flag` is four [linked words](docs/x.md)
over two lines.

    code that is not a sentence

| a table | is not |
- An item.
- Another
  item of five words.

```python
nor is this
```
"""
    assert [words(text) for text in sentences(page)] == [3, 8, 2, 5]


def test_names_that_do_not_exist_are_told_from_those_that_do() -> None:
    assert exists("reward_model.model.losses")
    assert exists("arena_data.loading.load_battles")
    assert exists("reward_model.model")
    assert not exists("reward_model.links")
    assert not exists("arena_data.loading.load_nothing")
    assert files_named("see `reward_model/model/losses.py`, a/reward_model/x.py") == {"reward_model/model/losses.py"}

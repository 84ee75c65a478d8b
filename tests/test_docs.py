"""The pages name only what exists, link only to what exists, and keep to short sentences."""

import re
from pathlib import Path

import pytest

from reward_model.cli.console.reference import THEIRS
from reward_model.cli.console.stored_help import stored_commands
from tests.helpers.markdown_commands import steps
from tests.helpers.prose import ROOT, exists, files_named, modules_named, sentences, words

LOG = ROOT / "docs" / "LOG.md"
# A log tells of modules as they were called on its day.
PAGES = sorted(
    {*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md"), ROOT / "arena_data" / "SAMPLE.md"}
    - {LOG}
)
# Its flags are those of TRL and Transformers too, whose help they wrote.
OF_OTHERS = {"reference.md"}
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


@pytest.mark.parametrize("page", [*(page for page in PAGES if page.name not in OF_OTHERS), LOG], ids=_name)
def test_no_sentence_of_a_page_is_long(page: Path) -> None:
    long = [text for text in sentences(page.read_text(encoding="utf-8")) if words(text) > MOST_WORDS]
    assert not long, "\n".join(f"{words(text)} words: {text}" for text in long)


SCRIPTS = {"predict.py": "predict", "train_reward.py": "train"}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_each_command_of_a_page_has_the_flags_that_it_gives(page: Path) -> None:
    known = {
        name: {flag_name for group in command["groups"] for flag in group["flags"] for flag_name in flag["names"]}
        for name, command in stored_commands().items()
    }
    wrong = []
    for step in steps(page.read_text(encoding="utf-8")):
        tokens = step.text.partition(" #")[0].split()
        place = next((place for place, token in enumerate(tokens) if token in SCRIPTS or token == "arena-reward"), None)
        if step.language != "bash" or place is None or tokens[place + 1 :] in ([], ["--version"]):
            continue
        name = SCRIPTS.get(tokens[place]) or tokens[place + 1]
        own = tokens[place : tokens.index("--")] if "--" in tokens else tokens[place:]
        flags = {token.partition("=")[0] for token in own if token.startswith("--")}
        if name not in known or not flags <= known[name]:
            wrong.append(step.text)
    assert not wrong, wrong


def test_sentences_are_counted_as_a_person_counts_them() -> None:
    page = """# A heading of any length is not a sentence

One two three. `some code` is four [linked words](docs/x.md)
over two lines. `arena-reward x --flag 3` counts as one.

    code that is not a sentence

| a table | has cells. Each is read |
| --- | --- |
- An item.
- Another
- that goes on in the next.
- **Label**: two more

![What a picture shows](x.png)

```python
nor is this
```
"""
    counts = [words(text) for text in sentences(page)]
    assert counts == [4, 3, 9, 4, 2, 2, 3, 2, 7, 3]


def test_names_that_do_not_exist_are_told_from_those_that_do() -> None:
    assert exists("reward_model.model.losses")
    assert exists("arena_data.loading.load_battles")
    assert exists("reward_model.model")
    assert not exists("reward_model.links")
    assert not exists("arena_data.loading.load_nothing")
    assert files_named("see `reward_model/model/losses.py`, a/reward_model/x.py") == {"reward_model/model/losses.py"}


def test_no_sentence_of_a_flags_help_is_long() -> None:
    """Of this project's own flags: the others' help is their authors'."""
    groups = [group for command in stored_commands().values() for group in command["groups"]]
    own = [flag["help"] for group in groups if group["title"] != THEIRS for flag in group["flags"]]
    long = [text for help_text in own for text in sentences(help_text) if words(text) > MOST_WORDS]
    assert len(own) > 100 and not long, long

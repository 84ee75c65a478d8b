"""A tokenizer as training and prediction use it."""

from pathlib import Path
from typing import Any

import pytest

from arena_data.transcripts.rendering import render
from reward_model.errors import ModelError
from reward_model.tokens.tokenizer import load_tokenizer
from tests.helpers.tiny_models import byte_tokenizer


def saved(folder: Path, template: Any) -> str:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_date_is_that_of_training_on_every_day(tmp_path: Path) -> None:
    call = """{{ strftime_now( "%d %b %Y" ) }}|{{ strftime_now('%Y') | int + 1 }}"""
    tokenizer: Any = load_tokenizer(saved(tmp_path / "a", call + "{{ messages[0].content }}"))
    assert render(tokenizer, ["hi"], ["yes"]) == "26 Jul 2024|2025hi"
    # The run stores the date, so stock code reads it too.
    tokenizer.save_pretrained(tmp_path / "run")
    assert "26 Jul 2024" in (tmp_path / "run" / "chat_template.jinja").read_text("utf-8")
    several: Any = load_tokenizer(saved(tmp_path / "b", {"default": call, "tool_use": "x"}))
    assert render(several, ["hi"], ["yes"]) == "26 Jul 2024|2025"


def test_a_date_that_cannot_be_fixed_is_an_error(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", "{% set form = '%Y' %}{{ strftime_now(form) }}")
    with pytest.raises(ModelError, match="today's date in a way that cannot be fixed"):
        load_tokenizer(folder)

"""A chat template that would not end is stopped; every other writes what it wrote before."""

import time
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

from arena_data.transcripts.rendering import render
from reward_model.errors import ModelError
from reward_model.tokens import bounded_templates
from reward_model.tokens.bounded_templates import BoundedTemplate, TemplateLimitError
from reward_model.tokens.tokenizer import load_tokenizer
from tests.helpers.tiny_models import byte_tokenizer

ROUNDS = "{% for i in range(99999) %}{% for j in range(99999) %}"
ENDLESS = {
    "loops": ROUNDS + "{% endfor %}{% endfor %}",
    "loop over what a condition leaves out": "{% for i in range(99999) %}"
    "{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "loops for one text only": "{% if 'Open' in messages[0].content %}"
    + ROUNDS
    + "{% endfor %}{% endfor %}{% endif %}",
    "macro": "{% macro f(n) %}{% if n %}{% set x = f(n - 1) ~ f(n - 1) %}{% endif %}{% endmacro %}{{ f(60) }}",
    "macro without end": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "filters": "{% for i in range(99999) %}{{ (range(99999) | list | reverse | list | sort)[0] }}{% endfor %}",
    "output": ROUNDS + "x{% endfor %}{% endfor %}",
    "doubled": "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "added": "{% set n = namespace(x=['ab']) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "nested": "{% set n = namespace(x=['ab']) %}"
    "{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
    "slices": "{% set n = namespace(x=[], s='x' * 1000000) %}"
    "{% for i in range(99999) %}{% set n.x = n.x + [n.s[1:]] %}{% endfor %}",
    "times": "{{ 'x' * 10000000000 }}",
    "times a text of zeros": "{{ 10000000000 * [0] }}",
    "power": "{{ 10 ** 10000000000 }}",
    "squares": "{% set n = namespace(x=10) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "center": "{{ 'x' | center(10000000000) }}",
    "method": "{{ 'x'.ljust(10000000000) }}",
    "named": "{{ 'x' | indent(width=10000000000, first=true) }}",
    "replace": "{% set n = namespace(x='aaaa') %}{% for i in range(9) %}{% set n.x = n.x | replace('a', n.x) %}{% endfor %}",
    "join": "{% set n = namespace(x='aaaa') %}{% for i in range(9) %}{% set n.x = n.x.join(n.x | list) %}{% endfor %}",
    "mapped": "{{ range(99999) | map('string') | map('center', 99999) | join }}",
    "format": "{{ '%1000000000d' % 1 }}",
    "format of a width": "{{ '%*d' % (1000000000, 1) }}",
    "format method": "{{ '{:>1000000000}'.format(1) }}",
    "words": "{{ lipsum(99999, false, 99998, 99999) }}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    byte_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_a_template_without_end_is_stopped(template: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_templates, "SECONDS", 0.3)
    tokenizer: Any = load_tokenizer(str(folder))
    tokenizer.chat_template = template
    before = time.thread_time()
    with pytest.raises(TemplateLimitError, match=r"^the chat template .* for one conversation; correct chat_template"):
        render(tokenizer, ["Open sesame"], ["yes"])
    assert time.thread_time() - before < 4


@pytest.mark.parametrize(
    "template",
    [
        "{{ broken",
        "{% for x in %}",
        "{{ messages | nofilter }}",
        "{{ raise_exception('not like this') }}",
        "{{ messages[9].content }}",
        "{{ 1 / 0 }}",
        "{{ [] + 1 }}",
        "{{ ''.__class__.__mro__ }}",
    ],
)
def test_a_template_that_fails_is_one_line(template: str, folder: Path) -> None:
    tokenizer: Any = load_tokenizer(str(folder))
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=r"^the chat template fails \(.+\); correct chat_template.jinja$") as caught:
        render(tokenizer, ["Open sesame"], ["yes"])
    assert isinstance(caught.value, jinja2.TemplateError)  # as whoever calls Transformers expects


MESSAGES = [
    {"role": "user", "content": " What is {2} + 2? 100 % of 1000000000\n\n"},
    {
        "role": "assistant",
        "content": "<think>hm</think>4",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
    },
] * 3
PLAIN = """{%- macro shown(value, depth=0) -%}
  {%- if value is mapping and depth < 4 -%}{%- for key, inner in value | dictsort -%}{{ key ~ '=' }}
    {{ shown(inner, depth + 1) }}
  {%- endfor -%}{%- else -%}{{ value | string | indent(2) }}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last=-1, text='') -%}
{%- for message in messages if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endfor -%}
{%- for message in messages[::-1] -%}
  {%- if loop.first %}{{ bos_token | default('<s>') }}{% endif -%}
  {%- set content = message.content.split('</think>')[-1].lstrip('\\n') | trim -%}
  {%- set ns.text = ns.text + message['role'] + ': ' ~ content.replace('{', '[').replace('2', 'two') ~ '\\n' -%}
  {%- generation %}{{ loop.index % 2 }} {{ '%05d|%s' % (loop.index, 'a' * 3) }}
    {{ '{:>6}'.format(content[:3]) }}{% endgeneration %}
  {%- for call in message.tool_calls or [] %}{{ call | tojson(indent=2) }}{{ shown(call) }}{% else %}none{% endfor -%}
  {%- if loop.index > 4 %}{% break %}{% endif -%}
{%- endfor -%}
{{ ns.text }}{{ messages | map(attribute='role') | unique | join(', ') }}{{ [1, 2] + [3] }}{{ 2 ** 10 }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ 'ab'.join(['x', 'y']) }}{{ none }}
"""


def test_every_other_template_writes_what_it_wrote(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_tokenizer(str(folder))
    bounded = chat_template_utils._compile_jinja_template(PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr(chat_template_utils, "ImmutableSandboxedEnvironment", ImmutableSandboxedEnvironment)
        stock = chat_template_utils._cached_compile_jinja_template(PLAIN)
    given = {"messages": MESSAGES, "tools": None, "add_generation_prompt": False, "bos_token": "<s>"}
    text = stock.render(**given)
    assert type(stock) is jinja2.Template and type(bounded) is BoundedTemplate
    assert bounded.render(**given) == text and len(text) > 500


def test_a_long_conversation_is_within_the_budget(folder: Path) -> None:
    tokenizer: Any = load_tokenizer(str(folder))
    tokenizer.chat_template = (
        "{% set n = namespace(x='') %}{% for m in messages %}"
        "{% set n.x = n.x ~ m.role ~ (m.content | trim | replace('a', 'bc')) %}{% endfor %}{{ n.x }}"
    )
    long = ["ab " * 100_000] * 30
    assert len(render(tokenizer, long, long)) > 60 * 300_000

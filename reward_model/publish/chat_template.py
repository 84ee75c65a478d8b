"""The chat template of an export: any list of messages in, the text that training read out.

The template is Jinja, as stock code runs it, and repeats three functions of `arena_data` step by step:
`reading.conversations.turns` makes turns of messages, `reading.cleaning.clean` cleans them, and
`transcripts.rendering.plain_text` writes them where the tokenizer has no template of its own. Where it has one, that
template then sees the messages that training gave it: user, assistant, user, assistant, and neither tools nor the opening
of another answer. The tests compare both on arbitrary messages.

Source: https://huggingface.co/docs/transformers/chat_templating_writing.
"""

from arena_data.reading.conversations import ASSISTANT, SYSTEM, TOOL, USER

# The macros give text only: every block strips the white space of this page around itself.
_TURNS = """
{%- macro content_text(content) -%}
  {%- if content is string -%}{{ content }}
  {%- elif content -%}
    {%- set texts = namespace(all=[]) -%}
    {%- for part in ([content] if content is mapping else content) -%}
      {%- if part is string -%}{%- set texts.all = texts.all + [part] -%}
      {%- elif part['text'] is string -%}{%- set texts.all = texts.all + [part['text']] -%}
      {%- elif (part['type'] or 'text') != 'text' -%}{%- set texts.all = texts.all + ['[' ~ part['type'] ~ ']'] -%}
      {%- endif -%}
    {%- endfor -%}
    {{ texts.all | join('\\n') }}
  {%- endif -%}
{%- endmacro -%}
{%- macro call_text(call) -%}
  {%- set function = call['function'] or call -%}
  {%- set given = function['arguments'] or {} -%}
  [tool call] {{ function['name'] or '' }} {{ given if given is string else given | tojson }}
{%- endmacro -%}
{%- macro message_text(message) -%}
  {%- if message['role'] in TOOL_ROLES -%}{{ '[tool result] ' }}{%- endif -%}
  {%- set text = content_text(message['content']) -%}
  {{ text }}
  {%- for call in message['tool_calls'] or [] -%}
    {{ '\\n' if text or not loop.first else '' }}{{ call_text(call) }}
  {%- endfor -%}
{%- endmacro -%}
{%- macro joined(texts) -%}
  {{ texts[0] if texts | length == 1 else texts | select | join('\\n\\n') }}
{%- endmacro -%}
{%- macro clean(text) -%}
  {%- set text = text.replace('\\r\\n', '\\n').replace('\\r', '\\n').replace('\\x00', '') -%}
  {{ text.lstrip('\\ufeff') }}
{%- endmacro -%}
{%- set chat = namespace(system=[], asked=[], answered=[], turns=[]) -%}
{%- for message in messages -%}
  {%- set role = message['role'] -%}
  {%- set text = message_text(message) -%}
  {%- if role in SYSTEM_ROLES -%}
    {%- set chat.system = chat.system + [text] -%}
  {%- elif role in USER_ROLES -%}
    {%- if not chat.asked or chat.answered[-1] -%}
      {%- set chat.asked = chat.asked + [[]] -%}
      {%- set chat.answered = chat.answered + [[]] -%}
    {%- endif -%}
    {%- set chat.asked = chat.asked[:-1] + [chat.asked[-1] + [text]] -%}
  {%- elif role in ASSISTANT_ROLES or role in TOOL_ROLES -%}
    {%- if not chat.asked -%}
      {%- set chat.asked = [['']] -%}
      {%- set chat.answered = [[]] -%}
    {%- endif -%}
    {%- set chat.answered = chat.answered[:-1] + [chat.answered[-1] + [text]] -%}
  {%- else -%}
    {{ raise_exception('expected a role of user, assistant, system or tool, not ' ~ role) }}
  {%- endif -%}
{%- endfor -%}
{%- if not chat.asked -%}
  {%- set chat.asked = [['']] -%}
  {%- set chat.answered = [['']] -%}
{%- endif -%}
{%- for texts in chat.asked -%}
  {%- set user = joined(texts) -%}
  {%- if loop.first and chat.system | select | list -%}
    {%- set user = joined(chat.system + [user]) -%}
  {%- endif -%}
  {%- set assistant = joined(chat.answered[loop.index0]) -%}
  {%- set chat.turns = chat.turns + [
    {'role': 'user', 'content': clean(user)}, {'role': 'assistant', 'content': clean(assistant)}
  ] -%}
{%- endfor -%}
{%- set messages = chat.turns -%}
{%- set tools = none -%}
{%- set add_generation_prompt = false %}
"""
_PLAIN = """
{%- macro quoted(text) -%}
  {%- for line in text.split('\\n') -%}
    {{ '' if loop.first else '\\n' }}{{ '\\\\' if line.lstrip('\\\\') in ['User:', 'Assistant:'] else '' }}{{ line }}
  {%- endfor -%}
{%- endmacro -%}
{%- for message in messages -%}
  {{ FIRST if loop.first else '\\n\\n' }}
  {{- 'Assistant:' if message['role'] == 'assistant' else 'User:' }}{{ '\\n' }}{{ quoted(message['content']) }}
{%- endfor -%}
{{ LAST }}"""


def export_template(own: str) -> str:
    """A template that gives `own`, the tokenizer's, the messages that training gave it."""
    return _turns() + own


def plain_export_template(first: str, last: str) -> str:
    """A template for a tokenizer without one. first, last: the special tokens around a text."""
    return _turns() + _PLAIN.replace("FIRST", repr(first)).replace("LAST", repr(last)).lstrip("\n")


def _turns() -> str:
    text = _TURNS.lstrip("\n")
    for name, roles in {"USER": USER, "ASSISTANT": ASSISTANT, "SYSTEM": SYSTEM, "TOOL": TOOL}.items():
        text = text.replace(f"{name}_ROLES", repr(list(roles)))
    return text

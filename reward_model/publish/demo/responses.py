"""A response's Markdown as HTML that can do nothing: no raw HTML, no script, no picture, no link but to a web page or mail.

Raw HTML is shown as the text that it is. A picture is shown as its link, because fetching it would tell another server of
the visitor. Headings start below those of the page.

Source: https://markdown-it-py.readthedocs.io/en/latest/security.html.
"""

import html
from collections.abc import MutableMapping, Sequence
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

# A longer text is shown as it is: its look tells little, and a page of megabytes is slow to lay out.
MOST_CHARACTERS = 20_000
_LINKED = ("http://", "https://", "mailto:")
# The page's own headings above a response's.
_HEADINGS_ABOVE = 2


def response_html(text: str) -> str:
    """The text as HTML, safe to put into a page."""
    if len(text) > MOST_CHARACTERS:
        return f'<div class="as-typed">{html.escape(text)}</div>'
    rendered: str = _parser().render(text)
    return rendered


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True})
    parser.enable(["table", "strikethrough"]).disable("image")
    parser.validateLink = lambda url: url.strip().lower().startswith(_LINKED)  # type: ignore[method-assign]
    parser.core.ruler.push("lower_headings", _lower_headings)
    parser.add_render_rule("link_open", _link_open)
    return parser


def _lower_headings(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + _HEADINGS_ABOVE, 6)}"


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    tokens[place].attrSet("rel", "noopener noreferrer nofollow")
    tokens[place].attrSet("target", "_blank")
    return renderer.renderToken(tokens, place, options, env)

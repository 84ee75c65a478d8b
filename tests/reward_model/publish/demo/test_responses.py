"""Markdown of strangers becomes HTML that can do nothing, and keeps its look."""

import time
from html.parser import HTMLParser

import pytest

from reward_model.publish.demo.responses import MOST_CHARACTERS, response_html

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<b onclick=alert(1)>bold</b>",
    "<iframe src=https://evil.example></iframe>",
    "<svg/onload=alert(1)>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<!-- --><script>alert(1)</script>",
    "![picture](https://evil.example/pixel.png)",
    "![picture][ref]\n\n[ref]: https://evil.example/pixel.png",
    "[![picture](https://evil.example/pixel.png)](javascript:alert(1))",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](java\nscript:alert(1))",
    "[click](&#106;avascript:alert(1))",
    "[click](\x01javascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "[click](vbscript:x)",
    "[click](file:///etc/passwd)",
    "[click](/gradio_api/queue/join)",
    "[click](//evil.example)",
    "[click][ref]\n\n[ref]: javascript:alert(1)",
    "<javascript:alert(1)>",
    '[click](https://good.example "title\\" onmouseover=alert(1)")',
    '[click](https://good.example" onmouseover="alert(1))',
    '``` "><script>alert(1)</script>\ncode\n```',
    '```html" onload="alert(1)\n<script>alert(1)</script>\n```',
    "`<script>alert(1)</script>`",
    "| <script>alert(1)</script> | b |\n| --- | --- |\n| <img src=x> | d |",
    "# <img src=x onerror=alert(1)>",
    "${alert(1)} {{constructor.constructor('alert(1)')()}}",
    "\0<script>alert(1)</script>",
    "<script>" + "x" * MOST_CHARACTERS,
]
TAGS = {*"p br hr h3 h4 h5 h6 ul ol li strong em s code pre blockquote a table thead tbody tr th td div".split()}  # noqa: SIM905
ATTRIBUTES = {"href", "title", "rel", "target", "class", "start", "style"}


class Reader(HTMLParser):
    """Every tag with its attributes, and the text, as a browser has them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_hostile_becomes_text(text: str) -> None:
    page = Reader(response_html(text))
    for tag, attributes in page.tags:
        assert tag in TAGS and set(attributes) <= ATTRIBUTES, (tag, attributes)
        assert (attributes.get("href") or "https://").startswith(("https://", "http://", "mailto:"))
        assert (attributes.get("style") or "text-align:").startswith("text-align:")
    if "alert(1)" in text and "ref]:" not in text and "```" not in text and "title" not in text:
        assert "alert(1)" in page.text  # nothing is hidden from the reader


def test_markdown_keeps_its_look_below_the_headings_of_the_page() -> None:
    text = "# Head\n\n- **one**\n- `two`\n\n1. three\n\n| a | b |\n| - | - |\n| c | d |\n\nline\nnext <b>\n\n> said"
    page = Reader(response_html(f"{text}\n\n[there](https://good.example/?a=1&b=2) ![alt](https://good.example/x.png)"))
    names = [tag for tag, _ in page.tags]
    assert names[0] == "h3" and {"strong", "code", "ul", "ol", "table", "td", "br", "blockquote"} <= set(names)
    assert "img" not in names and "<b>" in page.text
    links = [attributes for tag, attributes in page.tags if tag == "a"]
    assert [link["href"] for link in links] == ["https://good.example/?a=1&b=2", "https://good.example/x.png"]
    assert all(link["rel"] == "noopener noreferrer nofollow" and link["target"] == "_blank" for link in links)


@pytest.mark.parametrize("text", ["[" * 20_000, "*a_ " * 5_000, "> " * 10_000, "`" * 20_000, "- " * 9_999])
def test_a_text_made_to_be_slow_is_not(text: str) -> None:
    started = time.process_time()
    response_html(text)
    assert time.process_time() - started < 5

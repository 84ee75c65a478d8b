"""What is shown of a comparison reads right in words, and holds nothing that a visitor typed as markup."""

import re

import pytest

from reward_model.api import Probabilities
from reward_model.publish.demo.comparison import Comparison
from reward_model.publish.demo.shown import answer, comparison_html, style_pull, toward

TEXTS = ("<script>p</script>", "<img src=x>", "# <b>b</b>")


def of(a: float, b: float, tie: float, **more: object) -> Comparison:
    return Comparison(Probabilities(a, b, tie), Probabilities(b, a, tie), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (of(0.6, 0.1, 0.3), "prefer A: 60\N{NO-BREAK SPACE}%"),
        (of(0.1, 0.6, 0.3), "prefer B: 60\N{NO-BREAK SPACE}%"),
        (of(0.2, 0.3, 0.5), "call it a tie: 50\N{NO-BREAK SPACE}%"),
    ],
)
def test_the_answer_is_the_likeliest_verdict(comparison: Comparison, words: str) -> None:
    assert words in answer(comparison)


def test_bars_stand_in_the_order_a_tie_b_and_say_their_numbers() -> None:
    shown = comparison_html(of(0.6, 0.1, 0.3), *TEXTS)
    assert re.findall(r'<li class="(\w+)">.*?width:([\d.]+)%.*?figure">([\d.]+ %)', shown) == [
        ("a", "60.00", "60.0 %"),
        ("tie", "30.00", "30.0 %"),
        ("b", "10.00", "10.0 %"),
    ]
    assert "the order changes nothing" in shown
    uneven = Comparison(Probabilities(0.6, 0.1, 0.3), Probabilities(0.2, 0.5, 0.3))
    assert "The order makes a difference of 10.00 points" in comparison_html(uneven, *TEXTS)


def test_nothing_typed_is_markup() -> None:
    shown = comparison_html(of(0.6, 0.1, 0.3, cautions=["<i>judge</i>"]), *TEXTS)
    assert not re.search(r"<(script|img|b|i)\b", shown)


def test_style_pulls_toward_a_or_b_in_words() -> None:
    pulled = style_pull(of(0.6, 0.1, 0.3, style=[("length", -0.4), ("bold", 0.1), ("emoji", 0.0)]))
    rows = re.findall(r'row">([^<]*)<.*?<span class="(\w)" style="width:([\d.]+)%.*?figure">([^<]*)<', pulled)
    assert rows == [
        ("length", "b", "50.0", "toward B 0.40"),
        ("bold", "a", "12.5", "toward A 0.10"),
        ("all style", "b", "37.5", "toward B 0.30"),
    ]
    assert toward(0.001) == "neither way"
    assert style_pull(of(0.6, 0.1, 0.3)) == ""

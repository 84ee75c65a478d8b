"""The page that a newcomer sees first: a finished comparison of the judge that ships, before any request to it."""

import pytest

from reward_model.api import RewardModel
from reward_model.publish.demo.examples import EXAMPLES
from reward_model.publish.demo.page import look, make_page
from reward_model.publish.demo.responses import response_html


def test_the_judge_that_ships_has_answered_when_the_page_opens() -> None:
    pytest.importorskip("gradio")
    components = make_page(RewardModel.from_pretrained("arena-style")).get_config_file()["components"]
    [result] = [part["props"] for part in components if part["props"].get("elem_id") == "result"]
    assert response_html(EXAMPLES[0].a) in result["value"] and "all style" in result["value"]
    assert "reads no word" in result["value"]
    [style] = [part["props"] for part in components if part["props"].get("elem_id") == "style"]
    assert style["visible"] is False  # a judge keeps its style
    labels = [part["props"]["value"] for part in components if part["type"] == "button"]
    assert [example.label for example in EXAMPLES] == labels[: len(EXAMPLES)] and len(EXAMPLES) == 6


def test_the_look_asks_for_nothing_of_the_network() -> None:
    pytest.importorskip("gradio")
    settings = look()
    assert "url(" not in settings["head"] and "@import" not in settings["head"]
    assert not settings["theme"]._stylesheets  # as fonts of another server would be

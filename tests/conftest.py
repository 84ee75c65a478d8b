"""Fixtures that tests of several folders share."""

import pytest

from tests.helpers.made_battles import Make, by_length, by_words


@pytest.fixture(scope="session")
def make() -> dict[str, Make]:
    """Ways of voting by name; `make["length"](count, seed)` gives labelled battles."""
    return {"length": by_length, "words": by_words}


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a tiny BERT lies whose words are those of the made-up battles."""
    from tests.helpers.tiny_models import save_tiny_bert  # seconds to import

    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz", type=int, default=0, help="how many examples `pytest -m fuzz` tries, of each kind")
    text = "the environment that the Kaggle notebook runs in: Python of one with the image's packages (docs/kaggle.md)"
    parser.addoption("--kaggle_python", metavar="P", help=text)

"""Names that Kaggle takes, and datasets that are not over its limit."""

from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.publish.kaggle_datasets import DatasetSizes, check_user, dataset_name


def test_files_go_where_there_is_room() -> None:
    sizes = DatasetSizes("name", 10)
    assert sizes.dataset_of_each([6, 6, 4, 3]) == ["name", "name-2", "name", "name-2"]
    assert sizes.dataset_of_each([10]) == ["name"]
    with pytest.raises(InputError, match="over the size limit"):
        sizes.dataset_of_each([3, 11])


def test_a_second_dataset_has_a_name_that_is_short_enough() -> None:
    assert DatasetSizes("n" * 46 + "-nnn", 10).dataset_of_each([6, 6]) == ["n" * 46, "n" * 46 + "-2"]


def test_a_model_without_a_name_for_its_dataset_gets_one() -> None:
    for folder, name in (("x", "arena-x"), ("Größe_9B", "gr-e-9b"), ("r" * 80, "r" * 43)):
        assert dataset_name(None, str(Path("runs") / folder)) == name
    for given in ("short", "n" * 51, "Upper-Case", "double--hyphen"):
        with pytest.raises(InputError, match="is no name for a Kaggle dataset"):
            dataset_name(given, "runs/x")


def test_a_user_is_called_as_users_can_be() -> None:
    check_user("Some-One")
    with pytest.raises(InputError, match="is no user name on Kaggle; found 'some one'"):
        check_user("some one")

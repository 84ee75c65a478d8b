"""The Kaggle datasets of a bundle: their names, and which file goes into which.

Source: https://github.com/Kaggle/kaggle-api/wiki/Dataset-Metadata.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arena_data.errors import InputError

USER = "INSERT_USERNAME_HERE"
DATASET_BYTES = 100 * 10**9  # Kaggle takes at most so much in a dataset
_LONGEST = 47  # 50, less the number of a second dataset


@dataclass(frozen=True)
class DatasetSizes:
    """Puts each file into the first dataset that has room.

    Args:
        slug: name of the datasets; the second is slug-2.
        limit: bytes of a dataset.
    """

    slug: str
    limit: int

    def dataset_of_each(self, sizes: Sequence[int]) -> list[str]:
        """Names of datasets, one a file. Raises: InputError for a file over the limit."""
        filled: list[int] = []
        names = []
        slug = self.slug[:_LONGEST].rstrip("-")
        for size in sizes:
            if size > self.limit:
                raise InputError("a file is over the size limit of a dataset", found=size, expected=str(self.limit))
            number = next((place for place, used in enumerate(filled) if used + size <= self.limit), len(filled))
            if number == len(filled):
                filled.append(0)
            filled[number] += size
            names.append(slug if number == 0 else f"{slug}-{number + 1}")
        return names


def dataset_name(given: str | None, model: str) -> str:
    """The given name, or the model's made to fit. Raises: InputError for a given name that Kaggle's API would refuse."""
    if given is not None:
        if not (6 <= len(given) <= 50 and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given)):
            expected = "6 to 50 lower-case letters, digits and single hyphens"
            raise InputError(
                "is no name for a Kaggle dataset", found=given, expected=expected, fix="give another --name"
            )
        return given
    name = re.sub(r"[^a-z0-9]+", "-", Path(model).resolve().name.lower()).strip("-")
    return (name if len(name) >= 6 else f"arena-{name or 'model'}")[:43].rstrip("-")


def check_user(user: str) -> None:
    """Raises: InputError for a name that no user of Kaggle can have."""
    if user != USER and not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", user):
        raise InputError("is no user name on Kaggle", found=user, expected="letters, digits and single hyphens")

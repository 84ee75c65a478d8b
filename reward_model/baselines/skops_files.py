"""scikit-learn's objects on disk without pickle: skops' files, which name the types they hold; only these are loaded.

Source: https://skops.readthedocs.io/en/stable/persistence.html
"""

from pathlib import Path
from typing import Any

import skops.io

from arena_data.errors import InputError
from arena_data.file_io import write_bytes_atomically

# What our systems are made of, beside what skops trusts by itself. None of it runs code when it is made.
TRUSTED = {
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
}


def save(path: Path, content: Any) -> None:
    write_bytes_atomically(path, skops.io.dumps(content))


def load(path: Path) -> Any:
    """Raises: InputError for a file that is missing, broken or holds types beyond `TRUSTED`."""
    try:
        types = set(skops.io.get_untrusted_types(file=path))
        if types - TRUSTED:
            raise InputError("holds types that are not trusted", file=path, found=sorted(types - TRUSTED))
        return skops.io.load(path, trusted=sorted(types))
    except InputError:
        raise
    except Exception as error:  # a zip file's, JSON's and each type's own ways of being broken
        raise InputError(f"cannot be read as a skops file ({error})", file=path, fix="train it again") from error

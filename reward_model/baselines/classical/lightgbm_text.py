"""LightGBM's text format, checked before LightGBM reads it: what is cut or out of bounds ends the process or never ends.

LightGBM 4.7 follows the numbers of a model without a look: a child that is no node reads foreign memory, one that is its
own ancestor loops for ever. Here each tree must be a tree, over features that there are.

Source: https://github.com/microsoft/LightGBM/blob/v4.6.0/src/io/tree.cpp, `Tree::Tree(const char* str, size_t*)`.
"""

import numpy as np
import numpy.typing as npt

CLASSES = 3


def checked(model: str) -> str:
    """A model's text, if nothing of it is cut off and each of its trees can be followed.

    Raises: ValueError for a text that is no model of three classes, is not whole, or has a broken tree.
    """
    head, _, trees = model.partition("\n\n")
    fields = _fields(head)
    expected = [int(size) for size in fields.get("tree_sizes", "").split()]
    body, end, _ = trees.partition("end of trees")
    if not head.startswith("tree\n") or not end or not expected or len(body.encode().strip()) < sum(expected) - 4:
        raise ValueError("a LightGBM model is not whole")
    if fields.get("num_class") != str(CLASSES) or fields.get("num_tree_per_iteration") != str(CLASSES):
        raise ValueError(f"a LightGBM model is not of {CLASSES} classes")
    features = int(fields.get("max_feature_idx", "")) + 1
    if not len(fields.get("feature_names", "").split()) == len(fields.get("feature_infos", "").split()) == features:
        raise ValueError("a LightGBM model does not name its features")
    parts = body.split("Tree=")[1:]
    if len(parts) != len(expected) or len(parts) % CLASSES:
        raise ValueError("a LightGBM model is not whole")
    for number, part in enumerate(parts):
        name, _, rest = part.partition("\n")
        try:
            if name.strip() != str(number):
                raise ValueError(f"it is called {name[:20]!r}")
            _check_tree(_fields(rest), features)
        except ValueError as error:
            raise ValueError(f"tree {number} of a LightGBM model is broken: {error}") from None
    return model


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _check_tree(tree: dict[str, str], features: int) -> None:
    """Raises: ValueError for a tree that cannot be followed from its root to a leaf that has a value."""
    leaves = int(tree.get("num_leaves", ""))
    if leaves < 1 or tree.get("num_cat") != "0" or tree.get("is_linear", "0") != "0":
        raise ValueError("it has no leaves, or is of another kind")
    splits = leaves - 1
    if len(_numbers(tree, "leaf_value", leaves)) != leaves:
        raise ValueError("its leaves have no values")
    if not splits:
        return
    _numbers(tree, "threshold", splits)
    kinds, split = _whole_numbers(tree, "decision_type", splits), _whole_numbers(tree, "split_feature", splits)
    if split.min() < 0 or split.max() >= features:
        raise ValueError("it splits a feature that there is not")
    if kinds.min() < 0 or kinds.max() > 15 or (kinds & 1).any():
        raise ValueError("it decides in an unknown way")
    children = np.concatenate([_whole_numbers(tree, f"{side}_child", splits) for side in ("left", "right")])
    # Nodes from 0, leaves as -1, -2, …: each has one parent, a node that comes before it.
    parents = np.tile(np.arange(splits), 2)
    nodes = children >= 0
    if (np.sort(children) != np.concatenate([np.arange(-leaves, 0), np.arange(1, splits)])).any():
        raise ValueError("its nodes do not hang together")
    if (children[nodes] <= parents[nodes]).any():
        raise ValueError("its nodes are in a circle")


def _numbers(tree: dict[str, str], name: str, count: int) -> npt.NDArray[np.float64]:
    numbers = np.array(tree.get(name, "").split(), dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is not {count} numbers")
    return numbers


def _whole_numbers(tree: dict[str, str], name: str, count: int) -> npt.NDArray[np.int64]:
    numbers = _numbers(tree, name, count)
    if (numbers != np.floor(numbers)).any() or np.abs(numbers).max() > 2**31:
        raise ValueError(f"{name} is not {count} whole numbers")
    return numbers.astype(np.int64)

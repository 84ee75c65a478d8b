"""Rows of any arena release in, typed battles out. Knows nothing of models."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arena_data.loading import load_battles

__all__ = ["load_battles"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from arena_data import loading  # a second to import, and help does without it

    return getattr(loading, name)

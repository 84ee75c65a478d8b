"""A missing extra is one line that names it."""

import sys
import tomllib
from pathlib import Path

import pytest

from reward_model.errors import EXTRAS, MissingExtraError, named_extras, require

ROOT = Path(__file__).parents[2]


def test_every_extra_that_is_named_brings_what_it_is_named_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for module, (_, extra) in EXTRAS.items():
        package = "scikit-learn" if module == "sklearn" else module.replace("_", "-")
        assert any(line.startswith(package) for line in extras[extra]), (module, extra)


def test_all_is_all() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    [everything] = extras["all"]
    apart = {"gptq"}  # compiled for a GPU where it is installed
    assert set(everything.partition("[")[2].rstrip("]").split(",")) == set(extras) - {"all", "dev"} - apart


def test_a_module_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(
        MissingExtraError, match=r'needs scikit-learn, .* pip install "arena-reward-model\[baselines\]"'
    ):
        require("numpy", "sklearn")
    with pytest.raises(MissingExtraError, match="needs skops"), named_extras():
        import skops.io  # noqa: F401


def test_a_library_that_misses_another_without_naming_it_in_the_error_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Transformers says it of bitsandbytes, gguf and accelerate; accelerate is installed here."""
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"\[quantization\]"), named_extras():
        raise ImportError(
            "Using `bitsandbytes` 4-bit needs accelerate, and bitsandbytes: `pip install bitsandbytes>=0.46`"
        )


def test_other_import_errors_stay_as_they_are() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), named_extras():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ImportError, match="numpy is broken"), named_extras():
        raise ImportError("numpy is broken")

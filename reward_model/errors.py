"""What can go wrong with a model, an error as one line, and which extra of the package brings a module that is missing."""

import contextlib
import importlib.util
import re
from collections.abc import Iterator

# module: (what needs it, the extra of pyproject.toml that brings it)
EXTRAS = {
    "trl": ("training", "train"),
    "accelerate": ("training", "train"),
    "evaluate": ("a metric module", "train"),
    "rich": ("training", "train"),
    "tensorboard": ("logging to TensorBoard", "train"),
    "deepspeed": ("sharding with ZeRO", "deepspeed"),
    "bitsandbytes": ("loading in 4 or 8 bits", "quantization"),
    "compressed_tensors": ("reading weights of compressed-tensors", "quantization"),
    "gptqmodel": ("reading weights of GPTQ or AWQ", "gptq"),
    "optimum": ("reading weights of GPTQ", "gptq"),
    "lightgbm": ("the boosted-trees baseline", "baselines"),
    "optuna": ("the search for parameters", "baselines"),
    "simplemma": ("lemmatising", "baselines"),
    "sklearn": ("the classical baseline", "baselines"),
    "skops": ("the classical baseline", "baselines"),
    "gradio": ("the demo page", "demo"),
    "markdown_it": ("the demo page", "demo"),
    "fastapi": ("the server", "serve"),
    "uvicorn": ("the server", "serve"),
    "ray": ("--engine ray", "ray"),
    "gguf": ("a GGUF file", "gguf"),
}

# Packages that are called otherwise than their modules.
_PACKAGES = {"sklearn": "scikit-learn", "markdown_it": "markdown-it-py"}


class ModelError(ValueError):
    """A model that cannot be loaded, trained or used as asked; the message is one line and says what to do."""


class ScoringError(ModelError):
    """A text that a model could not score; the message is one line and says which one and why."""


class MissingExtraError(ImportError):
    """A package that is not installed; the message is one line and names the extra that brings it."""

    def __init__(self, module: str):
        need, extra = EXTRAS[module]
        package = _PACKAGES.get(module) or module.replace("_", "-")
        super().__init__(
            f'{need} needs {package}, which is not installed: pip install "arena-reward-model[{extra}]"', name=module
        )


def require(*modules: str) -> None:
    """Raises: MissingExtraError for the first of these modules that is not installed, before any work is done."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(module)


@contextlib.contextmanager
def named_extras() -> Iterator[None]:
    """Names the extra where an import fails within.

    Raises: MissingExtraError in the place of an ImportError about a module of `EXTRAS`. Transformers and accelerate raise
    theirs without a name, so their text is read.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:
        named = {error.name.partition(".")[0]} if error.name else set(re.findall("[a-z]+", str(error).lower()))
        for module in EXTRAS:
            if module in named and importlib.util.find_spec(module) is None:
                raise MissingExtraError(module) from error
        raise


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]

"""What a model's weights do not say: the settings of a run, `reward_config.json`.

Every setting has one type and, where this code can follow only some values, a list of those. Both are checked when the
settings are made, so that a model made for other texts, features or labels is refused instead of giving wrong numbers.
The names of a run directory's files are here too, for the modules that write, read and show them.

Source: the standard library's dataclasses, https://docs.python.org/3/library/dataclasses.html.
"""

import importlib.metadata
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from arena_data.schema import LABELS
from arena_data.style.features import STYLE_VERSION
from arena_data.transcripts.rendering import TRANSCRIPT_VERSION
from arena_data.transcripts.truncation import TRUNCATION_VERSION
from reward_model.tokens.encodings import ENCODINGS

CONFIG, STYLE, CALIBRATION = "reward_config.json", "style_head.safetensors", "calibration.json"
METRICS, CARD, CURVES = "metrics.json", "README.md", "curves.png"
BLEND, BASELINE, STOCK = "blend.json", "baseline.json", "stock_model.json"
AUDIT, AUDIT_PAGE = "audit.json", "audit.html"
RELIABILITY, BIAS = "reliability.png", "bias.png"  # of a published run's card

OUTCOMES = ("three", "four")  # four: both bad is one of its own, `reward_model.model.four_outcomes`
# No model reads more at once; larger numbers overflow where tokens are counted.
MOST_TOKENS = 100_000_000
MOST_GRADES = 100

# What a type of model saves itself.
MODEL_FILES = {
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    "full": ("config.json", "model.safetensors"),
}
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("encoding", "tie_link", "outcomes", "base_model", "model_type", "score_module"), (str,)),
    **dict.fromkeys(
        ("max_length", "grade_levels", "transcript_version", "truncation_version", "style_version"), (int,)
    ),
    **dict.fromkeys(("style", "show_models"), (bool,)),
    **{"base_model_revision": (str, type(None)), "package_versions": (dict,)},
    **dict.fromkeys(("labels", "sources"), (list,)),
}
# What this code can read. Other texts or features than those of training would give wrong numbers without a sign.
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "encoding": tuple(ENCODINGS),
    "tie_link": ("davidson", "rao_kupper"),
    "outcomes": OUTCOMES,
    "model_type": tuple(MODEL_FILES),
    "labels": (list(LABELS),),
    "transcript_version": (TRANSCRIPT_VERSION,),
    "truncation_version": (TRUNCATION_VERSION,),
    "style_version": (STYLE_VERSION,),
}
# What runs of before an entry was written are.
_EARLIER = {"outcomes": "three"}
_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "trl", "accelerate", "datasets")


def _installed_versions() -> dict[str, str]:
    named = [package for package in importlib.metadata.distributions() if package.metadata["Name"]]
    versions = {package.metadata["Name"].lower(): package.version for package in named}
    return {name: versions[name] for name in _PACKAGES if name in versions}


@dataclass(frozen=True)
class RewardModelConfig:
    """What a model's weights do not say.

    Args:
        encoding: `separate` or `joint`.
        tie_link: `davidson` or `rao_kupper`.
        outcomes: `three`, or `four` where both-bad is one of them and rewards have an absolute zero.
        max_length: tokens that a text is truncated to.
        base_model: Hub id or directory of the backbone.
        model_type: `adapter` or `full`.
        score_module: module that holds the score layer, see `reward_model.model.score_layer.score_module_name`.
        show_models: whether the names of the two models are written into what is read.
        style: whether there is a style head.
        sources: of battles from elsewhere, in the order of their offsets in the score layer.
        grade_levels: the most grades of a win that a source has; 0 without grades.
        base_model_revision: commit of the backbone, where it has one.
        labels: order of the probabilities, `arena_data.schema.LABELS`.
        transcript_version, truncation_version, style_version: of the code that made texts and features.
        package_versions: name -> version in training, for information.

    Raises: ValueError for a setting of a wrong type, or one that this code cannot follow.
    """

    encoding: str
    tie_link: str
    max_length: int
    base_model: str
    model_type: str
    score_module: str
    style: bool
    base_model_revision: str | None = None
    sources: list[str] = field(default_factory=list)
    grade_levels: int = 0
    outcomes: str = "three"
    show_models: bool = False
    labels: list[str] = field(default_factory=lambda: list(LABELS))
    transcript_version: int = TRANSCRIPT_VERSION
    truncation_version: int = TRUNCATION_VERSION
    style_version: int = STYLE_VERSION
    package_versions: dict[str, str] = field(default_factory=_installed_versions)

    def __post_init__(self) -> None:
        for name, types in _TYPES.items():
            value = getattr(self, name)
            if type(value) not in types:
                raise ValueError(f"setting {name!r} is {value!r}; expected {' or '.join(t.__name__ for t in types)}")
            allowed = _ALLOWED.get(name, (value,))
            if value not in allowed and not (name == "style_version" and not self.style):
                raise ValueError(f"setting {name!r} is {value!r}; expected {' or '.join(map(repr, allowed))}")
        if not 0 <= self.grade_levels <= MOST_GRADES:
            raise ValueError(f"setting 'grade_levels' is {self.grade_levels}; expected 0 to {MOST_GRADES}")
        if not all(isinstance(source, str) for source in self.sources):
            raise ValueError(f"setting 'sources' is {self.sources!r}; expected names")
        if not 1 <= self.max_length <= MOST_TOKENS:
            raise ValueError(f"setting 'max_length' is {self.max_length}; expected 1 to {MOST_TOKENS:,} tokens")

    @classmethod
    def from_json(cls, stored: Any) -> "RewardModelConfig":
        """The inverse of `dataclasses.asdict`. Raises: ValueError, in one line, for anything else."""
        if not isinstance(stored, dict):
            raise ValueError(f"settings are a {type(stored).__name__}; expected an object")
        required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
        stored = _EARLIER | stored
        # A default for these would be the reader's own version, not the writer's.
        if missing := sorted((required | set(_ALLOWED)) - set(stored)):
            raise ValueError(f"settings lack {', '.join(missing)}")
        if unknown := sorted(set(stored) - set(_TYPES)):
            raise ValueError(f"settings have unknown entries {', '.join(unknown)}")
        return cls(**stored)

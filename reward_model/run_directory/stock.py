"""A stock one-label reward model as it lies, and a run directory that wraps one: `stock_model.json`.

A wrapped model is a reference, not a copy: where the weights lie (a directory, or a Hub id with its commit), what their
files hash to, and the tie link that makes probabilities of its rewards' differences. Any model that
`AutoModelForSequenceClassification` loads with one label will do; one that needs code of its own repository will not.
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from arena_data.errors import InputError
from arena_data.file_io import content_hash, json_object, read_json, write_json
from reward_model.calibration.tie_link_fit import TieLinkFit
from reward_model.errors import ModelError, one_line
from reward_model.hub_names import means_folder
from reward_model.run_directory.settings import BASELINE, BLEND, CONFIG, STOCK

_CALIBRATE = "arena-reward calibrate {} --input labelled.csv --output D"


@dataclass(frozen=True)
class StockReference:
    """Which stock model.

    Args:
        name: a directory, or a Hub id.
        revision: commit of a Hub id; None for a directory.
        files: content hashes by name, of a directory; empty for a Hub id.
    """

    name: str
    revision: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str) -> "StockReference":
        """The model as it is now. Raises: ModelError where it is no stock one-label reward model, or not there."""
        check_stock(name)
        if os.path.isdir(name):
            return cls(name, files=_hashes(Path(name)))
        from reward_model.run_directory.identity import hub_commit  # seconds to import

        return cls(name, revision=hub_commit(name, None))

    def check_same(self, directory: str) -> None:
        """Raises: ModelError where a directory's files are no longer those that the link was fitted to."""
        if self.files and (changed := sorted(set(_hashes(Path(directory)).items()) ^ set(self.files.items()))):
            raise ModelError(
                f"{directory}: {changed[0][0]} is not what it was when the model was calibrated; calibrate it again"
            )


@dataclass(frozen=True)
class WrappedModel:
    """What `read_wrapped` reads: the directory, the model that it refers to, its tie link, the verdicts' shares."""

    directory: Path
    reference: StockReference
    link: TieLinkFit
    prior: tuple[float, float, float]


def is_stock_directory(path: str | os.PathLike[str]) -> bool:
    """Whether it is a model directory that is nothing of this project's own."""
    folder = Path(path)
    own = (CONFIG, STOCK, BASELINE, BLEND, "adapter_config.json")
    return (folder / "config.json").is_file() and not any((folder / name).exists() for name in own)


def looks_like_hub_id(name: str) -> bool:
    return not os.path.exists(name) and name.count("/") == 1 and not means_folder(name)


def not_calibrated(name: str) -> InputError:
    """The error for whoever asks a stock model for probabilities."""
    return InputError(
        "is a stock reward model: it gives rewards, no probabilities", file=name, fix=f"first {_CALIBRATE.format(name)}"
    )


def check_stock(name: str) -> None:
    """Raises: ModelError, one line, for a model that is no one-label classifier, or that needs its repository's code."""
    from reward_model.model.pretrained import load_config  # seconds to import

    try:
        config = load_config(name)
    except (OSError, ValueError, KeyError) as error:
        code = "trust_remote_code" in str(error)
        why = "it needs code of its repository, which is not run here" if code else one_line(error)
        raise ModelError(f"{name}: cannot be loaded as a stock reward model ({why})") from error
    kinds = [str(kind) for kind in config.architectures or ()]
    if getattr(config, "auto_map", None):
        raise ModelError(
            f"{name}: cannot be loaded as a stock reward model (it needs code of its repository, which is not run here); "
            "give its probabilities or verdicts as a CSV file"
        )
    if any(kind.endswith(("ForCausalLM", "ForConditionalGeneration")) for kind in kinds):
        raise ModelError(
            f"{name}: is a generative model ({', '.join(kinds)}), not a reward model with one label; "
            "give its probabilities or verdicts as a CSV file"
        )
    if config.num_labels != 1:
        raise ModelError(f"{name}: has {config.num_labels} labels; expected a reward model with one")


def write_wrapped(
    directory: str | os.PathLike[str], reference: StockReference, link: TieLinkFit, prior: tuple[float, float, float]
) -> None:
    """Writes a directory that wraps the model. Raises: InputError where it cannot be written."""
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=folder) from error
    local = bool(reference.files) and not os.path.isabs(reference.name)
    name = os.path.relpath(reference.name, folder) if local else reference.name
    stored = {"model": asdict(reference) | {"name": name}, "link": asdict(link), "prior": list(prior)}
    write_json(folder / STOCK, stored)


def read_wrapped(directory: str | os.PathLike[str]) -> WrappedModel:
    """Raises: InputError, one line, for a file that is missing or broken."""
    folder = Path(directory)

    def parse(content: Any) -> WrappedModel:
        stored = json_object(content)
        reference = StockReference(**json_object(stored["model"]))
        a, b, tie = (float(share) for share in stored["prior"])
        return WrappedModel(folder, reference, TieLinkFit(**json_object(stored["link"])), (a, b, tie))

    return read_json(folder / STOCK, parse)


def located(wrapped: WrappedModel, override: str | None) -> tuple[str, str | None]:
    """Directory or Hub id of the weights, and the revision.

    Args:
        override: a directory in the place of the one that was calibrated; its files must be the same.

    Raises: InputError for a directory that is not there.
    """
    reference = wrapped.reference
    if override is None and not reference.files:
        return reference.name, reference.revision
    name = override or str(wrapped.directory / reference.name)
    if not os.path.isdir(name):
        raise InputError(
            "the model that it refers to is not there",
            file=wrapped.directory,
            found=name,
            fix="name it with --base_model",
        )
    return name, None


def _hashes(directory: Path) -> dict[str, str]:
    from reward_model.run_directory.identity import scoring_files

    return {path.name: content_hash(path) for path in scoring_files(directory)}

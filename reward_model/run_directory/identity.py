"""What a run's scores depend on, as hashes of content: two runs are the same if their bytes are, whatever their times say.

A file that is replaced may keep its size and its time of change (`cp -p`, `rsync -t`, an unpacked archive), and two runs of
one recipe have files of equal sizes. So every file that a score depends on is read once and hashed: about 0.05 s for an
adapter of 100 MB, about 10 s for a backbone of 18 GB, which is read from the disk to be loaded anyway.
"""

from pathlib import Path

from arena_data.file_io import content_hash
from reward_model.errors import ModelError, one_line
from reward_model.run_directory.load_model import backbone_of
from reward_model.run_directory.reading import RunDirectory
from reward_model.run_directory.settings import AUDIT, CALIBRATION, CONFIG, METRICS, STYLE

# Weights, settings, tokenizers and chat templates.
_ENDINGS = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
# Applied after the scores or told of them, or said in the fingerprint setting by setting.
_LATER = (CONFIG, STYLE, CALIBRATION, METRICS, AUDIT)


def run_identity(run: RunDirectory, base_model: str | None) -> dict[str, str]:
    """Hashes by name of all that a run's scores depend on: its files and, of an adapter, its backbone's.

    Args:
        base_model: the backbone in the place of the one that the run names.

    Raises: ModelError for a backbone that is not there, InputError for a file that cannot be read.
    """
    parts = {f"run/{path.name}": content_hash(path) for path in scoring_files(run.directory)}
    if run.config.model_type != "adapter":
        return parts
    source = backbone_of(run, base_model)
    if Path(source).is_dir():
        return parts | {f"backbone/{path.name}": content_hash(path) for path in scoring_files(Path(source))}
    return parts | {"backbone": hub_commit(source, run.config.base_model_revision if base_model is None else None)}


def scoring_files(directory: Path) -> list[Path]:
    """The files of a model directory that scores depend on, sorted."""
    paths = sorted(path for path in directory.iterdir() if path.suffix in _ENDINGS and path.is_file())
    return [path for path in paths if path.name not in _LATER]


def hub_commit(name: str, revision: str | None) -> str:
    """The commit of a Hub repository that Transformers would load now, with a network or without."""
    from transformers.utils.hub import cached_file, extract_commit_hash

    try:
        path = cached_file(name, "config.json", revision=revision or "main")
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: cannot be loaded ({one_line(error)})") from error
    commit = extract_commit_hash(path, None)
    if commit is None:
        raise ModelError(f"{name}: the Hub's cache does not say which commit it is of")
    return str(commit)

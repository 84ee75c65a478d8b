"""What the models of a prediction are, as hashes of all that their answers depend on.

A partition that was scored before must be of the same models, and so must every machine of the cluster.
"""

from collections.abc import Sequence
from pathlib import Path

from arena_data.file_io import content_hash, fingerprint
from reward_model.predict.member import Member
from reward_model.predict.open_member import BaselineMember, BlendMember, FileMember
from reward_model.predict.run_member import RunMember
from reward_model.predict.stock_member import StockMember
from reward_model.run_directory.identity import run_identity
from reward_model.run_directory.settings import BLEND, CALIBRATION, CONFIG, METRICS, STOCK, STYLE

# What a run's probabilities depend on beside its scores: settings, style head, calibration, prior.
_AFTER_SCORES = (CONFIG, STYLE, CALIBRATION, METRICS)


def models_identity(members: Sequence[Member]) -> str:
    """A short hash of the members' files: equal on two machines if their bytes are.

    Raises: InputError or ModelError for a file or a backbone that is not there.
    """
    return fingerprint(members=[_parts(member) for member in members])


def _parts(member: Member) -> object:
    if isinstance(member, BlendMember):
        return [content_hash(member.folder / BLEND), *map(_parts, member.members)]
    if isinstance(member, FileMember):
        return content_hash(member.path)
    if isinstance(member, StockMember):
        stored = content_hash(member.wrapped.directory / STOCK) if member.wrapped else ""
        return [stored, member.revision, _files(Path(member.source)) if Path(member.source).is_dir() else member.source]
    if isinstance(member, BaselineMember):
        return _files(member.folder)
    assert isinstance(member, RunMember), f"a member of another kind: {type(member).__name__}"
    after = {name: content_hash(path) for name in _AFTER_SCORES if (path := member.run.directory / name).is_file()}
    return run_identity(member.run, member.options.load.base_model) | after


def _files(folder: Path) -> dict[str, str]:
    """Hashes of a folder's files by name; pages and submissions that lie there are none of the model's."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".csv", ".html", ".md"))
    return {str(path.relative_to(folder)): content_hash(path) for path in files}

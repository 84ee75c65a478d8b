"""A bundle's models: the files of runs, baselines and blends, and of the backbones that they name, each by its place.

    runs/1-NAME/        a run, or a baseline
    blends/1-NAME/      a blend, whose members lie in runs/
    weights/1-NAME/     a backbone; one that several models share is there once

What names another directory is written anew, so that it names the place in the bundle, as seen from its root: there the
notebook predicts.
"""

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json, write_json
from reward_model.calibration.blending import Blend
from reward_model.publish.staging import PUBLISHED
from reward_model.run_directory.reading import is_complete, read_run
from reward_model.run_directory.settings import BASELINE, BLEND, CONFIG

WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "NOTICE*")
BASELINE_FILES = (*WEIGHTS, "*.skops")
BACKBONE = "model_name_or_path"  # the option that names a baseline's backbone


@dataclass
class BundledModels:
    """Collects models.

    Args:
        rewritten: folder for files that are written anew.

    Attributes:
        files: the source of each file, by its place in the bundle.
        places: of each model that was added.
        kinds: of the baselines among them.
    """

    rewritten: Path
    files: dict[str, Path] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    _backbones: dict[Path, str] = field(default_factory=dict)
    _members: int = 0

    def add(self, directories: Sequence[str], base_model: Sequence[str]) -> None:
        """Adds runs, baselines and blends of such.

        Args:
            base_model: directories of the backbones, in the place of those that the models name; one, or one a member.

        Raises: InputError for what is none of the three or not whole, or another number of backbones.
        """
        members = [members_of(directory) for directory in directories]
        count = sum(map(len, members))
        bases: list[str | None] = [*base_model] or [None]
        if len(bases) not in (1, count):
            raise InputError("one --base_model, or one a run", found=len(bases), expected=str(count))
        left = iter(bases * count if len(bases) == 1 else bases)
        for directory, own in zip(directories, members, strict=True):
            places = [self._add_member(member, next(left)) for member in own]
            self.places.append(self._add_blend(directory, places) if is_blend(directory) else places[0])

    def _add_blend(self, directory: str, members: Sequence[str]) -> str:
        place = f"blends/{len(self.places) + 1}-{Path(directory).resolve().name}"
        blend = read_json(Path(directory) / BLEND, Blend.from_json)
        blend = replace(blend, members=tuple(f"../../{member}" for member in members))
        self._rewrite(f"{place}/{BLEND}", blend.to_json())
        return place

    def _add_member(self, directory: str, base: str | None) -> str:
        self._members += 1
        place = f"runs/{self._members}-{Path(directory).resolve().name}"
        if _is_baseline(directory):
            self._add_baseline(Path(directory), place, base)
        else:
            self._add_run(directory, place, base)
        return place

    def _add_run(self, directory: str, place: str, base: str | None) -> None:
        from reward_model.run_directory.load_model import backbone_of  # seconds to import

        run = read_run(directory)
        if not is_complete(directory):
            raise InputError("not a complete run", file=directory, expected="weights, tokenizer and settings")
        self.files |= matching(run.directory, place, PUBLISHED)
        if run.config.model_type == "adapter":
            revision = run.config.base_model_revision if not base else None
            weights = self._add_backbone(backbone_of(run, base), revision, run.config.base_model)
            settings = read_json(run.directory / CONFIG, json_object)
            self._rewrite(f"{place}/{CONFIG}", settings | {"base_model": weights, "base_model_revision": None})

    def _add_baseline(self, folder: Path, place: str, base: str | None) -> None:
        from reward_model.baselines.base import read_baseline  # seconds to import

        baseline = read_baseline(folder).baseline  # it is whole
        self.kinds.add(baseline.kind)
        for inner in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
            own = place if inner == folder else f"{place}/{inner.name}"
            self.files |= matching(inner, own, BASELINE_FILES)
        about = read_json(folder / BASELINE, json_object)
        if BACKBONE not in about["options"]:
            return
        named = base or about["options"][BACKBONE]
        # Only a frozen backbone is not part of the baseline itself; the name of another would give a path away.
        kept = self._add_backbone(named, None, named) if baseline.kind == "frozen" else Path(named).name
        self._rewrite(f"{place}/{BASELINE}", about | {"options": about["options"] | {BACKBONE: kept}})

    def _add_backbone(self, backbone: str, revision: str | None, called: str) -> str:
        """The backbone's place."""
        folder = _local(backbone, revision)
        if folder not in self._backbones:
            place = f"weights/{len(self._backbones) + 1}-{Path(called).name}"
            self._backbones[folder] = place
            self.files |= matching(folder, place, WEIGHTS)
        return self._backbones[folder]

    def _rewrite(self, place: str, content: dict[str, Any]) -> None:
        path = self.rewritten / place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
        self.files[place] = path


def is_blend(directory: str) -> bool:
    return (Path(directory) / BLEND).is_file()


def _is_baseline(directory: str) -> bool:
    return not (Path(directory) / CONFIG).is_file() and (Path(directory) / BASELINE).is_file()


def members_of(directory: str) -> list[str]:
    """The members of a blend, or the model itself.

    Raises: InputError for a member that is neither a run directory nor a baseline's.
    """
    if not is_blend(directory):
        return [directory]
    blend = read_json(Path(directory) / BLEND, Blend.from_json)
    members = [str(Path(directory) / name) for name in blend.members]
    for member in members:
        if not ((Path(member) / CONFIG).is_file() or _is_baseline(member)):
            raise InputError(
                "has a member that cannot be bundled",
                file=directory,
                found=member,
                expected="directories of runs and baselines",
            )
    return members


def matching(folder: Path, place: str, patterns: Sequence[str]) -> dict[str, Path]:
    """Files of a folder, not of its subfolders; symbolic links, as in the Hub's cache, are followed."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    chosen = [path for path in files if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns)]
    return {f"{place}/{path.name}": path.resolve() for path in chosen}


def _local(backbone: str, revision: str | None) -> Path:
    """The backbone's directory; downloaded from the Hub where it is none yet."""
    if os.path.isdir(backbone):
        return Path(backbone).resolve()
    from huggingface_hub import snapshot_download

    snapshot = Path(snapshot_download(backbone, revision=revision, allow_patterns=list(WEIGHTS)))
    if not any(snapshot.glob("*.safetensors")):
        raise InputError("the backbone has no safetensors", file=backbone, fix="give a converted copy by --base_model")
    return snapshot

"""Everything that a Kaggle notebook without a network needs, ready to upload: `arena-reward kaggle runs/minilm`.

    bundle/<name>/       a Kaggle dataset: code, runs, the backbones' weights, wheels, bundle.json, dataset-metadata.json
    bundle/<name>-2/     the next, where one would be over the size limit; the notebook joins them
    bundle/notebook/     submit.ipynb, kernel-metadata.json, bundle.json

It is built beside the old one, which is there until the new one is whole.

    kaggle datasets create -p bundle/<name> --dir-mode tar
    kaggle kernels push -p bundle/notebook

Source: https://github.com/Kaggle/kaggle-api/wiki/Dataset-Metadata, .../Kernel-Metadata.
"""

import fnmatch
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from tqdm import tqdm

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json, write_atomically, write_json
from reward_model.calibration.blending import Blend
from reward_model.publish.kaggle_wheels import download, hashed_requirements, sha256
from reward_model.publish.staging import PUBLISHED
from reward_model.run_directory.reading import is_complete, read_run
from reward_model.run_directory.settings import BLEND, CONFIG

NOTEBOOK = Path(str(resources.files("reward_model.publish"))) / "submit.ipynb"
CODE = ("arena_data", "reward_model")
WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "NOTICE*")
PYTHONS = ("3.12", "3.13")  # of Kaggle's image, and of Colab's, on which the next one is built
MACHINE = "NvidiaTeslaT4"  # as Kaggle's API calls two T4s
USER = "INSERT_USERNAME_HERE"
# In bundle.json, which lies in every folder that is written here: no other folder is ever removed.
MADE_BY = {"made_by": "arena-reward kaggle"}
MANIFEST = "bundle.json"
COMPETITION = "llm-classification-finetuning"
DATASET_BYTES = 100 * 10**9  # Kaggle takes at most so much in a dataset


@dataclass(frozen=True)
class Parts:
    """The bundle's files, each put into the first dataset that has room.

    Args:
        output: the bundle's folder.
        slug: name of the datasets; the second is slug-2.
        limit: bytes of a dataset.
    """

    output: Path
    slug: str
    limit: int

    def names(self, sizes: Sequence[int]) -> list[str]:
        """The dataset of each file. Raises: InputError for a file over the limit."""
        filled: list[int] = []
        found = []
        for size in sizes:
            if size > self.limit:
                raise InputError("a file is over the size limit of a dataset", found=size, expected=str(self.limit))
            part = next((number for number, used in enumerate(filled) if used + size <= self.limit), len(filled))
            if part == len(filled):
                filled.append(0)
            filled[part] += size
            found.append(self.slug if part == 0 else f"{self.slug}-{part + 1}")
        return found


def bundle(
    runs: Sequence[str],
    output: str,
    *,
    slug: str | None = None,
    user: str = USER,
    base_model: Sequence[str] = (),
    pythons: Sequence[str] = PYTHONS,
    competition: str = COMPETITION,
    limit: int = DATASET_BYTES,
    flags: Sequence[str] = (),
) -> list[Path]:
    """Writes the bundle; returns its datasets' folders.

    Args:
        runs: complete run directories, or blends of such; several are blended with equal weights, or as `flags` say.
        base_model: directories of the adapters' backbones, in the place of those that the runs name; one, or one a run.
        flags: of predict.py, for the notebook; the caller has checked them.

    Raises: InputError for a run or a backbone that is not whole, wheels that cannot be had, a name that Kaggle would
        refuse, or a folder of someone else's in the way. The old bundle is then as it was.
    """
    folder, name = Path(output), dataset_name(slug, runs[0])
    if user != USER and not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", user):
        raise InputError("is no user name on Kaggle", found=user, expected="letters, digits and single hyphens")
    if folder.exists() and any(folder.iterdir()) and not any(map(_is_ours, folder.iterdir())):
        raise InputError("exists and is no bundle", file=folder, fix="remove it or give another --output")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as new:
        datasets = _build(Path(new), folder / ".wheels", runs, base_model, pythons, name, limit, user, flags)
        _notebook(Path(new) / "notebook", name, user, datasets, competition)
        _swap(Path(new), folder)
    return [folder / dataset for dataset in datasets]


def dataset_name(given: str | None, run: str) -> str:
    """The given name, or the run's made to fit. Raises: InputError for a given name that Kaggle's API would refuse."""
    if given is not None:
        if not (6 <= len(given) <= 50 and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given)):
            expected = "6 to 50 lower-case letters, digits and single hyphens"
            raise InputError(
                "is no name for a Kaggle dataset", found=given, expected=expected, fix="give another --name"
            )
        return given
    name = re.sub(r"[^a-z0-9]+", "-", Path(run).resolve().name.lower()).strip("-")
    return (name if len(name) >= 6 else f"arena-{name or 'model'}")[:43].rstrip("-")


def _build(
    new: Path,
    wheel_cache: Path,
    runs: Sequence[str],
    base_model: Sequence[str],
    pythons: Sequence[str],
    name: str,
    limit: int,
    user: str,
    flags: Sequence[str],
) -> list[str]:
    """Writes the datasets to `new`; returns their names."""
    rewritten = new / ".rewritten"
    rewritten.mkdir()
    files, models = _models(runs, base_model, rewritten)
    files |= _code()
    wheels = download(wheel_cache, pythons)
    requirements = rewritten / "requirements-kaggle.txt"
    write_atomically(requirements, hashed_requirements(wheels))
    files |= {f"wheels/{wheel.name}": wheel for wheel in [*wheels, requirements]}

    parts = Parts(new, name[:47].rstrip("-") if len(name) > 47 else name, limit)
    places = dict(zip(files, parts.names([path.stat().st_size for path in files.values()]), strict=True))
    datasets = sorted(set(places.values()), key=lambda part: (len(part), part))
    known = {}
    total = sum(path.stat().st_size for path in files.values())
    with tqdm(total=total, unit="B", unit_scale=True, desc="Bundle") as bar:
        for path, source in files.items():
            target = new / places[path] / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(source, target)
            known[path] = {"dataset": places[path], "bytes": source.stat().st_size, "sha256": sha256(source)}
            bar.update(source.stat().st_size)
    manifest = {"datasets": datasets, "models": models, "flags": list(flags), "python": list(pythons), "files": known}
    for dataset in datasets:
        write_json(new / dataset / MANIFEST, MADE_BY | manifest)
        metadata = {"title": dataset, "id": f"{user}/{dataset}", "licenses": [{"name": "other"}]}
        write_json(new / dataset / "dataset-metadata.json", metadata)
    return datasets


def _is_ours(folder: Path) -> bool:
    """Whether `bundle` has written this folder."""
    try:
        return MADE_BY.items() <= read_json(folder / MANIFEST, json_object).items()
    except InputError:
        return False


def _swap(new: Path, folder: Path) -> None:
    """Puts the new bundle's folders in the place of the old one's.

    Raises: InputError, before anything is moved, where a folder of that name is not the old bundle's.
    """
    written = [path for path in sorted(new.iterdir()) if not path.name.startswith(".")]
    for path in written:
        if (folder / path.name).exists() and not _is_ours(folder / path.name):
            raise InputError(
                "is in the way and no part of a bundle", file=folder / path.name, fix="give another --name"
            )
    old = [path for path in folder.iterdir() if path.is_dir() and _is_ours(path)]
    (new / ".old").mkdir()
    for path in old:
        path.rename(new / ".old" / path.name)
    for path in written:
        path.rename(folder / path.name)


def _models(
    runs: Sequence[str], base_model: Sequence[str], rewritten: Path
) -> tuple[dict[str, Path], list[dict[str, str]]]:
    """Files by their place in the bundle, and the place of each model. `rewritten`: folder for files that name others.

    A run or a blend names others by their place in the bundle, from where the notebook predicts.
    """
    members = [_members(directory) for directory in runs]
    every = [run for part in members for run in part]
    bases: list[str | None] = [*base_model] or [None]
    if len(bases) not in (1, len(every)):
        raise InputError("one --base_model, or one a run", found=len(bases), expected=str(len(every)))
    left = iter(bases * len(every) if len(bases) == 1 else bases)
    files: dict[str, Path] = {}
    backbones: dict[Path, str] = {}  # their places; one that runs share is bundled once
    models: list[dict[str, str]] = []
    number = 0
    for directory, part in zip(runs, members, strict=True):
        places = []
        for run in part:
            number += 1
            places.append(f"runs/{number}-{Path(run).resolve().name}")
            files |= _run_files(run, places[-1], next(left), backbones, rewritten)
        if (Path(directory) / BLEND).is_file():
            blend = read_json(Path(directory) / BLEND, Blend.from_json)
            blend = replace(blend, members=tuple(f"../../{place}" for place in places))
            place = f"blends/{len(models) + 1}-{Path(directory).resolve().name}"
            files[f"{place}/{BLEND}"] = _rewrite(rewritten / place / BLEND, blend.to_json())
            places = [place]
        models.append({"model": places[0]})
    return files, models


def _members(directory: str) -> list[str]:
    """The runs of a blend, or the run itself. Raises: InputError for a member that is no run directory."""
    if not (Path(directory) / BLEND).is_file():
        return [directory]
    blend = read_json(Path(directory) / BLEND, Blend.from_json)
    members = [str(Path(directory) / name) for name in blend.members]
    for member in members:
        if not (Path(member) / CONFIG).is_file():
            raise InputError(
                "has a member that cannot be bundled", file=directory, found=member, expected="a run directory"
            )
    return members


def _run_files(
    directory: str, place: str, base: str | None, backbones: dict[Path, str], rewritten: Path
) -> dict[str, Path]:
    """The files of a run and of its backbone by their places; adds a new backbone to `backbones`."""
    from reward_model.run_directory.load_model import backbone_of  # seconds to import

    run = read_run(directory)
    if not is_complete(directory):
        raise InputError("not a complete run", file=directory, expected="weights, tokenizer and settings")
    files = _matching(run.directory, place, PUBLISHED)
    if run.config.model_type == "adapter":
        backbone = _local(backbone_of(run, base), run.config.base_model_revision if not base else None)
        weights = backbones.setdefault(backbone, f"weights/{len(backbones) + 1}-{run.config.base_model.split('/')[-1]}")
        files |= _matching(backbone, weights, WEIGHTS)
        settings = read_json(run.directory / CONFIG, json_object) | {"base_model": weights, "base_model_revision": None}
        files[f"{place}/{CONFIG}"] = _rewrite(rewritten / place / CONFIG, settings)
    return files


def _rewrite(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    return path


def _local(backbone: str, revision: str | None) -> Path:
    """The backbone's directory; downloaded from the Hub where it is none yet."""
    if os.path.isdir(backbone):
        return Path(backbone).resolve()
    from huggingface_hub import snapshot_download

    snapshot = Path(snapshot_download(backbone, revision=revision, allow_patterns=list(WEIGHTS)))
    if not any(snapshot.glob("*.safetensors")):
        raise InputError("the backbone has no safetensors", file=backbone, fix="give a converted copy by --base_model")
    return snapshot


def _matching(folder: Path, place: str, patterns: Sequence[str]) -> dict[str, Path]:
    """Files of a folder, not of its subfolders; symbolic links, as in the Hub's cache, are followed."""
    found = [path for path in sorted(folder.iterdir()) if path.is_file()]
    chosen = [path for path in found if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns)]
    return {f"{place}/{path.name}": path.resolve() for path in chosen}


def _code() -> dict[str, Path]:
    """The packages' files by their place in the bundle, from a checkout or from where pip installed them."""
    code: dict[str, Path] = {"code/LICENSE": _licence()}
    for package in CODE:
        folder = Path(str(resources.files(package)))
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".jinja", ".json")]
        code |= {f"code/{package}/{path.relative_to(folder)}": path for path in paths}
    return code


def _licence() -> Path:
    """The project's licence: beside the packages in a checkout, among the distribution's files in an installation."""
    checkout = Path(str(resources.files("reward_model"))).parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "LICENSE"
    installed = importlib.metadata.files("arena-reward-model") or []
    return next(Path(str(file.locate())) for file in installed if file.name == "LICENSE")


def _place(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _notebook(folder: Path, name: str, user: str, datasets: Sequence[str], competition: str) -> None:
    folder.mkdir()
    shutil.copyfile(NOTEBOOK, folder / NOTEBOOK.name)
    write_json(folder / MANIFEST, MADE_BY)
    title = f"{name[:43].rstrip('-')}-submit"
    metadata = {
        "id": f"{user}/{title}",
        "title": title,
        "code_file": NOTEBOOK.name,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "machine_shape": MACHINE,
        "enable_internet": False,
        "dataset_sources": [f"{user}/{dataset}" for dataset in datasets],
        "competition_sources": [competition],
    }
    write_json(folder / "kernel-metadata.json", metadata)

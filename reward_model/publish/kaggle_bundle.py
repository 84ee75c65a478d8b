"""Everything that a Kaggle notebook without a network needs, ready to upload: `arena-reward kaggle runs/minilm`.

    bundle/<name>/       a Kaggle dataset: code, runs, the backbones' weights, wheels, bundle.json, dataset-metadata.json
    bundle/<name>-2/     the next, where one would be over the size limit; the notebook joins them
    bundle/notebook/     submit.ipynb and kernel-metadata.json

    kaggle datasets create -p bundle/<name> --dir-mode tar
    kaggle kernels push -p bundle/notebook

Source: https://github.com/Kaggle/kaggle-api/wiki/Dataset-Metadata, .../Kernel-Metadata.
"""

import fnmatch
import importlib.metadata
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tqdm import tqdm

from arena_data.errors import InputError
from arena_data.file_io import write_atomically, write_json
from reward_model.publish.kaggle_wheels import download, hashed_requirements, sha256
from reward_model.publish.staging import PUBLISHED
from reward_model.run_directory.reading import is_complete, read_run
from reward_model.run_directory.settings import BLEND

NOTEBOOK = Path(str(resources.files("reward_model.publish"))) / "submit.ipynb"
CODE = ("arena_data", "reward_model")
WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "NOTICE*")
PYTHONS = ("3.11", "3.12")
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
    user: str = "INSERT_USERNAME_HERE",
    base_model: Sequence[str] = (),
    pythons: Sequence[str] = PYTHONS,
    competition: str = COMPETITION,
    limit: int = DATASET_BYTES,
    flags: Sequence[str] = (),
) -> list[Path]:
    """Writes the bundle; returns its datasets' folders.

    Args:
        runs: complete run directories; several are blended with equal weights, or as `flags` say.
        base_model: directories of the adapters' backbones, in the place of those that the runs name; one, or one a run.
        flags: of predict.py, for the notebook; the caller has checked them.

    Raises: InputError for a run or a backbone that is not whole, or wheels that cannot be had.
    """
    folder, name = Path(output), slug or Path(runs[0]).resolve().name
    # Kaggle wants 6 to 50 characters, lower case, digits and hyphens.
    name = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    name = name if len(name) >= 6 else f"arena-{name}"
    if folder.exists() and any(folder.iterdir()) and not (folder / "notebook").is_dir():
        raise InputError("exists and is no bundle", file=folder, fix="remove it or give another --output")
    files, models = _models(runs, base_model)
    files |= _code()
    wheels = download(folder / ".wheels", pythons)
    requirements = folder / ".wheels" / "requirements-kaggle.txt"
    write_atomically(requirements, hashed_requirements(wheels))
    files |= {f"wheels/{wheel.name}": wheel for wheel in [*wheels, requirements]}

    parts = Parts(folder, name[:50], limit)
    places = dict(zip(files, parts.names([path.stat().st_size for path in files.values()]), strict=True))
    datasets = sorted(set(places.values()), key=lambda part: (len(part), part))
    for old in folder.iterdir():
        if old.is_dir() and not old.name.startswith("."):
            shutil.rmtree(old)
    known = {}
    with tqdm(
        total=sum(path.stat().st_size for path in files.values()), unit="B", unit_scale=True, desc="Bundle"
    ) as bar:
        for path, source in files.items():
            target = folder / places[path] / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(source, target)
            known[path] = {"dataset": places[path], "bytes": source.stat().st_size, "sha256": sha256(source)}
            bar.update(source.stat().st_size)
    manifest = {"datasets": datasets, "models": models, "flags": list(flags), "python": list(pythons), "files": known}
    for dataset in datasets:
        write_json(folder / dataset / "bundle.json", manifest)
        metadata = {"title": dataset[:50], "id": f"{user}/{dataset}", "licenses": [{"name": "other"}]}
        write_json(folder / dataset / "dataset-metadata.json", metadata)
    _notebook(folder / "notebook", name, user, datasets, competition)
    return [folder / dataset for dataset in datasets]


def _models(runs: Sequence[str], base_model: Sequence[str]) -> tuple[dict[str, Path], list[dict[str, str]]]:
    """Files by their place in the bundle, and for each run its place and that of its backbone."""
    from reward_model.run_directory.load_model import backbone_of  # seconds to import

    bases: list[str | None] = [*base_model] or [None]
    if len(bases) not in (1, len(runs)):
        raise InputError("one --base_model, or one a run", found=len(bases), expected=str(len(runs)))
    bases = bases * len(runs) if len(bases) == 1 else bases
    files: dict[str, Path] = {}
    places: dict[Path, str] = {}  # of the backbones; one that runs share is bundled once
    models = []
    for number, (directory, base) in enumerate(zip(runs, bases, strict=True)):
        if (Path(directory) / BLEND).is_file():
            raise InputError("is a blend", file=directory, fix="name its runs, and after -- their --weights")
        run = read_run(directory)
        if not is_complete(directory):
            raise InputError("not a complete run", file=directory, expected="weights, tokenizer and settings")
        place = f"runs/{number + 1}-{run.directory.resolve().name}"
        files |= _matching(run.directory, place, PUBLISHED)
        weights = place
        if run.config.model_type == "adapter":
            backbone = _local(backbone_of(run, base), run.config.base_model_revision if not base else None)
            weights = places.setdefault(backbone, f"weights/{len(places) + 1}-{run.config.base_model.split('/')[-1]}")
            files |= _matching(backbone, weights, WEIGHTS)
        models.append({"run": place, "base_model": weights})
    return files, models


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
    title = f"{name[:43]}-submit"
    metadata = {
        "id": f"{user}/{title}",
        "title": title,
        "code_file": NOTEBOOK.name,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": [f"{user}/{dataset}" for dataset in datasets],
        "competition_sources": [competition],
    }
    write_json(folder / "kernel-metadata.json", metadata)

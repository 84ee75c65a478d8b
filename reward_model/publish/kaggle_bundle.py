"""Everything that a Kaggle notebook without a network needs, ready to upload: `arena-reward kaggle runs/minilm`.

    bundle/<name>/       a Kaggle dataset: code, models, the backbones' weights, wheels, bundle.json, dataset-metadata.json
    bundle/<name>-2/     the next, where one would be over the size limit; the notebook joins them
    bundle/notebook/     submit.ipynb, kernel-metadata.json, bundle.json

It is built beside the old one, which is there until the new one is whole.

    kaggle datasets create -p bundle/<name> --dir-mode tar
    kaggle kernels push -p bundle/notebook

Source: https://github.com/Kaggle/kaggle-api/wiki/Dataset-Metadata, .../Kernel-Metadata.
"""

import contextlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from tqdm import tqdm

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json, write_atomically, write_json
from reward_model.publish.kaggle_datasets import DATASET_BYTES, USER, DatasetSizes, check_user, dataset_name
from reward_model.publish.kaggle_models import BundledModels
from reward_model.publish.kaggle_wheels import download, hashed_requirements, needed_requirements, sha256

NOTEBOOK = Path(str(resources.files("reward_model.publish"))) / "submit.ipynb"
CODE = ("arena_data", "reward_model")
CODE_FILES = (".py", ".jinja", ".json", ".safetensors")
PYTHONS = ("3.12", "3.13")  # of Kaggle's image, and of Colab's, on which the next one is built
MACHINE = "NvidiaTeslaT4"  # as Kaggle's API calls two T4s
# In bundle.json, which lies in every folder that is written here: no other folder is ever removed.
MADE_BY = {"made_by": "arena-reward kaggle"}
MANIFEST = "bundle.json"
COMPETITION = "llm-classification-finetuning"


def bundle(
    models: Sequence[str],
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
        models: complete run directories, baselines, or blends of such; several are blended with equal weights, or as
            `flags` say.
        base_model: directories of backbones, in the place of those that the models name; one, or one a model.
        flags: of predict.py, for the notebook; the caller has checked them.

    Raises: InputError for a model or a backbone that is not whole, wheels that cannot be had, a name that Kaggle would
        refuse, or a folder of someone else's in the way. The old bundle is then as it was.
    """
    folder, name = Path(output), dataset_name(slug, models[0])
    check_user(user)
    if folder.exists() and any(folder.iterdir()) and not any(map(_is_ours, folder.iterdir())):
        raise InputError("exists and is no bundle", file=folder, fix="remove it or give another --output")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as new:
            datasets = _build(Path(new), folder / ".wheels", models, base_model, pythons, name, limit, user, flags)
            _notebook(Path(new) / "notebook", name, user, datasets, competition)
            _swap(Path(new), folder)
    except BaseException:
        with contextlib.suppress(OSError):  # one that holds something stays
            folder.rmdir()
        raise
    return [folder / dataset for dataset in datasets]


def _build(
    new: Path,
    wheel_cache: Path,
    models: Sequence[str],
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
    bundled = BundledModels(rewritten)
    bundled.add(models, base_model)
    lines = needed_requirements(bundled.kinds)
    wheels = download(wheel_cache, pythons, lines)
    requirements = rewritten / "requirements-kaggle.txt"
    write_atomically(requirements, hashed_requirements(wheels, lines))
    files = bundled.files | _code()
    files |= {f"wheels/{wheel.name}": wheel for wheel in [*wheels, requirements]}

    sizes = [path.stat().st_size for path in files.values()]
    places = dict(zip(files, DatasetSizes(name, limit).dataset_of_each(sizes), strict=True))
    datasets = sorted(set(places.values()), key=lambda part: (len(part), part))
    known = {}
    with tqdm(total=sum(sizes), unit="B", unit_scale=True, desc="Bundle") as bar:
        for path, source in files.items():
            target = new / places[path] / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(source, target)
            known[path] = {"dataset": places[path], "bytes": source.stat().st_size, "sha256": sha256(source)}
            bar.update(source.stat().st_size)
    named = [{"model": place} for place in bundled.places]
    manifest = {"datasets": datasets, "models": named, "flags": list(flags), "python": list(pythons), "files": known}
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


def _code() -> dict[str, Path]:
    """The packages' files by their place in the bundle, from a checkout or from where pip installed them."""
    code: dict[str, Path] = {"code/LICENSE": _licence()}
    for package in CODE:
        folder = Path(str(resources.files(package)))
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix in CODE_FILES]
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

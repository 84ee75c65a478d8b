"""Wheels for another machine: resolved by pip for Kaggle's platform and Python, with their hashes.

Source: https://pip.pypa.io/en/stable/cli/pip_download/#options, https://pip.pypa.io/en/stable/topics/secure-installs/.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib.resources import files
from pathlib import Path

from arena_data.errors import InputError

_FOLDER = Path(str(files("reward_model.publish")))
REQUIREMENTS = _FOLDER / "requirements-kaggle.txt"
BASELINES = _FOLDER / "requirements-kaggle-baselines.txt"
# The newest glibc of these is 2.28; Kaggle's image has 2.35.
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_24_x86_64", "manylinux_2_28_x86_64")


def pinned(requirements: Path = REQUIREMENTS) -> list[str]:
    """The lines `name==version` of a requirements file."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def needed_requirements(kinds: Collection[str]) -> list[str]:
    """What a notebook needs beyond the image. kinds: of the baselines; the classical ones have libraries of their own."""
    from reward_model.baselines.base import KINDS  # seconds to import

    classical = any(KINDS[kind][0].startswith("reward_model.baselines.classical.") for kind in kinds)
    return pinned() + (pinned(BASELINES) if classical else [])


def download(folder: Path, pythons: Sequence[str], requirements: Sequence[str]) -> list[Path]:
    """Wheels of the requirements, lines `name==version`, for each of the Python versions; what is there already is kept.

    Raises: InputError where pip finds no wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for python in pythons:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
        for platform in PLATFORMS:
            command += ["--platform", platform]
        done = subprocess.run(
            [*command, "--dest", str(folder), *requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
            raise InputError(f"pip has no wheels for Python {python}: {errors[-1] if errors else done.stderr[-300:]}")
    wanted = {(_plain(name), version) for name, version in (line.split("==") for line in requirements)}
    return [wheel for wheel in sorted(folder.glob("*.whl")) if _name_and_version(wheel) in wanted]


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hashed_requirements(wheels: Sequence[Path], requirements: Sequence[str]) -> str:
    """A requirements file, with the hash of every wheel, which pip checks; wheels of several Pythons share a line.

    Raises: InputError for a requirement without a wheel.
    """
    hashes: dict[tuple[str, str], list[str]] = {}
    for wheel in wheels:
        hashes.setdefault(_name_and_version(wheel), []).append(sha256(wheel))
    lines = []
    for line in requirements:
        name, version = line.split("==")
        of_line = hashes.get((_plain(name), version))
        if not of_line:
            raise InputError("no wheel was downloaded", found=line)
        lines.append(" \\\n    ".join([line, *(f"--hash=sha256:{value}" for value in sorted(of_line))]))
    return "\n".join(lines) + "\n"


def _name_and_version(wheel: Path) -> tuple[str, str]:
    name, version = wheel.name.split("-")[:2]
    return _plain(name), version


def _plain(name: str) -> str:
    """As package indexes compare names, https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()

"""Wheels for another machine: resolved by pip for Kaggle's platform and Python, with their hashes.

Source: https://pip.pypa.io/en/stable/cli/pip_download/#options, https://pip.pypa.io/en/stable/topics/secure-installs/.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from arena_data.errors import InputError

REQUIREMENTS = Path(str(files("reward_model.publish"))) / "requirements-kaggle.txt"
# The newest glibc of these is 2.28; Kaggle's image has 2.35.
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_24_x86_64", "manylinux_2_28_x86_64")


def pinned(requirements: Path = REQUIREMENTS) -> list[str]:
    """The lines `name==version` of a requirements file."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def download(folder: Path, pythons: Sequence[str], requirements: Path = REQUIREMENTS) -> list[Path]:
    """Wheels of everything that is pinned, for each of the Python versions; what is there already is kept.

    Raises: InputError where pip finds no wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for python in pythons:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
        for platform in PLATFORMS:
            command += ["--platform", platform]
        done = subprocess.run(
            [*command, "--dest", str(folder), "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
            raise InputError(f"pip has no wheels for Python {python}: {errors[-1] if errors else done.stderr[-300:]}")
    return sorted(folder.glob("*.whl"))


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hashed_requirements(wheels: Sequence[Path], requirements: Path = REQUIREMENTS) -> str:
    """The requirements with the hash of every wheel, which pip checks; wheels of several Pythons share a line.

    Raises: InputError for a requirement without a wheel.
    """
    hashes: dict[str, list[str]] = {}
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        hashes.setdefault(f"{_plain(name)}=={version}", []).append(sha256(wheel))
    lines = []
    for line in pinned(requirements):
        name, version = line.split("==")
        found = hashes.get(f"{_plain(name)}=={version}")
        if not found:
            raise InputError("no wheel was downloaded", found=line)
        lines.append(" \\\n    ".join([line, *(f"--hash=sha256:{value}" for value in sorted(found))]))
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    """As package indexes compare names, https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()

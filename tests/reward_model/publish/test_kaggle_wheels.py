"""The wheels of a bundle: pinned as in the project, complete, each with its hash."""

import importlib.metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from arena_data.errors import InputError
from reward_model.publish.kaggle_wheels import hashed_requirements, needed_requirements, pinned, sha256
from tests.helpers.kaggle_notebook import image_packages, plain

ROOT = Path(__file__).parents[3]
EVERY = needed_requirements({"lightgbm"})


def test_every_wheel_is_named_with_its_hash(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# why\nSome-Thing==1.0  # this\nother==2\n")
    wheels = [tmp_path / name for name in ("some_thing-1.0-cp311-x.whl", "some_thing-1.0-cp312-x.whl")]
    for wheel in wheels:
        wheel.write_bytes(wheel.name.encode())
    assert pinned(requirements) == ["Some-Thing==1.0", "other==2"]
    with pytest.raises(InputError, match="no wheel was downloaded; found 'other==2'"):
        hashed_requirements(wheels, pinned(requirements))
    text = hashed_requirements(wheels, ["Some-Thing==1.0"])
    assert text.startswith("Some-Thing==1.0") and all(f"--hash=sha256:{sha256(wheel)}" in text for wheel in wheels)


def test_classical_baselines_alone_bring_libraries_of_their_own() -> None:
    assert needed_requirements(set()) == needed_requirements({"style", "frozen"}) == pinned()
    assert {line.split("==")[0] for line in EVERY} > {"scikit-learn", "skops", "lightgbm", "simplemma", "transformers"}


def test_kaggles_versions_are_the_projects() -> None:
    project = {plain(line.split("==")[0]): line.split("==")[1] for line in pinned(ROOT / "constraints.txt")}
    for line in EVERY:
        name, version = line.split("==")
        assert project[plain(name)] == version, name


def test_the_bundle_lacks_nothing() -> None:
    """What its wheels need is among them, or comes with the image."""
    bundled = {plain(line.split("==")[0]) for line in EVERY}
    assert len(bundled) == len(EVERY)
    known = bundled | image_packages()
    for name in bundled:
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert plain(needed.name) in known, f"{name} needs {line}"

"""Runs, baselines and blends in a bundle: elsewhere they predict what they did, and name nothing of this machine."""

import json
import shutil
from pathlib import Path

import pytest

from arena_data.errors import InputError
from arena_data.file_io import write_json
from reward_model.baselines.base import class_of
from reward_model.calibration.blending import Blend
from reward_model.calibration.calibration import Calibration
from reward_model.cli import predict
from reward_model.publish.kaggle_models import BundledModels, members_of
from tests.helpers.commands import SAMPLE, rows_of, write_csv
from tests.helpers.made_battles import Make
from tests.helpers.run_directories import make_run

COLUMNS = ("id", "prompt", "response_a", "response_b")
CALIBRATION = Calibration("temperature", {"temperature": 3.0})


def write_blend(folder: Path, members: tuple[str, ...], weights: tuple[float, ...]) -> Path:
    folder.mkdir()
    write_json(folder / "blend.json", Blend(members, weights, "logarithmic", CALIBRATION).to_json())
    return folder


def submission(models: list[str], folder: Path, name: str) -> str:
    battles = [[row[column] for column in COLUMNS] for row in rows_of(SAMPLE)[:12]]
    battles_file, output = write_csv(folder / "battles.csv", battles), folder / name
    flags = ["--quiet", "--dtype", "float32", "--device", "cpu"]
    assert predict.main(["--model", *models, "--input", str(battles_file), "--output", str(output), *flags]) == 0
    return output.read_text()


def moved(bundled: BundledModels, target: Path) -> None:
    """The bundle's files elsewhere, as a notebook sees them."""
    for place, source in bundled.files.items():
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target / place)


def test_a_blend_with_baselines_keeps_them_their_backbones_and_its_calibration(
    tmp_path: Path, make: dict[str, Make], tiny_bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    backbone = models / "bert"
    shutil.copytree(tiny_bert, backbone)
    make_run(models / "run", model_type="adapter")
    battles = make["length"](60, 1)
    for place, baseline in (
        ("style", class_of("style")()),
        ("frozen", class_of("frozen")(model_name_or_path=str(backbone), max_length=64)),  # type: ignore[call-arg]
        ("frozen-2", class_of("frozen")(model_name_or_path=str(backbone), max_length=32)),  # type: ignore[call-arg]
    ):
        baseline.fit(battles)
        baseline.save(models / place, Calibration("temperature", {"temperature": 0.8}))
    neural = class_of("siamese")(model_name_or_path=str(backbone), max_length=64)  # type: ignore[call-arg]
    neural.start()  # type: ignore[attr-defined]
    neural.save(models / "siamese")
    members = ("../run", "../style", "../frozen", "../frozen-2", "../siamese")
    mixed = write_blend(models / "mix", members, (0.4, 0.2, 0.2, 0.1, 0.1))
    expected = submission([str(mixed)], tmp_path, "expected.csv")
    bundled = BundledModels(tmp_path / "rewritten")
    bundled.add([str(mixed)], [])
    assert bundled.kinds == {"style", "frozen", "siamese"}
    # The backbone of both frozen ones once; that of the last is a part of it.
    assert [name for name in bundled.files if name.endswith("/model.safetensors")] == [
        "weights/1-run-backbone/model.safetensors",
        "weights/2-bert/model.safetensors",
        "runs/5-siamese/backbone/model.safetensors",
    ]
    moved(bundled, tmp_path / "elsewhere")
    for file in (tmp_path / "elsewhere").rglob("baseline.json"):
        assert str(tmp_path) not in file.read_text()
    shutil.rmtree(models)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert submission(bundled.places, tmp_path, "bundled.csv") == expected
    blend = json.loads((tmp_path / "elsewhere" / bundled.places[0] / "blend.json").read_text())
    assert Calibration.from_json(blend["calibration"]) == CALIBRATION


def test_several_models_take_their_backbones_in_turn(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, model_type="adapter", seed=seed) for seed, name in enumerate(("one", "other"))]
    backbones = [str(tmp_path / f"{name}-backbone") for name in ("other", "one")]
    bundled = BundledModels(tmp_path / "rewritten")
    bundled.add([str(run) for run in runs], backbones)
    assert bundled.files["weights/1-one-backbone/model.safetensors"].parent == tmp_path / "other-backbone"
    with pytest.raises(InputError, match="one --base_model, or one a run; found 3; expected 2"):
        BundledModels(tmp_path / "again").add([str(run) for run in runs], ["a", "b", "c"])


def test_what_cannot_be_bundled_is_named(tmp_path: Path) -> None:
    mixed = write_blend(tmp_path / "mix", ("probabilities.csv",), (1.0,))
    with pytest.raises(InputError, match="has a member that cannot be bundled"):
        members_of(str(mixed))
    (tmp_path / "broken").mkdir()
    write_json(tmp_path / "broken" / "baseline.json", {"kind": "oracle"})
    with pytest.raises(InputError, match="unknown kind of baseline"):
        BundledModels(tmp_path / "rewritten").add([str(tmp_path / "broken")], [])

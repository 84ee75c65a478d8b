"""A run directory: what is written comes back, what is broken is named, and the card gives nothing away."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from arena_data.errors import InputError
from reward_model.calibration.calibration import Calibration
from reward_model.model.style_head import REACH_ARRAYS, StyleHead
from reward_model.run_directory.card_sections import figures_section
from reward_model.run_directory.curves import smoothed
from reward_model.run_directory.reading import is_complete, read_run
from reward_model.run_directory.settings import RewardModelConfig
from reward_model.run_directory.writing import begin_run, write_run

HISTORY: list[dict[str, Any]] = [
    *({"loss": 1.12 - 0.004 * step, "step": step, "epoch": step / 40} for step in range(1, 41)),
    {"loss": float("nan"), "step": 41},
    *({"eval_log_loss": 1.1 - 0.0025 * step, "step": step, "epoch": step / 40} for step in (10, 20, 30, 40)),
    {"train_runtime": 3.0, "step": 40},
]
METRICS = {"log_loss": 1.0, "class_prior_log_loss": 1.097, "ece": float("nan"), "by_source": {"arena": np.float32(1.5)}}
CALIBRATION = Calibration("temperature", {"temperature": 1.3}, 1.02, 1.0, 500, 5, 0)


def config(**changes: Any) -> RewardModelConfig:
    settings: dict[str, Any] = {
        "encoding": "separate",
        "tie_link": "davidson",
        "max_length": 512,
        "base_model": "org/backbone",
        "model_type": "adapter",
        "score_module": "score",
        "style": True,
    }
    return RewardModelConfig(**(settings | changes))


def style_head(**changes: Any) -> StyleHead:
    values = np.random.default_rng(0).random(9).astype(np.float32) + 0.1
    arrays: dict[str, Any] = {
        "features": ("log_words", "größe"),
        "style_reward": values[:2],
        "style_tie": -values[2:4],
        "style_similarity": values[4:5],
        "side_mean": values[5:7],
        "side_scale": values[7:9],
        "pair_mean": values[:3],
        "pair_scale": values[3:6],
    }
    return StyleHead(**(arrays | changes))


def write(directory: Path, **changes: Any) -> Path:
    style = style_head() if changes.get("style", True) else None
    write_run(directory, config(**changes), style, CALIBRATION, METRICS, HISTORY)
    return directory


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "new" / "run"))
    assert run.config == config()
    assert run.calibration == CALIBRATION
    assert run.metrics == {"log_loss": 1.0, "class_prior_log_loss": 1.097, "ece": None, "by_source": {"arena": 1.5}}
    assert run.style is not None
    for name, value in dataclasses.asdict(style_head()).items():
        np.testing.assert_array_equal(getattr(run.style, name), value)
    assert not list(run.directory.glob(".*"))


def test_a_style_head_of_an_older_version_is_read_and_holds_nothing(tmp_path: Path) -> None:
    file = write(tmp_path) / "style_head.safetensors"
    with safe_open(file, framework="numpy") as stored:
        metadata = stored.metadata()
        arrays = {name: stored.get_tensor(name) for name in stored.keys() if name not in REACH_ARRAYS}  # noqa: SIM118
    save_file(arrays, file, metadata)
    style = read_run(tmp_path).style
    assert style is not None and np.isinf([*style.difference_reach, *style.pair_low, *style.pair_high]).all()


def test_every_json_file_is_strict(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for file in write(tmp_path).glob("*.json"):
        json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def test_writing_again_leaves_nothing_of_the_run_before(tmp_path: Path) -> None:
    write(tmp_path)
    write_run(tmp_path, config(style=False), None, Calibration(), {}, [])
    assert read_run(tmp_path).style is None
    assert not (tmp_path / "style_head.safetensors").exists()
    assert not (tmp_path / "curves.png").exists()
    assert "curves.png" not in (tmp_path / "README.md").read_text()


def test_a_run_that_is_refused_leaves_the_one_before(tmp_path: Path) -> None:
    write(tmp_path)
    for style, settings in ((None, config()), (style_head(), config(style=False))):
        with pytest.raises(ValueError, match="style"):
            write_run(tmp_path, settings, style, Calibration(), {}, [])
    assert read_run(tmp_path).calibration == CALIBRATION


def test_a_crash_while_writing_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)

    def full(path: Path, text: str) -> None:
        raise InputError("cannot be written: No space left on device", file=path)

    monkeypatch.setattr("reward_model.run_directory.writing.write_atomically", full)
    with pytest.raises(InputError, match="No space left"):
        write(tmp_path, max_length=64)
    with pytest.raises(InputError, match=r"reward_config\.json: missing"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["reward_config.json", "style_head.safetensors", "calibration.json", "metrics.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\0", b"[]", b'{"method": NaN}'])
def test_a_missing_or_broken_file_is_named_in_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    file = write(tmp_path) / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_run(tmp_path)
    message = str(raised.value)
    assert message.startswith(f"{file}: {'missing' if content is None else 'is broken'}")
    assert "\n" not in message
    assert not is_complete(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such run directory"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [{"transcript_version": 99}, {"labels": ["B", "A", "tie"]}, {"tie_link": "x"}, {"max_length": "512"}, {"new": 1}],
)
def test_settings_this_code_cannot_follow_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = write(tmp_path) / "reward_config.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | change))
    with pytest.raises(InputError, match=f"reward_config.json: is broken: .*{next(iter(change))}"):
        read_run(tmp_path)
    del stored["transcript_version"]
    file.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="lack transcript_version"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"style_reward": np.ones(3)},
        {"pair_mean": np.ones(2)},
        {"side_scale": np.zeros(2)},
        {"style_tie": [np.nan, 0]},
        {"difference_reach": np.ones(3)},
        {"difference_reach": [-1.0, 1.0]},
        {"pair_low": np.full(3, np.nan)},
        {"pair_high": np.full(3, -9.0), "pair_low": np.zeros(3)},
    ],
)
def test_a_style_head_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        style_head(**change)


def test_complete_means_weights_and_tokenizer_too(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("adapter_config.json", "adapter_model.safetensors", "tokenizer_config.json"):
        assert not is_complete(tmp_path)
        (tmp_path / name).touch()
    assert is_complete(tmp_path)
    (tmp_path / "calibration.json").unlink()
    assert not is_complete(tmp_path)


def test_complete_means_every_shard(tmp_path: Path) -> None:
    write(tmp_path, model_type="full")
    (tmp_path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"score.weight": "model-1-of-1.safetensors"}}'
    )
    for name in ("config.json", "tokenizer_config.json", "model-1-of-1.safetensors"):
        assert not is_complete(tmp_path)
        (tmp_path / name).touch()
    assert is_complete(tmp_path)


def card_of(directory: Path) -> tuple[dict[str, Any], str]:
    _, front_matter, body = (directory / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front_matter), body


@pytest.mark.parametrize(("model_type", "library"), [("adapter", "peft"), ("full", "transformers")])
def test_the_card_is_what_the_hub_reads(tmp_path: Path, model_type: str, library: str) -> None:
    front_matter, body = card_of(write(tmp_path, model_type=model_type, base_model_revision="abc"))
    [model] = front_matter.pop("model-index")
    assert [(m["type"], m["value"]) for m in model["results"][0]["metrics"]] == [("log_loss", 1.0)]
    assert front_matter == {
        "base_model": "org/backbone",
        "library_name": library,
        "pipeline_tag": "text-classification",
        "tags": ["reward-model", "tie-aware"],
    }
    assert "| log loss | 1.000 |" in body and "![Learning curves](curves.png)" in body
    assert "1.0200 before and 1.0000 after" in body
    ours, code, trl = (block.split("```")[0] for block in body.split("```python\n")[1:])
    compile(ours + code + trl, "card", "exec")
    assert ('"org/backbone", revision="abc"' in code) == (model_type == "adapter")


@pytest.mark.parametrize("place", ["{}/secret/my backbone", "{}/secret/my backbone/", r"C:\secret\my backbone"])
def test_the_card_shows_no_path(tmp_path: Path, place: str) -> None:
    front_matter, body = card_of(write(tmp_path / "run", base_model=place.format(tmp_path)))
    assert front_matter["base_model"] == "my backbone"
    assert "secret" not in body and str(tmp_path) not in body


def test_a_name_cannot_break_out_of_the_card(tmp_path: Path) -> None:
    name = 'x"): pass\n---\n<script>`|[a](b): {load}\n```\n'
    metrics = {"a|b\n# <b>": 0.5}
    write_run(tmp_path, config(base_model=name), style_head(), CALIBRATION, metrics, [])
    front_matter, body = card_of(tmp_path)
    assert front_matter["library_name"] == "peft"
    assert "<script>" not in body.split("```python")[0] and "<b>" not in body
    assert "a|b" not in body and "See metrics.json." in body  # a figure that the card has no words for
    compile(body.split("```python\n")[2].split("\n```\n")[0], "card", "exec")


def test_the_card_shows_figures_in_words_with_their_intervals() -> None:
    metrics = {"log_loss": 1.0216, "accuracy": 0.4849, "tie_rate_seen": 0.31, "battles": 1234, "unknown": 5}
    lines = figures_section(metrics | {"intervals": {"log_loss": [0.9623, 1.0824]}}).splitlines()
    assert "| log loss | 1.022 | 0.962 to 1.082 |" in lines and "| accuracy | 0.485 |  |" in lines
    assert "| ties seen | 31.0 % |  |" in lines and "| validation battles | 1,234 |  |" in lines
    assert not any("unknown" in line for line in lines)


def test_a_smoothed_loss_starts_at_the_loss_and_keeps_a_constant() -> None:
    assert smoothed([2.0] * 50) == pytest.approx([2.0] * 50)
    noisy = smoothed([1.0, 2.0] * 100)
    assert noisy[0] == 1.0 and all(abs(loss - 1.5) < 0.1 for loss in noisy[-20:])


def test_the_curves_are_a_picture(tmp_path: Path) -> None:
    with Image.open(write(tmp_path) / "curves.png") as picture:
        picture.load()
        assert picture.format == "PNG" and min(picture.size) > 300


def test_reading_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; from reward_model.run_directory.reading import read_run; read_run(sys.argv[1]); "
        "print(sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(write(tmp_path))]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3]).stdout
    assert printed.strip() == "[]"


def test_a_run_that_is_begun_is_no_run(tmp_path: Path) -> None:
    """Killed after the new weights are saved: the old settings must not make a run of them."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (write(tmp_path) / name).write_text("old")
    begin_run(tmp_path, "full")
    (tmp_path / "model.safetensors").write_bytes(b"new")
    assert (tmp_path / "style_head.safetensors").exists() and not list(tmp_path.glob("adapter_*"))
    with pytest.raises(InputError, match=r"reward_config\.json: missing"):
        read_run(tmp_path)
    write(tmp_path)
    assert read_run(tmp_path).style is not None

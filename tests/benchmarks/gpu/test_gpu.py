"""The check of a GPU, tried on a CPU with tiny models: its sections run, find what is wrong, and keep to the time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import __main__ as check
from benchmarks.gpu import device, equality, models
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.results import Results
from reward_model.model.packed import piece_attention
from reward_model.model.packed.reader import PackedReader

FAST = ["fallbacks", "plans", "pieces", "prediction_gemma9b", "training_llama8b", "out_of_memory"]
CPU = torch.device("cpu")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "default_device", lambda: CPU)


def run(output: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    status = check.main(["--tiny", "--output", str(output), *flags])
    return status, json.loads(output.read_text())


@pytest.mark.usefixtures("no_gpu")
def test_sections_run_and_leave_rows_that_are_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, results = run(tmp_path / "check.json", "--sections", *FAST)
    shown = capsys.readouterr()
    assert status == 0, shown.err
    assert list(results["sections"]) == FAST and not results["errors"] and not results["skipped"]
    for rows in results["sections"].values():
        assert all(row.get("ok", True) for row in rows)
    systems = {row["system"]: row for row in results["sections"]["training_llama8b"]}
    assert systems["ours"]["packed"] and systems["trl"]["ours_by_trl"] > 0
    # The same steps, whatever the system: both have read about as many tokens a step.
    tokens = [row["row_tokens_a_second"] * row["step_seconds"] for row in systems.values()]
    assert tokens[0] == pytest.approx(tokens[1], rel=0.5)
    assert "| model | way | pieces | tokens |" in shown.out and "training_llama8b, " in shown.out


@pytest.mark.scale
@pytest.mark.usefixtures("no_gpu")
def test_quantised_steps_and_plans_run_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ("gemma2", "modernbert", "deberta-v2")
    monkeypatch.setattr(equality, "ARCHITECTURES", {name: equality.ARCHITECTURES[name] for name in few})
    names = ["equality", "quantised", "memory"]
    status, results = run(tmp_path / "check.json", "--sections", *names)
    assert status == 0 and list(results["sections"]) == names
    packed = {row["model"]: row["packed"] for row in results["sections"]["equality"]}
    assert packed == {"gemma2": True, "modernbert": True, "deberta-v2": False}
    assert all(row["planned_gib"] > 0 for row in results["sections"]["memory"])


@pytest.mark.scale
@pytest.mark.usefixtures("no_gpu")
def test_engines_end_as_one_process_does(tmp_path: Path) -> None:
    status, results = run(tmp_path / "check.json", "--sections", "engines")
    assert status == 0
    rows = results["sections"]["engines"]
    assert [row["engine"] for row in rows] == ["none", "zero1", "zero2"]
    assert max(row["loss_differs_by"] for row in rows) < 1e-3  # float32 here


@pytest.mark.usefixtures("no_gpu")
def test_what_is_wrong_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packed scores that are another row's; a section that breaks; the next still runs."""
    stock = PackedReader.scores
    monkeypatch.setattr(equality, "packed_reader", lambda model, longest: PackedReader(model))
    monkeypatch.setattr(PackedReader, "scores", lambda reader, rows: stock(reader, rows).roll(1, dims=0))

    def broken(bench: Bench) -> None:
        raise ValueError("no such kernel\nat line 3")

    monkeypatch.setitem(check.SECTIONS, "plans", check.Section(broken, 1))
    status, results = run(tmp_path / "check.json", "--sections", "plans", "fallbacks")
    assert status == 1
    assert results["errors"] == {"plans": "ValueError: no such kernel at line 3"}
    assert [row["ok"] for row in results["sections"]["fallbacks"]] == [False] * 3
    errors = capsys.readouterr().err
    assert "error: plans: ValueError" in errors and "error: fallbacks: model llama" in errors


def test_sections_without_time_left_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    ran: list[str] = []

    def work(name: str) -> Callable[[Bench], None]:
        def section(bench: Bench) -> None:
            nonlocal now
            ran.append(name)
            now += 40

        return section

    for name, seconds in (("equality", 50), ("plans", 70), ("pieces", 50), ("engines", 30)):
        monkeypatch.setitem(check.SECTIONS, name, check.Section(work(name), seconds))
    bench = Bench(Results(tmp_path / "check.json"), CPU)
    check.run(bench, ["equality", "plans", "pieces", "engines"], 100, clock=lambda: now)
    assert ran == ["equality", "pieces"]
    skipped = {"plans": "60 s left, 70 s needed", "engines": "20 s left, 30 s needed"}
    assert json.loads((tmp_path / "check.json").read_text())["skipped"] == skipped


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_only_the_logic_can_be_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--output", str(tmp_path / "check.json")]) == 2
    assert capsys.readouterr().err == "error: no GPU was found; --tiny tests the logic on a CPU\n"
    with pytest.raises(SystemExit):
        check.main(["--tiny", "--limit", "8"])
    assert "expected a number with its unit" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["llama8b", "gemma9b"])
def test_flops_are_those_that_pytorch_counts(name: str) -> None:
    config = models.shape(name, tiny=True)
    model = models.random_model(config, torch.float32, CPU)
    battles = models.random_battles(3, 96, config.vocab_size)
    reader = PackedReader(model)
    rows = [row for battle in battles for row in battle]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        reader.scores(rows)
    counted = {str(operation): flops for operation, flops in counter.get_flop_counts()["Global"].items()}
    needed = models.needed_flops(model, battles, training=False)
    pairs = sum(len(row) ** 2 for row in rows) / 2
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * pairs
    assert counted["aten.mm"] == pytest.approx(
        needed - attention, rel=1e-4
    )  # a prompt once; the score layer is left out
    if (
        name == "gemma9b"
    ):  # PyTorch does not count the fused attention of a CPU; two products it does, with their other half
        assert attention < counted["aten.bmm"] < 2 * attention
    assert models.needed_flops(model, battles, training=True) == 3 * needed


def test_battles_share_their_prompts_unless_they_are_full() -> None:
    battles = models.random_battles(20, 200, 100)
    assert models.distinct_tokens(battles) < models.row_tokens(battles)
    full = models.random_battles(3, 50, 100, full=True)
    assert models.distinct_tokens(full) == models.row_tokens(full) == 300


def test_a_gpu_is_taken_for_a_t4_inside_the_block_only() -> None:
    stock, cuda = torch.cuda.get_device_capability, torch.device("cuda")
    with device.as_capability(7, 5):
        assert torch.cuda.get_device_capability(cuda) == (7, 5)
        assert not piece_attention._knows_groups(cuda)
    assert torch.cuda.get_device_capability is stock
    piece_attention._knows_groups.cache_clear()


def test_a_table_has_the_columns_that_any_row_has() -> None:
    results = Results(environment={"device": "a|b"})
    results.add("one", way="x", seconds=0.123456, ok=True)
    results.add("one", way="y", error=None)
    results.skipped["two"] = "3 s left, 60 s needed"
    table = results.markdown()
    assert "device a/b" in table
    assert (
        "| way | seconds | ok | error |\n| --- | --- | --- | --- |\n| x | 0.1235 | yes |  |\n| y |  |  | – |" in table
    )
    assert table.endswith("two: skipped, 3 s left, 60 s needed")

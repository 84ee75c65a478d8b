"""P(usable) and the absolute zero of a run with both-bad as an outcome, wherever it is shown."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from arena_data.errors import InputError
from arena_data.loading import load_battles
from reward_model.__main__ import main
from reward_model.api import RewardModel
from reward_model.cli.predict import main as predict
from reward_model.model.four_outcomes import four_log_probabilities
from reward_model.predict.member import Job
from reward_model.predict.predictor import Predictor
from reward_model.publish.demo.comparison import compare
from reward_model.publish.demo.shown import comparison_html
from reward_model.publish.export import export
from reward_model.report.from_prediction import Reported, report_data
from reward_model.report.page import render_report, report_json
from tests.helpers.run_directories import make_run

TEXTS = ("What is 2 + 2?", "4.", "It is **five**, I think.\n\n- five\n- or not")


@pytest.fixture(scope="module", params=["davidson", "rao_kupper"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", tie_link=request.param, outcomes="four")


@pytest.fixture(scope="module")
def model(run: Path) -> RewardModel:
    return RewardModel.from_pretrained(run, dtype="float32", device="cpu", calibrated=False)


def test_three_classes_are_the_sum_of_four_and_a_swap_changes_nothing(model: RewardModel) -> None:
    prompt, a, b = TEXTS
    scores = model.run.predicted(model.run.member, "raise", [prompt], [a], [b]).scores
    assert scores is not None
    readings = [torch.from_numpy(values) for values in (scores.reward_a, scores.reward_b, scores.tie_strength)]
    link = model.run.member.run.config.tie_link
    four = four_log_probabilities(readings[0], readings[1], readings[2], link).exp()[0].tolist()
    assert list(model.compare(*TEXTS)) == pytest.approx([four[0], four[1], four[2] + four[3]], abs=1e-9)
    assert scores.both_bad(link)[0] == pytest.approx(four[3])
    turned = model.compare(prompt, b, a)
    assert [turned.b, turned.a, turned.tie] == pytest.approx(list(model.compare(*TEXTS)), abs=1e-6)
    # The number of a response does not depend on what it is compared with.
    assert model.usable(prompt, a) == pytest.approx(1 / (1 + np.exp(-scores.reward_a[0])), abs=1e-6)


def test_without_style_a_reward_above_the_zero_is_a_usable_response(run: Path) -> None:
    plain = RewardModel.from_pretrained(run, dtype="float32", device="cpu", style=False)
    prompts, responses = [TEXTS[0]] * 2, list(TEXTS[1:])
    rewards, shares = plain.reward(prompts, responses), plain.usable(prompts, responses)
    assert shares == pytest.approx(1 / (1 + np.exp(-rewards)))
    # The zero is taken off the stock reward, w·h.
    scorer = plain.run.plain._loaded_scorer()
    layer = next(module for module in scorer.loaded.model.modules() if hasattr(module, "zero"))
    with torch.no_grad():
        layer.zero += 1
    assert plain.reward(prompts, responses) == pytest.approx(rewards - 1, abs=1e-5)


def test_a_run_of_three_outcomes_has_no_zero(tmp_path: Path) -> None:
    other = RewardModel.from_pretrained(make_run(tmp_path / "run"), dtype="float32", device="cpu")
    with pytest.raises(InputError, match="knows no absolute zero; train with --outcomes four") as raised:
        other.usable(*TEXTS[:2])
    assert "\n" not in str(raised.value)
    assert "sable" not in comparison_html(compare(other, *TEXTS), *TEXTS)


def test_settings_of_before_say_three(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = RewardModel.from_pretrained(run, dtype="float32", device="cpu").compare(*TEXTS)
    settings = json.loads((run / "reward_config.json").read_text())
    assert settings.pop("outcomes") == "three"
    (run / "reward_config.json").write_text(json.dumps(settings))
    assert RewardModel.from_pretrained(run, dtype="float32", device="cpu").compare(*TEXTS) == before


def test_settings_that_do_not_fit_the_weights_are_refused(run: Path, tmp_path: Path) -> None:
    for made, outcomes in ((make_run(tmp_path / "three"), "four"), (run, "three")):
        copy = tmp_path / f"copy-{outcomes}"
        copy.mkdir()
        for file in made.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        settings = json.loads((copy / "reward_config.json").read_text()) | {"outcomes": outcomes}
        (copy / "reward_config.json").write_text(json.dumps(settings))
        with pytest.raises(ValueError, match="zero"):
            RewardModel.from_pretrained(copy, dtype="float32", device="cpu")


def test_compare_demo_and_predictions_show_it(
    run: Path, model: RewardModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(run), "--device", "cpu", "--dtype", "float32", "--prompt", TEXTS[0]]
    assert main(["compare", *flags, "--a", TEXTS[1], "--b", TEXTS[2], "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = [model.usable(TEXTS[0], response) for response in TEXTS[1:]]
    assert [printed["usable_a"], printed["usable_b"]] == pytest.approx(expected, abs=1e-6)
    assert main(["compare", *flags, "--a", TEXTS[1], "--b", TEXTS[2]]) == 0
    assert f"usable: A {expected[0]:.0%}, B {expected[1]:.0%}" in capsys.readouterr().out
    shown = comparison_html(compare(model, *TEXTS), *TEXTS)
    assert re.findall("usable ([^<]*)<", shown) == [f"{100 * share:.1f} %" for share in expected]

    names = ["tie (bothbad)", "tie", "model_a", "model_b"]
    battles = tmp_path / "battles.jsonl"
    rows = [
        {"prompt": f"{TEXTS[0]} {n}", "response_a": "a" * (n + 1), "response_b": f"{n} b", "winner": names[n % 4]}
        for n in range(24)
    ]
    battles.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out.csv"
    flags = ["--model", str(run), "--device", "cpu", "--dtype", "float32", "--input", str(battles), "--rewards"]
    assert predict([*flags, "--output", str(output)]) == 0
    with output.open() as file:
        written = list(csv.DictReader(file))
    loaded = load_battles(str(battles))
    columns = [list(loaded[name]) for name in ("prompt", "response_a", "response_b")]
    for side, column in (("a", columns[1]), ("b", columns[2])):
        assert [float(row[f"usable_{side}"]) for row in written] == pytest.approx(
            model.usable(columns[0], column), abs=1e-6
        )
    job, predictor = Job(loaded), Predictor([model.run.member])
    data = report_data(Reported(job, predictor, predictor.run(job)), {}, 0)
    whole = report_json(data)
    figures = whole["usable"]
    assert figures["both_bad_seen"]["value"] == pytest.approx(0.25) and len(figures["responses"]) == 24
    assert data.usable is not None
    said = data.usable.both_bad
    pairs = [float(said[bad] > said[other]) for bad in range(0, 24, 4) for other in range(24) if other % 4]
    assert figures["both_bad_auc"]["value"] == pytest.approx(np.mean(pairs))
    shown = render_report(data, whole)
    assert "AUC of both bad" in shown and shown.count(", usable ") >= 2


def test_an_export_says_where_the_zero_lies(run: Path, tmp_path: Path) -> None:
    """Llama's score layer has no bias, so stock logits keep it and the card names it."""
    export(run, tmp_path / "export", device="cpu", battles=load_battles_of_three(tmp_path))
    assert "likelier usable than not where it is above 0.4" in (tmp_path / "export" / "README.md").read_text()


def load_battles_of_three(folder: Path) -> object:
    path = folder / "three.jsonl"
    row = {"response_a": "yes", "response_b": "no"}
    path.write_text("".join(json.dumps({"prompt": f"p{n}"} | row) + "\n" for n in range(3)))
    return load_battles(str(path))

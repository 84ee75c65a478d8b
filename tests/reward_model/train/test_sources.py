"""Sources of training battles: who records ties, grades of any scale, weights given or chosen, nothing held out in them."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from arena_data.errors import InputError
from arena_data.loading import load_battles
from reward_model.model.source_offsets import SourceInputs
from reward_model.train.initial_weights import fit_style
from reward_model.train.mixed_sources import choose_weights
from reward_model.train.sources import ExtraBattles, Sources, grade_lines, parse_weights, read_sources, scale_of
from tests.helpers.made_battles import by_length
from tests.reward_model.train.test_initial_weights import battles as styled


def test_grades_of_any_scale() -> None:
    assert scale_of([1.0, 2.0, None, 2.0]) == (1.0, 2.0)
    assert scale_of([2.0, 2.0]) == () and scale_of([]) == ()
    many = scale_of(list(np.linspace(0, 1, 101)))
    assert len(many) == 4 and many[0] == 0
    sources = Sources(("other",), (True, False), ((), (0.0, 1 / 3, 1.0)), (1.0, 0.5))
    rows = datasets.Dataset.from_dict({"strength": [0.0, 1 / 3, 1.0, None, 1.0]})
    inputs = sources.inputs(rows, np.array([1, 1, 1, 1, 0]))
    assert inputs.grade.tolist() == [1, 2, 3, 0, 0] and inputs.levels.tolist() == [3, 3, 3, 3, 0]
    assert inputs.tie_observed.tolist() == [False] * 4 + [True] and inputs.weight.tolist() == [0.5] * 4 + [1.0]


def test_weights_as_they_are_given() -> None:
    names = ("one", "a=b")
    assert parse_weights(["cv"], names) == {"one": None, "a=b": None}
    assert parse_weights(["0.5"], names) == {"one": 0.5, "a=b": 0.5}
    assert parse_weights(["a=b=0", "0.5"], names) == {"one": 0.5, "a=b": 0.0}
    assert parse_weights(["one=cv", "2"], names) == {"one": None, "a=b": 2.0}
    for wrong, message in (("-1", "a number of at least 0"), ("no", "a number"), ("ome=1", "did you mean one?")):
        with pytest.raises(InputError, match=message):
            parse_weights([wrong], names)


def test_every_grade_is_used_or_said_to_be_left_out() -> None:
    graded = by_length(3, 0).remove_columns("strength").add_column("strength", [1.0, 2.0, None])
    scale = (1.0, 2.0)
    assert grade_lines(Sources(scales=(scale,)), graded, None, grades="own") == [
        "2 graded battles train an ordered link (2 grades of a win)"
    ]
    assert "2 battles are not used (--grades none)" in grade_lines(Sources(), graded, None, grades="none")[0]
    assert "only one" in grade_lines(Sources(), graded, None, grades="own")[0]
    assert grade_lines(Sources(), by_length(3, 0), None, grades="own") == []
    extra = ExtraBattles(graded, np.array([1, 1, 1]))
    used, left_out = grade_lines(Sources(("other",), (True, True), (scale, ()), (1, 1)), graded, extra, grades="own")
    assert used.startswith("2 graded battles train")
    assert left_out == "grades of 2 battles of other sources are not used (--grades own); --grades all uses them"
    both = Sources(("other",), (True, True), (scale, scale), (1, 1))
    assert [line.split()[0] for line in grade_lines(both, graded, extra, grades="all")] == ["4"]


@pytest.mark.parametrize(
    ("grades", "graded"), [("own", [True, False]), ("all", [True, True]), ("none", [False, False])]
)
def test_grades_of_other_sources_are_used_only_where_it_is_asked(
    grades: str, graded: list[bool], tmp_path: Path
) -> None:
    rows = [
        {
            "prompt": f"{name} {number}",
            "response_a": "yes",
            "response_b": "no",
            "winner": "a",
            "strength": 1 + number % 2,
        }
        for name in ("other", "own")
        for number in range(4)
    ]
    files = [tmp_path / f"{name}.jsonl" for name in ("other", "own")]
    for file, part in zip(files, (rows[:4], rows[4:]), strict=True):
        file.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    own = load_battles(str(files[1]))
    nothing = own.select([])
    sources, _ = read_sources(
        [str(files[0])], {"train": own, "validation": nothing, "calibration": nothing}, grades=grades
    )
    assert [bool(scale) for scale in sources.scales] == graded


def test_a_source_that_agrees_counts_and_one_that_contradicts_does_not() -> None:
    own, _, _ = styled(90, seed=1)
    same, _, _ = styled(600, seed=2)
    other, _, _ = styled(600, seed=3)
    against = other._replace(verdicts=other.verdicts[:, [1, 0, 2]])
    both = same._replace(
        difference=torch.cat([same.difference, against.difference]),
        pair=torch.cat([same.pair, against.pair]),
        verdicts=torch.cat([same.verdicts, against.verdicts]),
    )
    source = np.repeat([1, 2], 600)
    extra = ExtraBattles(datasets.Dataset.from_dict({"group": [f"e{row}" for row in range(1200)]}), source)
    sources = Sources(("same", "against"), (True, True, True), ((), (), ()), (1.0, 1.0, 1.0))
    groups = [str(row) for row in range(90)]
    assert choose_weights(own, both, groups, sources, extra, ["same", "against"], "davidson", -0.4) == [0.5, 0.0]
    # Where all of a source's prompts are held out in turn, nothing of it is left to learn from.
    shared = ExtraBattles(datasets.Dataset.from_dict({"group": ["0"] * 1200}), source)
    one_group = ["0"] * 90
    assert choose_weights(own, both, one_group, sources, shared, ["same"], "davidson", -0.4) == [0.0]


@pytest.mark.parametrize("link", ["davidson", "rao_kupper"])
def test_the_fit_finds_a_sources_rate_of_ties_and_leaves_ours_alone(link: str) -> None:
    data, reward, _ = styled(4000, link, seed=4)
    random = np.random.default_rng(0)
    # The second half: of its ties three in four became a win by a toss-up; of the rest nothing changed.
    source = torch.tensor([0, 1]).repeat_interleave(2000)
    lost = (data.verdicts[:, 2] == 1) & (source == 1) & torch.from_numpy(random.random(4000) < 0.75)
    verdicts = data.verdicts.clone()
    verdicts[lost] = torch.from_numpy(np.eye(3)[random.integers(0, 2, int(lost.sum()))])
    ones, zeros = torch.ones(4000), torch.zeros(4000, dtype=torch.int64)
    inputs = SourceInputs(source, ones, ones.bool(), zeros, zeros)
    groups = [str(row) for row in range(4000)]
    mixed = fit_style(data._replace(verdicts=verdicts, inputs=inputs, sources=1), groups, link, 0.0)
    assert mixed.source_bias[0] < -0.8
    alone = fit_style(data.rows(source == 0), groups[:2000], link, 0.0)
    torch.testing.assert_close(mixed.tie_bias, alone.tie_bias, atol=0.15, rtol=0)
    assert float(mixed.style_reward[0]) == pytest.approx(float(reward[0]), abs=0.35)


def test_a_ridge_pulls_to_another_runs_style() -> None:
    data, reward, tie = styled(30, seed=5)
    centre = torch.cat([reward, tie])
    groups = [str(row) for row in range(30)]
    pulled = fit_style(data, groups, "davidson", -0.4, centre)
    from_nothing = fit_style(data, groups, "davidson", -0.4)
    assert (pulled.style_reward - reward).norm() < (from_nothing.style_reward - reward).norm()
    assert pulled.log_loss < from_nothing.log_loss

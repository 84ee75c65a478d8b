"""A run that is killed and started again ends with the bytes of one that nothing interrupted.

The suite kills at one moment, `make scale` at a few more. `python -m tests.hostile.test_kills --kills 24` kills at that
many, chosen ones first and then at random, and says what became of each.
"""

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

import pytest

from tests.helpers.killed_training import Moment, Trainings, contents
from tests.helpers.tiny_models import write_backbone

SAVING, TRAINER = "reward_model.train.checkpoints.checkpoint_trainer", "transformers.trainer"
MOMENTS = (
    Moment("arena_data.file_io", "os.replace", 2),  # the manifest is written under another name
    Moment("reward_model.train.finish", "write_run"),  # the model is saved, its settings are not
    Moment(SAVING, "write_manifest", 2, "after"),  # an earlier checkpoint is not yet removed
    Moment(TRAINER, "Trainer._save_optimizer_and_scheduler", 1),
    Moment(TRAINER, "Trainer._save_optimizer_and_scheduler", 2, "after"),
    Moment(TRAINER, "Trainer._save_rng_state", 3, "after"),
    Moment(SAVING, "write_manifest", 1),
    Moment(SAVING, "rotate_checkpoints", 3, "after"),
    Moment(TRAINER, "Trainer._load_best_model"),
    Moment(TRAINER, "Trainer.predict", 1, "after"),
    Moment("reward_model.train.finish", "write_run", 1, "after"),
    Moment("reward_model.train.finish", "write_submission"),
)
MORE = 4


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    return Trainings(backbone(tmp_path_factory.mktemp("backbone")))


@pytest.fixture(scope="module")
def whole(trainings: Trainings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert trainings.run(output) == 0
    return contents(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", [MOMENTS[0], *(pytest.param(moment, marks=pytest.mark.scale) for moment in MOMENTS[1:MORE])], ids=str
)
def test_killed_and_started_again_it_ends_with_the_same_bytes(
    moment: Moment, trainings: Trainings, whole: dict[str, bytes], tmp_path: Path
) -> None:
    assert trainings.run(tmp_path / "run", moment=moment) == -9
    assert not (tmp_path / "run" / "reward_config.json").exists()
    assert trainings.run(tmp_path / "run") == 0
    assert contents(tmp_path / "run") == whole


def backbone(folder: Path) -> Path:
    return write_backbone(folder, hidden_size=16, intermediate_size=24, attention_dropout=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=24, help="how many (default: 24)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        trainings = Trainings(backbone(Path(folder, "backbone")))
        assert trainings.run(Path(folder, "whole")) == 0
        started = time.perf_counter()
        assert trainings.run(Path(folder, "again")) == 0
        seconds = time.perf_counter() - started
        whole = contents(Path(folder, "whole"))
        assert contents(Path(folder, "again")) == whole
        print(f"uninterrupted twice: the same bytes; {seconds:.1f} s each")
        draw = random.Random(options.seed)
        kills = runs = 0
        while kills < options.kills:
            output, story, runs = Path(folder, f"run-{runs}"), [], runs + 1
            # A chosen moment ends a run once; a random one again and again, until the run outlives it.
            moments = [str(moment) for moment in MOMENTS[kills : kills + 1]]
            if moments:
                assert trainings.run(output, moment=MOMENTS[kills]) == -9, f"{moments[0]}: never came"
                story += moments
                kills += 1
            while not moments and kills < options.kills:
                after = draw.uniform(0, seconds)
                if trainings.run(output, seconds=after) != -9:
                    break
                story.append(f"after {after:.2f} s")
                kills += 1
            status = trainings.run(output)
            if status != 0 or contents(output) != whole:
                raise SystemExit(
                    f"killed {', '.join(story)}: ANOTHER END\n" + Path(f"{output}.log").read_text()[-2000:]
                )
            print(f"killed {', '.join(story) or 'too late'}: the same bytes", flush=True)
        print(f"{kills} kills in {runs} runs")


if __name__ == "__main__":
    main()

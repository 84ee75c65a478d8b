"""Battles in, a submission out: `python predict.py --model runs/minilm --input test.csv --output submission.csv`.

| exit status | means |
| --- | --- |
| 0 | every row was scored, and all that was asked for was written |
| 2 | something a person has to mend, said in one line; no file was written |
| 3 | the submission was written, but rows have the prior, or the report failed |
| 130, 143 | ended by SIGINT or SIGTERM |

A run that is stopped goes on from its finished shards when the same command is given again.
"""

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arena_data.arguments import is_first_process
from arena_data.containers.limit_flags import limits_of
from arena_data.errors import InputError
from reward_model.cli.console.messages import say
from reward_model.cli.console.stopping import ended_by_signals
from reward_model.cli.flags import PredictionFlags, parse_flags, task_of
from reward_model.cli.flags import parser as parser
from reward_model.errors import require

if TYPE_CHECKING:
    import datasets

    from reward_model.predict.member import FloatArray, Job
    from reward_model.predict.predictor import Prediction, Predictor
    from reward_model.predict.processes import Team
    from reward_model.predict.task import PredictionTask

# Libraries that take seconds to import, or that look for a network, come after the flags.


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    started = time.monotonic()
    keep_quiet()
    flags = parse_flags(arguments)
    try:
        with ended_by_signals("the same command goes on from the finished shards"), _no_empty_folder(flags):
            return predict(flags, started)
    except (ValueError, OSError) as error:
        # What is wrong with flags, battles or files, all of a launcher's processes find.
        if is_first_process() or not isinstance(error, InputError):
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


@contextlib.contextmanager
def _no_empty_folder(flags: PredictionFlags) -> Iterator[None]:
    """Removes the work folder of a prediction that ended before its first shard."""
    try:
        yield
    finally:
        from reward_model.predict.shard_store import work_folder

        with contextlib.suppress(OSError):
            work_folder(Path(flags.output).resolve()).rmdir()


def predict(flags: PredictionFlags, started: float) -> int:
    """The stages of a prediction. Raises: ValueError or OSError, one line, before the submission is written."""
    from reward_model.predict.coverage import fitted_thresholds, stored_thresholds
    from reward_model.predict.open_member import check_rewards
    from reward_model.predict.processes import launched_team, processes_wanted, team_of
    from reward_model.predict.shard_store import remove_work
    from reward_model.predict.task import work

    if flags.engine == "ray":
        from reward_model.cli.predict_on_ray import predict_on_ray

        check_coverage(flags)
        return predict_on_ray(flags, started)

    # 1. What can be refused before a model is loaded.
    check_engine(flags)
    task = task_of(flags, flags.time_limit, started)
    launched = launched_team()
    if launched and flags.num_processes not in (None, launched.size):
        raise InputError(
            "the launcher decides how many processes there are",
            found=flags.num_processes,
            expected=f"{launched.size}",
            fix="leave out --num_processes",
        )
    if flags.device_map and (flags.num_processes or (launched.size if launched else 1)) > 1:
        raise InputError(
            "a model that is spread over all GPUs is read by one process",
            found=flags.num_processes or "a launcher's processes",
            fix="leave out --device_map, or --num_processes and the launcher",
        )
    check_coverage(flags)
    if launched and not launched.is_main:
        work(launched, task)
        return 0
    battles = read_battles(flags)
    labelled = read_coverage_labels(flags)

    # 2. Every row scored, on all devices.
    processes = 1 if flags.device_map else processes_wanted(flags.num_processes, flags.device)
    with team_of(processes, help_out, task) as team:
        predictor, job = task.begin(battles, team)
        if flags.rewards:
            check_rewards(predictor.members)
        thresholds = stored_thresholds(predictor.members) if flags.coverage and labelled is None else {}
        prediction = predictor.run(job)
        if labelled is not None:
            thresholds = fitted_thresholds(predictor, job, labelled)

    # 3. The submission, whole or not at all.
    write(flags, battles, prediction, thresholds)

    # 4. The report, where it is asked for. The submission is there by now, whatever happens.
    reported = not (flags.report or flags.json) or report(flags, job, predictor, prediction)
    remove_work(Path(flags.output))

    # 5. What there is to say of it.
    all_scored = summarise(flags, battles, predictor, prediction, time.monotonic() - started)
    return 0 if all_scored and reported else 3


def check_engine(flags: PredictionFlags) -> None:
    """Raises: InputError for flags that only a cluster can honour."""
    only = ("ray_address", "actors", "num_cpus", "num_gpus", "partition_rows")
    if given := [f"--{name}" for name in only if getattr(flags, name) is not None]:
        raise InputError(f"{', '.join(given)}: of use with --engine ray only", fix="add --engine ray, or leave it out")


def read_battles(flags: PredictionFlags) -> "datasets.Dataset":
    """The battles; says what was odd about them. Raises: InputError for input or output that will not do."""
    from arena_data.file_io import check_output
    from arena_data.loading import load_battles, named_files
    from arena_data.reading.cleaning import oddity_lines
    from reward_model.predict.open_member import files_read

    models = [*flags.model, *(flags.base_model or []), *(flags.peers or [])]
    named = named_files([*flags.input, *([flags.coverage_labels] if flags.coverage_labels else [])])
    used: list[str | Path] = [*named, *(file for model in models for file in files_read(model))]
    check_output(flags.output, *used)
    if flags.report:
        check_output(flags.report, *used, flags.output)
    battles = load_battles(flags.input, labels="optional", limits=limits_of(flags.read_limits))
    if flags.report or flags.json:
        from reward_model.report.from_prediction import check_labels

        if flags.peers is None:
            require("lightgbm", "sklearn", "skops")  # before hours of prediction

        check_labels(battles, ", ".join(flags.input))
    say(f"{len(battles):,} battles", *oddity_lines(battles["oddities"]))
    return battles


def check_coverage(flags: PredictionFlags) -> None:
    """Raises: InputError for flags under which the coverage would not hold."""
    if flags.coverage is None:
        if flags.coverage_labels:
            raise InputError("--coverage_labels is of use with --coverage only", fix="add --coverage 0.9")
        return
    if flags.time_limit:
        raise InputError("--coverage does not hold for texts that are shortened for want of time; drop --time_limit")
    changed = {
        "--calibration none": flags.calibration == "none",
        "--style off": flags.style == "off",
        "--max_length": flags.max_length is not None,
        "--swap_average": flags.swap_average,
        "--load_in_4bit": flags.load_in_4bit,
        "--load_in_8bit": flags.load_in_8bit,
    }
    if not flags.coverage_labels and (named := [flag for flag, given in changed.items() if given]):
        raise InputError(
            "--coverage was calibrated without these flags",
            found=", ".join(named),
            fix="leave them out, or name labelled battles in --coverage_labels",
        )


def read_coverage_labels(flags: PredictionFlags) -> "datasets.Dataset | None":
    """The labelled battles that sets are fitted on; None where calibration has kept their thresholds."""
    if not flags.coverage_labels:
        return None
    from arena_data.loading import load_battles

    battles = load_battles(flags.coverage_labels, labels="required", limits=limits_of(flags.read_limits))
    if not len(battles):
        raise InputError("has no rows", file=flags.coverage_labels, expected="labelled battles")
    return battles


def help_out(team: "Team", task: "PredictionTask") -> None:
    """What a process does that the main one has started."""
    keep_quiet()
    from reward_model.predict.task import help_out

    help_out(team, task)


def write(
    flags: PredictionFlags, battles: "datasets.Dataset", prediction: "Prediction", thresholds: "dict[str, float]"
) -> None:
    """The submission, with the rewards and the verdict sets that are asked for; says how wide the sets are.

    Raises: InputError where it cannot be written.
    """
    import numpy as np

    from arena_data.submission import write_submission

    extra: dict[str, np.ndarray] | None = None
    if flags.rewards:
        from reward_model.predict.columns import reward_columns

        extra = reward_columns(prediction)
    texts = None
    if flags.coverage:
        from reward_model.calibration.verdict_sets import set_texts
        from reward_model.predict.columns import sets_of
        from reward_model.predict.coverage import sets_line

        sets = sets_of(prediction, thresholds[str(flags.coverage)])
        texts = {"verdict_set": set_texts(sets)}
        say(sets_line(flags.coverage, sets, battles))
    write_submission(flags.output, battles["id"], np.exp(prediction.log_probs), extra, texts)


def report(flags: PredictionFlags, job: "Job", predictor: "Predictor", prediction: "Prediction") -> bool:
    """The report's page and its figures; False where they failed, which is said in one line."""
    try:
        write_report(flags, job, predictor, prediction)
    except Exception as error:  # the submission is whole: whatever goes wrong now, the reader must learn that
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"error: the report failed ({reason}); {flags.output} is written and whole", file=sys.stderr)
        return False
    return True


def write_report(flags: PredictionFlags, job: "Job", predictor: "Predictor", prediction: "Prediction") -> None:
    """Raises: InputError where the page cannot be written."""
    import json

    from reward_model.report import page
    from reward_model.report.from_prediction import Reported, labelled, own_prior, report_data, simple_peers

    known = job.battles.select(labelled(job.battles))
    if flags.peers is None:
        peers, left_out = simple_peers(known, predictor.members, progress=not flags.quiet)
    else:
        peers, left_out = named_peers(flags.peers, known) | own_prior(predictor.members, len(known)), []
    data = report_data(Reported(job, predictor, prediction), peers, flags.audit_battles, left_out)
    figures = page.report_json(data)
    if flags.report:
        page.write_report(flags.report, data, figures)
        say(f"{flags.report}: the report of {len(known):,} labelled battles")
    if flags.json:
        print(json.dumps(figures, allow_nan=False, indent=1), flush=True)


def named_peers(paths: Sequence[str], battles: "datasets.Dataset") -> "dict[str, FloatArray]":
    """Log-probabilities of the systems to compare with, by name."""
    from reward_model.predict.member import Job, MemberOptions
    from reward_model.predict.open_member import open_member
    from reward_model.run_directory.load_model import LoadOptions

    options = MemberOptions(LoadOptions())
    return {Path(peer).name: open_member(peer, options).predict(Job(battles)).log_probs for peer in paths}


def summarise(
    flags: PredictionFlags,
    battles: "datasets.Dataset",
    predictor: "Predictor",
    prediction: "Prediction",
    seconds: float,
) -> bool:
    """Says what was done, and how good it is where the verdicts are known; returns whether all rows were scored."""
    from reward_model.evaluation.quality import quality_line

    failed, shortened = int(prediction.failed.sum()), int(prediction.shortened.sum())
    if shortened:
        say(f"{shortened:,} battles were read at a shorter max_length to keep to the time limit")
    if line := quality_line(battles, prediction.log_probs):
        say(line)
    of_them = f", {failed:,} of them with the prior," if failed else ""
    say(f"{flags.output}: {len(battles):,} rows{of_them} in {seconds:.1f} s")
    if failed:
        causes = sorted({member.first_error for member in predictor.members if member.first_error})
        why = f" ({'; '.join(causes)})" if causes else ""
        whose = "of each model that could not" if len(predictor.members) > 1 else ""
        print(
            f"warning: {failed:,} rows could not be scored and have the prior{whose and ' '}{whose}{why}",
            file=sys.stderr,
        )
    return not failed


def keep_quiet() -> None:
    """Warnings in one line each, and none of what only a library's developers can mend."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {' '.join(str(message).split())}\n"
    warnings.simplefilter("ignore", FutureWarning)
    # bitsandbytes 0.50 tells of each cast that its 8-bit layers make.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

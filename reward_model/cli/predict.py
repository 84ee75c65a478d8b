"""Battles in, a complete submission out: `python predict.py --model runs/minilm --input test.csv --output submission.csv`.

Exit status: 0; 2 for what a person has to mend, said in one line; 3 where rows could not be scored and have the prior.
A run that is stopped goes on from its finished shards when the same command is given again.
"""

import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reward_model.cli.flags import PredictionFlags, open_predictor, parse_flags
from reward_model.cli.flags import parser as parser
from reward_model.errors import require

if TYPE_CHECKING:
    import datasets

    from reward_model.predict.member import FloatArray, Job
    from reward_model.predict.predictor import Prediction, Predictor
    from reward_model.predict.processes import Team

# Libraries that take seconds to import, or that look for a network, come after the flags.


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    started = time.monotonic()
    keep_quiet()
    flags = parse_flags(arguments)
    try:
        return predict(flags, started)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def predict(flags: PredictionFlags, started: float) -> int:
    from reward_model.predict.deadline import seconds_of
    from reward_model.predict.processes import team_of
    from reward_model.predict.shard_store import remove_work

    # 1. What can be refused before a model is loaded.
    seconds = seconds_of(flags.time_limit) if flags.time_limit else None
    battles = read_battles(flags)
    with team_of(flags.num_processes, help_out, flags, seconds, started) as team:
        predictor, job = prepare(flags, battles, team, seconds, started)

        # 2. Every row scored, on all devices.
        if not team.is_main:
            predictor.work(job)
            return 0
        prediction = predictor.run(job)

    # 3. The submission, whole or not at all.
    write(flags, battles, prediction)

    # 4. The report, where it is asked for.
    if flags.report or flags.json:
        report(flags, job, predictor, prediction)
    remove_work(Path(flags.output))

    # 5. What there is to say of it.
    return summarise(flags, battles, predictor, prediction, time.monotonic() - started)


def read_battles(flags: PredictionFlags) -> "datasets.Dataset":
    """The battles; says what was odd about them. Raises: InputError for input or output that will not do."""
    from arena_data.file_io import check_output
    from arena_data.loading import load_battles
    from arena_data.reading.cleaning import oddity_lines

    check_output(flags.output, *flags.input, *flags.model)
    if flags.report:
        check_output(flags.report, *flags.input, *flags.model, flags.output)
    battles = load_battles(flags.input, labels="optional")
    if flags.report or flags.json:
        from reward_model.report.from_prediction import check_labels

        if flags.peers is None:
            require("lightgbm", "sklearn", "skops")  # before hours of prediction

        check_labels(battles, ", ".join(flags.input))
    say(f"{len(battles):,} battles", *oddity_lines(battles["oddities"]))
    return battles


def prepare(
    flags: PredictionFlags, battles: "datasets.Dataset", team: "Team", seconds: float | None, started: float
) -> "tuple[Predictor, Job]":
    """Opens the models and plans the work of this process."""
    from reward_model.predict.deadline import Deadline
    from reward_model.predict.member import Job
    from reward_model.predict.open_member import check_rewards
    from reward_model.predict.processes import device_of, share_cores
    from reward_model.predict.shard_store import work_folder

    share_cores(team)
    predictor = open_predictor(flags, device_of(team))
    if flags.rewards:
        check_rewards(predictor.members)
    folder = work_folder(Path(flags.output).resolve())
    return predictor, Job(battles, team, folder, Deadline(seconds, started), not flags.quiet)


def help_out(team: "Team", flags: PredictionFlags, seconds: float | None, started: float) -> None:
    """What a process does that the main one has started: its share of the shards, nothing else."""
    keep_quiet()
    from arena_data.loading import load_battles

    try:
        predictor, job = prepare(flags, load_battles(flags.input, labels="optional"), team, seconds, started)
        predictor.work(job)
    except (ValueError, OSError) as error:
        # The main process does what this one leaves, or meets the same error and says so.
        print(f"process {team.rank}: {' '.join(str(error).split())}", file=sys.stderr)
    except KeyboardInterrupt:
        pass  # the main process says so


def write(flags: PredictionFlags, battles: "datasets.Dataset", prediction: "Prediction") -> None:
    """The submission, with the rewards if they are asked for. Raises: InputError where it cannot be written."""
    import numpy as np

    from arena_data.submission import write_submission

    extra = None
    scores = prediction.members[0].scores
    if flags.rewards and scores is not None:
        extra = {
            "reward_a": scores.reward_a,
            "reward_b": scores.reward_b,
            "margin": scores.margin,
            "tie_strength": scores.tie_strength,
        }
    write_submission(flags.output, battles["id"], np.exp(prediction.log_probs), extra)


def report(flags: PredictionFlags, job: "Job", predictor: "Predictor", prediction: "Prediction") -> None:
    """The report's page and its figures. Raises: InputError where the page cannot be written."""
    import json

    from reward_model.report.from_prediction import Reported, labelled, own_prior, report_data
    from reward_model.report.page import report_json, write_report

    known = job.battles.select(labelled(job.battles))
    peers = peers_of(flags, known) | own_prior(predictor.members, len(known))
    data = report_data(Reported(job, predictor, prediction), peers, flags.audit_battles)
    figures = report_json(data)
    if flags.report:
        write_report(flags.report, data, figures)
        say(f"{flags.report}: the report of {len(known):,} labelled battles")
    if flags.json:
        print(json.dumps(figures, allow_nan=False, indent=1), flush=True)


def peers_of(flags: PredictionFlags, battles: "datasets.Dataset") -> "dict[str, FloatArray]":
    """Log-probabilities of the systems to compare with: those that are named, or simple ones fitted out of fold."""
    from reward_model.predict.member import Job, MemberOptions
    from reward_model.predict.open_member import open_member
    from reward_model.run_directory.load_model import LoadOptions

    if flags.peers is None:
        from reward_model.baselines.peers import cross_fitted

        return cross_fitted(battles, progress=not flags.quiet)
    options = MemberOptions(LoadOptions())
    return {Path(peer).name: open_member(peer, options).predict(Job(battles)).log_probs for peer in flags.peers}


def summarise(
    flags: PredictionFlags,
    battles: "datasets.Dataset",
    predictor: "Predictor",
    prediction: "Prediction",
    seconds: float,
) -> int:
    """Says what was done, and how good it is where the verdicts are known; returns the exit status."""
    from reward_model.evaluation.quality import quality_line

    failed, shortened = int(prediction.failed.sum()), int(prediction.shortened.sum())
    if shortened:
        say(f"{shortened:,} battles were read at a shorter max_length to keep to the time limit")
    if line := quality_line(battles, prediction.log_probs):
        say(line)
    say(f"{flags.output}: {len(battles):,} rows in {seconds:.1f} s")
    if failed:
        causes = sorted({member.first_error for member in predictor.members if member.first_error})
        why = f" ({'; '.join(causes)})" if causes else ""
        print(f"warning: {failed:,} rows could not be scored and have the prior{why}", file=sys.stderr)
        return 3
    return 0


def keep_quiet() -> None:
    """Warnings in one line each, and none of what only a library's developers can mend."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {' '.join(str(message).split())}\n"
    warnings.simplefilter("ignore", FutureWarning)
    # bitsandbytes 0.50 tells of each cast that its 8-bit layers make.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def say(*lines: str) -> None:
    """To standard error, by the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        for line in lines:
            print(line, file=sys.stderr)

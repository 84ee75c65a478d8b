"""`arena-reward predict --engine ray`: battles of any number streamed through Ray Data into a folder of Parquet.

    arena-reward predict --engine ray --model arena-minilm --input battles/ --output scored/
    arena-reward predict --engine ray --ray_address auto --model arena-minilm --input s3://b/battles/ --output s3://b/scored

Given again after a stop, the same command goes on with the partitions that are missing.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_data.errors import InputError
from reward_model.cli.console.messages import say
from reward_model.cli.flags import OFFLINE, PredictionFlags, task_of
from reward_model.errors import require

if TYPE_CHECKING:
    from reward_model.predict.cluster.index import Progress

PARTITION_ROWS = 2048


def predict_on_ray(flags: PredictionFlags, started: float) -> int:
    """The stages of a prediction on a cluster; returns the exit status.

    Raises: ValueError or OSError, one line; partitions that were finished before stay.
    """
    # 1. What can be refused before a cluster is asked for anything.
    check_flags(flags)
    require("ray")
    from reward_model.predict.cluster.folder import Folder, check_apart, input_files
    from reward_model.predict.cluster.index import Progress
    from reward_model.predict.cluster.ray_cluster import Shares, finished_parts, ray_cluster
    from reward_model.predict.cluster.work_plan import WorkPlan, column_names
    from reward_model.predict.coverage import stored_thresholds
    from reward_model.predict.open_member import check_rewards

    folder = Folder.of(flags.output)
    check_apart(folder, flags.input)
    flags.input = input_files(flags.input)
    _make_absolute(flags)
    task = task_of(flags)
    predictor = task.open()
    if flags.rewards:
        check_rewards(predictor.members)
    threshold = stored_thresholds(predictor.members)[str(flags.coverage)] if flags.coverage else None
    rows = flags.partition_rows or PARTITION_ROWS
    plan = WorkPlan.of(folder, task, predictor, rows, flags.rewards, threshold)
    plan.begin()
    progress = Progress.of(plan)
    if progress.rows:
        say(f"{progress.rows:,} battles were scored before")

    # 2. Every file whose partitions are not all there.
    if missing := progress.missing:
        shares = Shares(flags.actors, flags.num_cpus or 1.0, flags.num_gpus, flags.device)
        with ray_cluster(flags.ray_address, shares, OFFLINE if flags.offline else None) as ray:
            follow(finished_parts(ray, plan, missing, shares), progress, shown=not flags.quiet)

    # 3. The index, once nothing is missing and no id comes twice.
    grounded = any(getattr(member, "is_grounded", False) for member in predictor.members)
    progress.write_index(column_names(plan, grounded))

    # 4. What there is to say of it.
    return summarise(flags, progress, time.monotonic() - started)


def check_flags(flags: PredictionFlags) -> None:
    """Raises: InputError for what a stream of battles over many machines cannot honour."""
    from reward_model.predict.processes import launched_team

    each = "each partition would be read for itself"
    refused: Mapping[str, tuple[bool, str]] = {
        "--num_processes": (flags.num_processes is not None, "Ray starts the processes; take --actors"),
        "--time_limit": (flags.time_limit is not None, "stop it at any time; the same command goes on"),
        "--device_map": (flags.device_map is not None, "an actor reads on one GPU; predict without --engine ray"),
        "--device": (flags.device not in (None, "cpu", "cuda"), "Ray chooses the GPU; leave it out, or take cpu"),
        "--swap_average": (0 < flags.swap_average < 1, f"{each}; average all (without a number), or none"),
        "--report": (flags.report is not None, "make it from a part of the battles without --engine ray"),
        "--json": (flags.json, "make it from a part of the battles without --engine ray"),
        "--audit_battles": (flags.audit_battles != PredictionFlags.audit_battles, "leave it out"),
        "--peers": (flags.peers is not None, "leave it out"),
        "--read_limits": (flags.read_limits is not None, "leave it out"),
        "--coverage_labels": (flags.coverage_labels is not None, "fit them first by arena-reward calibrate"),
        "a launcher": (launched_team() is not None, "start it without accelerate launch or torchrun"),
    }
    for flag, (given, fix) in refused.items():
        if given:
            raise InputError(f"{flag} cannot be honoured by --engine ray", fix=fix)
    if Path(flags.output).suffix in (".csv", ".parquet", ".jsonl"):
        raise InputError("--engine ray writes a folder", found=flags.output, fix="name a folder in --output")


def _make_absolute(flags: PredictionFlags) -> None:
    """Names of local models as every worker can find them: each has a working directory of its own."""
    from reward_model.pretrained.judges import judge_folder

    def absolute(name: str) -> str:
        return str(Path(name).resolve()) if not judge_folder(name) and Path(name).exists() and name.strip() else name

    flags.model = [absolute(name) for name in flags.model]
    flags.base_model = [absolute(name) for name in flags.base_model] if flags.base_model else None


def follow(parts: Any, progress: "Progress", *, shown: bool) -> None:
    """Notes every part as its partition is written. shown: whether with a bar, which knows no end before all is read."""
    from tqdm import tqdm

    with tqdm(desc="Scoring", unit="battle", initial=progress.rows, disable=not shown) as bar:
        for row in parts:
            progress.add(row)
            bar.update(row["rows"])


def summarise(flags: PredictionFlags, progress: "Progress", seconds: float) -> int:
    """Says what was done; returns the exit status."""
    from arena_data.reading.cleaning import counted_oddity_lines

    say(*counted_oddity_lines(progress.oddities))
    of_them = f", {progress.failed:,} of them with the prior," if progress.failed else ""
    say(f"{flags.output}: {progress.rows:,} rows{of_them} in {seconds:.1f} s")
    if progress.failed:
        why = f" ({progress.first_error})" if progress.first_error else ""
        say(f"warning: {progress.failed:,} rows could not be scored and have the prior{why}")
    return 3 if progress.failed else 0

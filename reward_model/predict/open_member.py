"""What `--model` may name, behind one method: a directory of a run, a baseline, a blend or a wrapped stock model, a file
of probabilities or verdicts, or the name of a judge that ships.

Opening a member reads its settings only, so that what is missing is said before a model is loaded.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arena_data.errors import InputError
from arena_data.file_io import read_json
from arena_data.submission import align, read_submission
from reward_model.calibration.blending import Blend
from reward_model.errors import ModelError, one_line
from reward_model.evaluation.probabilities import FloatArray, floored_log
from reward_model.predict.member import Job, Member, MemberOptions, MemberPrediction, any_truncated
from reward_model.predict.run_member import RunMember
from reward_model.predict.stock_member import StockMember
from reward_model.predict.verdict_file import is_verdict_file, read_verdicts
from reward_model.pretrained.judges import judge_folder
from reward_model.run_directory.reading import read_run
from reward_model.run_directory.settings import BASELINE, BLEND, CONFIG, STOCK
from reward_model.run_directory.stock import is_stock_directory, looks_like_hub_id, not_calibrated, read_wrapped

if TYPE_CHECKING:
    from reward_model.baselines.base import StoredBaseline


def open_member(path: str, options: MemberOptions) -> Member:
    """Raises: InputError, one line, for what is none of these, and for a stock model that is not calibrated."""
    folder = _named(path)
    if folder.is_file():
        return FileMember(path)
    if (folder / BLEND).is_file():
        return BlendMember(folder, options)
    if (folder / STOCK).is_file():
        return StockMember(None, read_wrapped(folder), options)
    if is_stock_directory(folder):
        raise not_calibrated(path)
    if looks_like_hub_id(path):
        raise InputError(
            "no such run directory", file=path, fix=f"calibrate a stock model of the Hub: arena-reward calibrate {path}"
        )
    if folder.is_dir() and not (folder / CONFIG).exists() and _is_baseline(folder):
        return BaselineMember(folder, options)
    return RunMember(read_run(folder), options)


def open_judge(path: str, options: MemberOptions) -> Member:
    """As `open_member`, and a stock model that is not calibrated, by its directory or Hub id: it has rewards only."""
    if is_stock_directory(_named(path)) or looks_like_hub_id(path):
        return StockMember(path, None, options)
    return open_member(path, options)


def _named(path: str) -> Path:
    """The path, or where the judge of that name lies. Raises: InputError for an empty name, which Python would take for
    the working directory."""
    if not path.strip():
        raise InputError("the name of a model is empty", expected="a run, a baseline, a blend or a CSV file")
    return judge_folder(path) or Path(path)


def check_options(members: Sequence[Member], given: Sequence[MemberOptions]) -> None:
    """Raises: InputError for options that only a run can honour, where no member is one."""
    if any(isinstance(inner, RunMember) for member in members for inner in getattr(member, "members", [member])):
        return
    for options in given:
        wanted = {
            "--max_length": options.max_length is not None,
            "--batch_tokens": options.batch_tokens is not None,
            "--style off": not options.style,
            "--merge": options.load.merge,
            "--load_in_4bit": options.load.load_in_4bit,
            "--load_in_8bit": options.load.load_in_8bit,
            "--attn_implementation": options.load.attn_implementation is not None,
        }
        if names := [name for name, is_wanted in wanted.items() if is_wanted]:
            raise InputError(
                f"{', '.join(names)}: no model here is a run, so nothing could follow it", fix="leave it out"
            )


def _is_baseline(folder: Path) -> bool:
    try:
        from reward_model.baselines.base import is_baseline
    except ImportError:
        return False
    return bool(is_baseline(folder))


class BaselineMember:
    """A system of the package `baselines`. stored: its directory as it was read, where that has been done already."""

    first_error: str | None = None
    swap_exact = True

    def __init__(self, folder: Path, options: MemberOptions, stored: "StoredBaseline | None" = None):
        from reward_model.baselines.base import open_baseline

        self.folder, self.calibrated = folder, options.calibrated
        self.stored = stored or open_baseline(folder, options.load.base_model, options.load.device)
        self.name = self.stored.judge.name if self.stored.judge else folder.name

    def predict(self, job: Job) -> MemberPrediction:
        try:
            log_probs = self.stored.predict(job.battles, lambda: job.style, self.calibrated)
            if not np.isfinite(log_probs).all():
                raise ValueError("its probabilities are not finite")
        except (InputError, ModelError):
            raise
        except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
            # What was learned may be of the right form and make no sense.
            raise InputError(f"cannot predict: {one_line(error)}", file=self.folder, fix="train it again") from error
        return MemberPrediction.whole(log_probs)

    def work(self, job: Job) -> None:
        """Nothing: it is quick, and the main process does it."""


class BlendMember:
    """Several members as `arena-reward blend` has weighted and calibrated them."""

    def __init__(self, folder: Path, options: MemberOptions):
        self.folder, self.name, self.calibrated = folder, folder.name, options.calibrated
        self.blend = read_json(folder / BLEND, Blend.from_json)
        paths = [member_path(folder, name) for name in self.blend.members]
        for path in paths:
            if Path(path, BLEND).is_file():
                raise InputError("has a blend among its members", file=folder / BLEND, found=path)
        self.members = [open_member(path, options) for path in paths]

    @property
    def swap_exact(self) -> bool:
        return all(getattr(member, "swap_exact", False) for member in self.members)

    @property
    def first_error(self) -> str | None:
        return next((member.first_error for member in self.members if member.first_error), None)

    def predict(self, job: Job) -> MemberPrediction:
        left = range(len(self.members), 0, -1)
        predictions = [
            member.predict(job.for_next_member(count)) for member, count in zip(self.members, left, strict=True)
        ]
        log_probs = [prediction.log_probs for prediction in predictions]
        pooled = self.blend.apply(log_probs) if self.calibrated else self.blend.pool(log_probs)
        return MemberPrediction(
            pooled,
            np.logical_or.reduce([prediction.failed for prediction in predictions]),
            np.logical_or.reduce([prediction.shortened for prediction in predictions]),
            any_truncated(predictions),
        )

    def work(self, job: Job) -> None:
        for place, member in enumerate(self.members):
            member.work(job.for_next_member(len(self.members) - place))


class FileMember:
    """Probabilities that another model has written, in the format of a submission, or verdicts; taken as they are."""

    first_error: str | None = None
    swap_exact = True  # there is one answer a battle, which its author has averaged or not

    def __init__(self, path: str):
        self.name, self.path = Path(path).name, path
        self.ids, self.log_probs = read_log_probs(path)

    def predict(self, job: Job) -> MemberPrediction:
        return MemberPrediction.whole(align(job.battles["id"], self.ids, self.log_probs, self.path))

    def work(self, job: Job) -> None:
        """Nothing: it is done already."""


def files_read(path: str) -> list[Path]:
    """The files that a prediction with this model reads, so that no output is written over them.

    Pages and submissions that lie in a model's directory are not among them, unless a blend names them. A directory that is
    no model is not walked: it may be a whole disk. Opening it says so.
    """
    folder = _named(path)
    if not folder.is_dir():
        return [folder]
    if not any((folder / name).is_file() for name in (CONFIG, STOCK, BLEND, BASELINE, "config.json")):
        return []
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix not in (".csv", ".html")]
    if (folder / BLEND).is_file():
        for name in read_json(folder / BLEND, Blend.from_json).members:
            files += files_read(member_path(folder, name))
    return files


def member_path(folder: Path, name: str) -> str:
    """A blend's member, seen from the blend's folder; a judge that ships by its name."""
    path = folder / name  # one that is absolute stays so
    return name if judge_folder(name) and not path.exists() else str(path)


def check_rewards(members: list[Member]) -> None:
    """Raises: InputError unless there is one member and it has rewards."""
    if len(members) != 1 or not isinstance(members[0], RunMember | StockMember):
        raise InputError(
            "rewards of several models, or of one without, are on no common scale",
            found=[member.name for member in members],
            expected="one run directory",
            fix="leave out --rewards",
        )


def check_swap_average(members: list[Member]) -> None:
    """Raises: InputError for members that cannot be read with the responses swapped, or where none would change by it.

    Separate encodings are passed over beside a joint one: they are swap-exact already.
    """
    single = [part for member in members for part in (member.members if isinstance(member, BlendMember) else [member])]
    if fixed := [member.name for member in single if not isinstance(member, RunMember)]:
        raise InputError(
            "cannot be read with the responses swapped, as --swap_average asks",
            found=fixed,
            expected="run directories",
            fix="leave out --swap_average, or predict with the run alone and pool the submissions",
        )
    if not any(isinstance(member, RunMember) and member.reads_orders for member in single):
        raise InputError(
            "a separate encoding is swap-exact already, so --swap_average would change nothing",
            found=[member.name for member in single],
            expected="a run with the joint encoding",
            fix="leave out --swap_average",
        )


def read_log_probs(path: str | os.PathLike[str]) -> tuple[list[str], FloatArray]:
    """Ids and float64 [n, 3], `rows.FLOOR` for a probability of 0, of probabilities or of verdicts in letters.

    Raises: InputError as `read_submission` and `read_verdicts`.
    """
    ids, probabilities = read_verdicts(path) if is_verdict_file(path) else read_submission(path)
    return ids, floored_log(probabilities)

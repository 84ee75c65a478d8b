"""A stock reward model and labelled battles in, a run directory that wraps the model out."""

import os
from pathlib import Path

import numpy as np

from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.file_io import check_output_folder
from arena_data.loading import local_files
from reward_model.calibration.tie_link_fit import TieLinkFit, fit_tie_link
from reward_model.predict.labelled_rows import read_labelled
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.stock_member import StockMember
from reward_model.run_directory.settings import BASELINE, BLEND, CONFIG, STOCK
from reward_model.run_directory.stock import StockReference, read_wrapped, write_wrapped

_FOREIGN = {CONFIG: "a run", BASELINE: "a baseline", BLEND: "a blend", "config.json": "a model"}


def wrap_stock(
    model: str, labelled: str, output: str | os.PathLike[str], options: MemberOptions, limits: Limits = LIMITS
) -> TieLinkFit:
    """Fits a tie link to the model's rewards of the battles and writes the directory.

    Args:
        model: a directory, a Hub id, or a directory that wraps one already, whose link is fitted anew.
        labelled: battles with verdicts, which the model has not been trained on.
        output: directory to write.
        options: how the model is loaded.
        limits: sizes beyond which a file of battles is refused.

    Raises: InputError or ModelError, one line, for what is not there, is no stock reward model, or has no verdicts.
    """
    check_output_folder(output, *local_files(labelled), foreign=_FOREIGN)
    if Path(model, STOCK).is_file():
        wrapped = read_wrapped(model)
        member, reference = StockMember(None, wrapped, options), wrapped.reference
        if reference.files and not os.path.isabs(reference.name):
            reference = StockReference(str(Path(model, reference.name)), files=reference.files)
    else:
        reference = StockReference.of(model)
        member = StockMember(model, None, options)
        member.revision = reference.revision
    rows = read_labelled(labelled, limits)
    if rows.battles is None:
        raise InputError("has no texts", file=labelled, expected="labelled battles, with prompt and responses")
    differences = member.scores(Job(rows.battles, progress=True))[0].margin
    scored = np.flatnonzero(np.isfinite(differences))
    if not len(scored):
        raise InputError("none of the rewards is a number", file=model)
    rows = rows.select(scored)
    link = fit_tie_link(differences[scored], rows.verdicts, rows.groups)
    shares = rows.verdicts.mean(axis=0)
    side = float(shares[0] + shares[1]) / 2
    write_wrapped(output, reference, link, (side, side, float(shares[2])))
    return link

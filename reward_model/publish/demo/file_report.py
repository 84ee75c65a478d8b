"""The report of a file of labelled battles: the page, the figures and the sentence of `arena-reward predict --report`."""

from pathlib import Path

from arena_data.errors import InputError
from arena_data.loading import load_battles
from reward_model.predict.member import Job, Member
from reward_model.predict.predictor import Predictor
from reward_model.publish.demo.work import Check
from reward_model.report.from_prediction import Reported, check_labels, labelled, report_data, simple_peers
from reward_model.report.page import render_report, report_json

MOST_BATTLES, AUDITED_BATTLES = 2000, 50


def report_of_file(member: Member, path: str | None, check: Check, folder: Path) -> str:
    """The report of a file's first battles, as HTML.

    Args:
        member: the model.
        check: called between batches; what it raises ends the work.
        folder: for what is read of the file, to be deleted with it.

    Raises: InputError, one line.
    """
    if not path:
        raise InputError("no file given", fix="choose a file of labelled battles first")
    battles = load_battles(path, cache_dir=str(folder / "cache"))
    check_labels(battles, Path(path).name)
    battles = battles.select(range(min(len(battles), MOST_BATTLES)))
    predictor, job = Predictor([member]), Job(battles, check=check)
    done = Reported(job, predictor, predictor.run(job))
    peers, left_out = simple_peers(battles.select(labelled(battles)), predictor.members, check=check)
    data = report_data(done, peers, AUDITED_BATTLES, left_out)
    check()
    return render_report(data, report_json(data))

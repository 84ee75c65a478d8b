"""The demo's model as the member of a prediction, which a report needs."""

from pathlib import Path

from reward_model.api import RewardModel
from reward_model.predict.baseline_texts import BaselineTexts
from reward_model.predict.member import Member, MemberOptions
from reward_model.predict.member_texts import MemberTexts
from reward_model.predict.open_member import BaselineMember
from reward_model.run_directory.load_model import LoadOptions


def member_of(model: RewardModel) -> Member:
    """The same model; nothing is loaded twice."""
    scorer = model.scorer
    if isinstance(scorer, MemberTexts):
        return scorer.member
    assert isinstance(scorer, BaselineTexts)
    options = MemberOptions(load=LoadOptions(), calibrated=scorer.calibrated)
    return BaselineMember(Path(scorer.name), options, scorer.stored)

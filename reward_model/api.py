"""A reward model in three lines of Python: a run directory, a repository on the Hub, or a judge that ships.

    model = RewardModel.from_pretrained("user/name")
    model.reward("What is 2 + 2?", "4.")                    # -0.31: comparable between responses to one prompt
    model.compare("What is 2 + 2?", "4.", "5.")             # Probabilities(a=0.61, b=0.17, tie=0.22)
    model.usable("What is 2 + 2?", "4.")                    # 0.93, of a run with --outcomes four

One text or a list of them; a text is a string, the turns of a conversation in a list, or chat messages. Scores are those
of `predict.py`: the same truncation, style head and calibration. Nothing is unpickled and no code of a repository is run.
What takes long to import is imported by what needs it, so that `from_pretrained("arena-style")` answers at once.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, get_args, overload

import numpy as np
import numpy.typing as npt

from arena_data.errors import InputError
from arena_data.reading.cleaning import Text
from reward_model.baselines.base import is_baseline
from reward_model.hub_names import means_folder
from reward_model.predict.text_scorer import STYLE_ALONE, Errors, TextScorer
from reward_model.pretrained.judges import JUDGES, judge_folder
from reward_model.run_directory.settings import BLEND, STOCK
from reward_model.run_directory.stock import is_stock_directory

if TYPE_CHECKING:
    from reward_model.predict.run_texts import RunTexts

# What a published run consists of; a repository may hold more, and pickles among it.
DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")

FloatArray = npt.NDArray[np.float64]
# A chat: role and content each. In a prompt it ends before the answer; in a response it is the answer.
Messages = Sequence[Mapping[str, Any]]
Texts = Sequence[Text | Messages]


class Probabilities(NamedTuple):
    """What people would say of a battle; the three sum to 1."""

    a: float
    b: float
    tie: float


class RewardModel:
    """A run, a baseline, a judge that ships, a blend or a stock reward model, ready to score. Made by `from_pretrained`."""

    def __init__(self, scorer: TextScorer):
        self.scorer = scorer

    @property
    def run(self) -> "RunTexts":
        """The run. Raises: InputError where the model is a baseline or a judge that ships."""
        from reward_model.predict.run_texts import RunTexts

        if not isinstance(self.scorer, RunTexts):
            raise InputError("is no trained run", file=self.scorer.name, expected="a run directory")
        return self.scorer

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | None = None,
        base_model: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        merge: bool = False,
        batch_tokens: int | None = None,
        style: bool = True,
        calibrated: bool = True,
    ) -> "RewardModel":
        """Opens a run and loads its model; or opens a judge, a blend or a stock reward model.

        Args:
            name: a directory of a run, a baseline, a blend or a stock reward model; the `user/name` of a run on the Hub; or
                `arena-style` or `arena-minilm`.
            revision, token: of the Hub.
            base_model: directory or Hub id of the backbone, in the place of the one that the run names.
            device, dtype, merge: as `reward_model.run_directory.load_model.LoadOptions` says.
            batch_tokens: tokens of a batch, padding included; measured on the device if None.
            style, calibrated: whether `compare` knows what style does to votes, and is calibrated.

        A baseline or a judge takes `base_model`, `device` and `calibrated`; it has no style, dtype or revision to choose.
        What lies here has no revision. A stock reward model that is not calibrated has rewards only.

        Raises: InputError or ModelError, one line, for what is not there or cannot be used.
        """
        folder = judge_folder(name) or Path(name)
        if is_baseline(folder):
            if not style or revision is not None or dtype not in ("auto", "float32"):
                raise InputError(
                    "a baseline keeps its style and its dtype, and has no revision",
                    file=os.fspath(name),
                    fix="leave out style, dtype and revision",
                )
            from reward_model.predict.baseline_texts import BaselineTexts

            return cls(BaselineTexts(folder, base_model, device, calibrated))
        if revision is not None and folder.is_dir():
            raise InputError("a directory has no revision", file=os.fspath(name), fix="leave out revision")
        from reward_model.predict.run_texts import RunTexts
        from reward_model.run_directory.load_model import LoadOptions
        from reward_model.run_directory.reading import read_run

        load = LoadOptions(base_model=base_model, dtype=dtype, device=device, merge=merge)
        if (folder / BLEND).is_file() or (folder / STOCK).is_file() or is_stock_directory(folder):
            from reward_model.predict.member import MemberOptions
            from reward_model.predict.member_texts import MemberTexts

            # Half the bias of position would stay in a joint model that reads one order.
            options = MemberOptions(
                load=load, batch_tokens=batch_tokens, style=style, calibrated=calibrated, swap_average=1.0
            )
            return cls(MemberTexts.of(os.fspath(name), options))
        run = read_run(_directory(name, revision, token))
        return cls(RunTexts.of_run(run, load, batch_tokens=batch_tokens, style=style, calibrated=calibrated))

    @overload
    def reward(  # type: ignore[overload-overlap]  # a str is a sequence
        self, prompt: str | Messages, response: str | Messages, *, errors: Errors = "raise"
    ) -> float: ...
    @overload
    def reward(self, prompt: Texts, response: Texts, *, errors: Errors = "raise") -> FloatArray: ...

    def reward(
        self, prompt: str | Messages | Texts, response: str | Messages | Texts, *, errors: Errors = "raise"
    ) -> float | FloatArray:
        """The reward of each response, float64 [n], or of one: higher is better, among responses to the same prompt.

        What style explains is left out, as a policy trained on it should not learn length and lists. `arena-style` knows
        nothing else: its reward is how far people would prefer the response's style to an average one. Where the run has
        both-bad as an outcome, 0 is where half of such responses, of average style, are usable: a threshold for
        best-of-n and for reinforcement learning.

        Args:
            errors: `raise`, or `nan` for NaN in the place of a response that cannot be scored.

        Raises: ScoringError for the first response that cannot be scored; InputError for a joint encoding, which knows no
            reward of one response.
        """
        _check_errors(errors)
        prompts, responses = _lists(prompt, response)
        rewards = self.scorer.rewards(prompts, responses, errors)
        return float(rewards[0]) if _is_one(prompt) else rewards

    @overload
    def usable(  # type: ignore[overload-overlap]  # a str is a sequence
        self, prompt: str | Messages, response: str | Messages, *, errors: Errors = "raise"
    ) -> float: ...
    @overload
    def usable(self, prompt: Texts, response: Texts, *, errors: Errors = "raise") -> FloatArray: ...

    def usable(
        self, prompt: str | Messages | Texts, response: str | Messages | Texts, *, errors: Errors = "raise"
    ) -> float | FloatArray:
        """P(usable) of each response, float64 [n], or of one: how likely people prefer it to no response at all.

        Style counts, as in `compare`. The number is not calibrated: calibration is of three outcomes.

        Args:
            errors: `raise`, or `nan` for NaN in the place of a response that cannot be scored.

        Raises: InputError for a run without both-bad as an outcome; ScoringError as `reward`.
        Source: `reward_model.model.four_outcomes`.
        """
        _check_errors(errors)
        prompts, responses = _lists(prompt, response)
        shares = self.run.usable(prompts, responses, errors)
        return float(shares[0]) if _is_one(prompt) else shares

    @overload
    def compare(  # type: ignore[overload-overlap]  # a str is a sequence
        self,
        prompt: str | Messages,
        response_a: str | Messages,
        response_b: str | Messages,
        *,
        errors: Errors = "raise",
    ) -> Probabilities: ...
    @overload
    def compare(
        self,
        prompt: Texts,
        response_a: Texts,
        response_b: Texts,
        *,
        errors: Errors = "raise",
    ) -> FloatArray: ...

    def compare(
        self,
        prompt: str | Messages | Texts,
        response_a: str | Messages | Texts,
        response_b: str | Messages | Texts,
        *,
        errors: Errors = "raise",
    ) -> Probabilities | FloatArray:
        """P(A), P(B), P(tie) of each battle, float64 [n, 3], or of one as `Probabilities`.

        Args:
            errors: `raise`, or `nan` for NaN in the place of a battle that cannot be scored.

        Raises: ScoringError for the first battle that cannot be scored. The class prior is never an answer.
        """
        _check_errors(errors)
        prompts, responses_a, responses_b = _lists(prompt, response_a, response_b)
        probabilities = self.scorer.probabilities(prompts, responses_a, responses_b, errors)
        return Probabilities(*map(float, probabilities[0])) if _is_one(prompt) else probabilities

    def trl_reward(self, prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
        """A reward function for TRL's GRPOTrainer and RLOOTrainer: `reward_funcs=model.trl_reward`.

        Takes both of TRL's forms: plain texts, and conversations as lists of messages. Messages are read as in training,
        by `arena_data.reading.conversations.turns`: a system message is part of the first user turn, content may be a list
        of parts, and tool calls are part of the answer.

        Raises: InputError for a judge of style alone, which would teach length and lists; ValueError for messages of another
            form; otherwise as `reward`.
        Source: https://huggingface.co/docs/trl/grpo_trainer#using-a-custom-reward-function.
        """
        if self.scorer.reward_note == STYLE_ALONE:
            raise InputError("judges style alone, and is no reward to train on", file=self.scorer.name)
        pairs = [_turns(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
        rewards = self.reward([prompt for prompt, _ in pairs], [response for _, response in pairs])
        return [float(reward) for reward in rewards]


def _check_errors(errors: str) -> None:
    if errors not in get_args(Errors):
        raise ValueError(f"errors is {errors!r}; expected 'raise' or 'nan'")


def _directory(name: str | os.PathLike[str], revision: str | None, token: str | None) -> Path:
    """Where the run lies: the directory itself, or what is downloaded of the Hub's repository."""
    if os.path.isdir(name):
        return Path(name)
    text = os.fspath(name)
    if text.count("/") != 1 or means_folder(text):
        raise InputError(
            "no such run directory",
            file=text,
            expected=f"a directory, user/name on the Hub, or one of {', '.join(JUDGES)}",
        )
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from reward_model.hub_deadline import limit_hub

    limit_hub()
    try:
        return Path(snapshot_download(text, revision=revision, token=token, allow_patterns=list(DOWNLOADED)))
    except LocalEntryNotFoundError as error:
        raise InputError("not on disk, and the Hub cannot be reached", file=text) from error
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"neither a run directory nor a repository that can be read ({reason})", file=text) from error


def _is_messages(text: Any) -> TypeGuard[Messages]:
    """Whether it is a list of messages rather than a text, turns or a list of texts."""
    return not isinstance(text, str) and len(text) > 0 and all(isinstance(message, Mapping) for message in text)


def _is_one(text: str | Messages | Texts) -> bool:
    """Whether it is one text rather than a list of them."""
    return isinstance(text, str) or _is_messages(text)


def _lists(prompt: str | Messages | Texts, *responses: str | Messages | Texts) -> list[list[Text]]:
    """Lists of prompts and of the responses to them, messages turned into turns."""
    if len({_is_one(text) for text in (prompt, *responses)}) > 1:
        raise ValueError("one text beside a list; expected one text each, or lists of equal length")
    lists: list[list[Any]] = [[text] if _is_one(text) else list(text) for text in (prompt, *responses)]
    if not any(_is_messages(text) for texts in lists for text in texts if text is not None):
        return lists
    rows = [[_turns(asked, answer) for answer in answers] for asked, *answers in zip(*lists, strict=True)]
    return [[pairs[0][0] for pairs in rows], *([pairs[place][1] for pairs in rows] for place in range(len(responses)))]


def _turns(prompt: Any, completion: Any) -> tuple[Text, Text]:
    """The turns of the prompt and of the answers, of texts, turns or TRL's messages, as training reads them."""
    from arena_data.reading.conversations import as_messages, turns  # brings pyarrow

    if not _is_messages(prompt) and not _is_messages(completion):
        return ([prompt] if isinstance(prompt, str) else prompt), (
            [completion] if isinstance(completion, str) else completion
        )
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    answered = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
    return turns(as_messages([*asked, *answered]))

"""A training run's settings, as dataclasses for `TrlParser`: one YAML, flags override, names as in TRL and Transformers."""

from dataclasses import dataclass, field
from typing import Literal

from trl import RewardConfig

from reward_model.model.device import default_device
from reward_model.tokens.encodings import EncodingName


@dataclass
class DataArguments:
    """Where the battles come from and how they are split.

    Args:
        train_file: files, globs or Hub ids of labelled battles; at least one is needed.
        extra_file: labelled battles of other sources, for training alone; each source has an offset of ties of its own.
        extra_weight: what an extra battle counts: cv, a number, or SOURCE=NUMBER; cv asks the fit of style.
        eval_file: held-out battles, which pick the best checkpoint (default: a share of train_file).
        validation_share: share of train_file's prompts that is held out where there is no eval_file.
        num_folds: hold out one of this many grouped folds in place of that share (default: none).
        fold: which of num_folds is held out, counted from 0.
        folds: train once without each of this many folds, then average the weights (default: one run).
        calibration_share: share of the other prompts that only the calibration is fitted on.
        max_train_battles: read at most this many battles, the first ones, for a quick look (default: all).
        split_seed: seed of the split by prompt.
        read_limits: bounds of what is read, NAME=SIZE each, such as cell=64MiB (default: those of `Limits`).
    """

    train_file: list[str] = field(default_factory=list)
    extra_file: list[str] = field(default_factory=list)
    extra_weight: list[str] = field(default_factory=lambda: ["cv"])
    eval_file: list[str] = field(default_factory=list)
    validation_share: float = 0.1
    num_folds: int | None = None
    fold: int = 0
    folds: int | None = None
    calibration_share: float = 0.1
    max_train_battles: int | None = None
    split_seed: int = 0
    read_limits: list[str] = field(default_factory=list)


@dataclass
class TieRewardConfig(RewardConfig):
    """TRL's RewardConfig with what ties, style and token budgets need, and with defaults that do not bite.

    Args:
        encoding: separate reads [prompt, A] and [prompt, B]; joint reads [prompt, A, B] in both orders.
        tie_link: how margin and tie strength become three probabilities.
        outcomes: three, or four: both-bad is an outcome beside A, B and tie, which gives rewards an absolute zero.
        show_models: write the two models' names into what is read, for a teacher; a student reads none.
        style: train a style head beside the reward, so that the reward does not learn length and format.
        grades: whose grades of a win train thresholds: our own battles', all battles' or none's. The run says what it leaves
            out. Columns: strength, preference_strength, margin.
        init_from: a run directory, or a one-label reward model, whose weights this run starts from.
        batch_tokens: tokens of one batch on one device, padding included; it replaces the batch size.
        eval_batch_tokens: the same for evaluation (default: twice batch_tokens).
        padding_free: read a batch's rows end to end, without padding, and a prompt once for both responses where attention
            is causal. Models that cannot be read like that get padded rows.
        teacher_weight: share of the loss that compares with a teacher's probabilities, from 0 to 1.
        teacher_temperature: divides the logits of model and teacher before they are compared.
        adversarial_norm: relative norm of adversarial weight perturbation (Wu et al. 2020); 0 switches it off.
        adversarial_start: the epoch from which weights are perturbed.
        adversarial_parameters: a regular expression for the names of the parameters to perturb.
        score_learning_rate: learning rate of the score layer (default: learning_rate).
        max_length: tokens that a prompt with its responses is cut to, fairly; no battle is left out.
        verbose: print every log entry, as the Trainer does, in place of a bar and one line per evaluation.
    """

    encoding: EncodingName = "separate"
    tie_link: Literal["davidson", "rao_kupper"] = "davidson"
    outcomes: Literal["three", "four"] = "three"
    show_models: bool = False
    style: bool = True
    grades: Literal["own", "all", "none"] = "own"
    init_from: str | None = None
    batch_tokens: int = 8192
    eval_batch_tokens: int | None = None
    padding_free: bool = True
    teacher_weight: float = 0.0
    teacher_temperature: float = 1.0
    adversarial_norm: float = 0.0
    adversarial_start: float = 1.0
    adversarial_parameters: str = r"\.(weight|lora_[AB]\..*)$"
    score_learning_rate: float | None = None
    verbose: bool = False

    # TRL's defaults assume a large decoder on a GPU: bf16 and checkpointing on, whatever the device.
    bf16: bool = False
    gradient_checkpointing: bool | None = None  # type: ignore[assignment]  # None: the library decides, and warns of nothing
    max_length: int | None = 1024
    learning_rate: float = 2e-5
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 2
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = "eval_log_loss"
    logging_steps: float = 0.02
    report_to: None | str | list[str] = "none"  # noqa: RUF036  TRL 1.16's parser wants None first

    def __post_init__(self) -> None:
        # Transformers 5.23 refuses bf16 without a GPU unless it is told that the CPU is meant; whether the CPU computes
        # bf16 well is asked by `reward_model.train.build_model.check_device`.
        self.use_cpu = self.use_cpu or default_device().type == "cpu"
        super().__post_init__()

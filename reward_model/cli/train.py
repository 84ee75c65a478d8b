"""Trains a tie-aware reward model from battles: `python train_reward.py --config recipes/minilm_cpu.yaml`.

Any flag overrides the recipe. Started again with the same output directory it goes on from its last whole checkpoint.
With `--folds 5` it trains five times, each time without a fifth of the prompts.
"""

import reward_model  # noqa: F401  before Transformers: it keeps a warning of bitsandbytes off the screen

# isort: split
import copy
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

import datasets
import torch
from trl import ModelConfig

from arena_data.containers.limit_flags import limits_of
from arena_data.errors import InputError
from arena_data.file_io import check_folder
from arena_data.reading.cleaning import oddity_lines
from arena_data.splits.training_parts import read_training_battles, read_training_split, split_by_judge
from arena_data.transcripts.model_names import names_missing
from reward_model.cli.console.training_summary import print_summary
from reward_model.errors import ModelError
from reward_model.publish.push import push_run
from reward_model.quiet import quiet_libraries
from reward_model.tokens.encoding import BattleEncoder, truncation_summary
from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.tokenizer import load_tokenizer
from reward_model.train.build_model import check_device
from reward_model.train.checkpoints.main_process import on_main_process
from reward_model.train.checkpoints.resuming import checkpoint_to_resume, write_settings
from reward_model.train.compose import compose
from reward_model.train.device_figures import NotFiniteError
from reward_model.train.finish import doubt, finish_run
from reward_model.train.folds import check_folds_root, finish_folds, fold_directory
from reward_model.train.progress import show_progress
from reward_model.train.settings.checks import check_settings, engine_of, tokenizer_note, whole_max_length
from reward_model.train.settings.config import DataArguments, TieRewardConfig
from reward_model.train.settings.recipe import RecipeParser
from reward_model.train.settings.run_settings import settings_of
from reward_model.train.settings.setting_checks import check_honoured, check_ranges, check_trackers
from reward_model.train.sources import CV, grade_lines, parse_weights, read_sources, source_lines
from reward_model.train.warm_start import open_warm_start


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 2 for what a person has to mend, 1 for a loss that is not finite."""
    try:
        train(arguments)
    except (InputError, ModelError, NotFiniteError, ValueError, OSError, ImportError) as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, NotFiniteError) else 2
    return 0


def parser() -> RecipeParser:
    """The project's own flags first, then those of TRL and Transformers."""
    return RecipeParser([DataArguments, TieRewardConfig, ModelConfig], "train", "Trains a tie-aware reward model.")


def train(arguments: Sequence[str] | None) -> None:
    data, config, model_arguments = parser().parse_run(sys.argv[1:] if arguments is None else arguments)
    if not config.verbose:
        quiet_libraries()
    push_to, token = repository(config)
    main_process = is_main(config)
    if data.folds is None:
        train_run(data, config, model_arguments)
    else:
        train_folds(data, config, model_arguments)
    # A push takes as long as the network wants: processes that waited for it would run into ddp_timeout.
    leave_together()
    if push_to and main_process:
        address = push_run(config.output_dir, push_to, private=bool(config.hub_private_repo), token=token)
        print(f"pushed: {address}")


def train_folds(data: DataArguments, config: Any, model_arguments: Any) -> None:
    """A run a fold, out-of-fold predictions of all battles, and the mean of the folds' weights as a run of its own."""
    assert data.folds is not None
    if data.num_folds is not None or data.eval_file or data.folds < 2:
        raise ValueError(
            "--folds wants at least 2, and neither --num_folds nor --eval_file: each fold is held out once"
        )
    if (config.resume_from_checkpoint or "true").lower() not in ("true", "false"):
        raise ValueError("--folds goes on from each fold's own checkpoint; --resume_from_checkpoint names one")
    on_main_process(lambda: check_folds_root(config.output_dir))
    for fold in range(data.folds):
        say(config, f"fold {fold + 1} of {data.folds}")
        one = copy.copy(config)
        one.output_dir = str(fold_directory(config.output_dir, fold))
        train_run(dataclasses.replace(data, folds=None, num_folds=data.folds, fold=fold), one, model_arguments)
    if is_main(config):
        battles, _ = split_by_judge(
            read_training_battles(data.train_file, data.max_train_battles, limits_of(data.read_limits))
        )
        figures = finish_folds(config.output_dir, data.folds, battles)
        print(
            f"out-of-fold log loss {figures['log_loss']:.4f} (uncalibrated {figures['log_loss_uncalibrated']:.4f}, class"
            f" prior {figures['class_prior_log_loss']:.4f}) on {figures['battles']:,} battles; averaged weights in"
            f" {config.output_dir}"
        )


def train_run(data: DataArguments, config: Any, model_arguments: Any) -> None:
    """From battles to a run directory. config: TieRewardConfig; model_arguments: ModelConfig."""
    # 1. What can be refused without reading a battle.
    gpu = config.device.type != "cpu"
    limits = limits_of(data.read_limits)
    check_ranges(data, config, model_arguments)
    if data.extra_weight != [CV] and not data.extra_file:
        raise ValueError("--extra_weight is of --extra_file, which is not given")
    warm_start, model_arguments, said = open_warm_start(config, model_arguments)
    check_honoured(config, model_arguments)
    check_trackers(list(config.report_to or []))
    check_device(bool(config.bf16), bool(config.use_cpu))
    check_folder(str(config.output_dir))
    tokenizer = load_tokenizer(model_arguments.model_name_or_path, model_arguments.model_revision)
    if config.max_length is None:
        config.max_length = whole_max_length(tokenizer, model_arguments)
    check_settings(config, model_arguments, engine_of(config), gpu=gpu)
    encoder = BattleEncoder(tokenizer, config.max_length, encoding_named(config.encoding))
    say(config, *filter(None, [tokenizer_note(tokenizer)]), *said)

    # 2. Battles, each once, in three parts that nothing links.
    with config.main_process_first(desc="battles"):
        battles = split_battles(data)
        sources, extra = read_sources(data.extra_file, battles, grades=config.grades, limits=limits)
    parse_weights(data.extra_weight, sources.names)
    say(config, *(f"{name}: {len(part):,} battles" for name, part in battles.items()))
    say(config, *oddity_lines(battles["train"]["oddities"]))
    say(config, *grade_lines(sources, battles["train"], extra, grades=config.grades))
    if config.teacher_weight > 0 and all(teacher is None for teacher in battles["train"]["teacher"]):
        raise ModelError("teacher_weight is set, but no battle has a teacher's probabilities; add them, or set it to 0")

    if config.show_models and (missing := names_missing(battles["train"])):
        say(config, f"{missing:,} training battles lack a model's name, which is marked as missing")

    def settings_and_checkpoint() -> tuple[dict[str, Any], str | None, list[str]]:
        settings = settings_of(data, config, model_arguments, battles, extra)
        return settings, *checkpoint_to_resume(config.output_dir, settings, config.resume_from_checkpoint)

    settings, checkpoint, passed_over = on_main_process(settings_and_checkpoint)
    say(config, *passed_over)

    # 3. The model, its start at the tie rate and the style that were seen, and token ids, cut fairly; no row dropped.
    run = compose(
        battles,
        encoder,
        config,
        model_arguments,
        sources=sources,
        extra=extra,
        extra_weight=data.extra_weight,
        warm_start=warm_start,
        progress=is_main(config),
    )
    if warm_start is not None:
        kept = run.style_fit is not None and run.style_fit.from_centre
        say(config, warm_start.line(style_kept=kept, sources=len(sources.names), grades=sources.grade_levels))
    if run.mixed is not None:
        sources = run.mixed.sources
        say(config, *source_lines(sources, extra, run.mixed.by_cross_validation))
    if run.style_fit is not None:
        say(config, f"style alone: cross-validated log loss {run.style_fit.log_loss:.4f} on the training battles")
    say(config, str(truncation_summary(run.data.train.rows, encoder.max_length)))

    # 4. Training, from the last checkpoint if there is one.
    if not config.verbose:
        show_progress(run.trainer)
    if checkpoint:
        say(config, f"going on from {checkpoint}")
    elif is_main(config):
        write_settings(config.output_dir, settings)
    run.trainer.run_settings = settings
    run.trainer.train(resume_from_checkpoint=checkpoint)

    # 5. Calibration on battles that training has not seen, and the artefact.
    style_log_loss = None if run.style_fit is None else run.style_fit.log_loss
    metrics = finish_run(run.trainer, run.data, model_arguments, sources, style_log_loss)
    if run.trainer.is_world_process_zero():
        print_summary(metrics, str(config.output_dir))
        if warning := doubt(metrics):
            print(warning)


def split_battles(data: DataArguments) -> dict[str, datasets.Dataset]:
    """train, validation and calibration, linked battles in one part. Raises: InputError for input that cannot be read."""
    return read_training_split(
        data.train_file,
        data.eval_file,
        max_battles=data.max_train_battles,
        limits=limits_of(data.read_limits),
        validation_share=data.validation_share,
        calibration_share=data.calibration_share,
        num_folds=data.num_folds,
        fold=data.fold,
        seed=data.split_seed,
    )


def repository(config: TieRewardConfig) -> tuple[str | None, str | None]:
    """Where the finished run is to be pushed, if anywhere, and the token for it.

    Both are taken out of the settings: the Trainer would push checkpoints, and write the token into each of them.

    Raises: ModelError where --push_to_hub comes without --hub_model_id.
    """
    token, config.hub_token = config.hub_token, None
    if not config.push_to_hub:
        return None, None
    config.push_to_hub = False
    if not config.hub_model_id:
        raise ModelError("push_to_hub needs --hub_model_id user/name")
    return config.hub_model_id, token


def leave_together() -> None:
    """Ends the process group once all are done: gloo now and then aborts a process whose peer has left already."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def is_main(config: TieRewardConfig) -> bool:
    return config.process_index == 0


def say(config: TieRewardConfig, *lines: str) -> None:
    if is_main(config):
        for line in lines:
            print(line, file=sys.stderr)

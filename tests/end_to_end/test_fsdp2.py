"""FSDP2 on two CPU processes: under PyTorch's own `fully_shard` a model ends as in one process that takes whole batches.

`accelerate` runs FSDP2 on GPUs only, so `train_reward.py` refuses it on a CPU. What is this project's own does not depend on
accelerate: the score layer, the loss and its mean over a step, the optimizer's groups. Here they train on a gloo mesh.

Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import state_dict as states
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import set_seed
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from trl import ModelConfig

from arena_data.splits.training_parts import read_training_split
from benchmarks.scale import __main__ as scale
from reward_model.cli import predict
from reward_model.model.score_layer import find_score_layer
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.tokenizer import load_tokenizer
from reward_model.train.build_model import load_model, lora_config
from reward_model.train.dataset import training_data
from reward_model.train.finish import finish_run
from reward_model.train.settings.config import TieRewardConfig
from reward_model.train.trainer import TieRewardTrainer
from tests.helpers.tiny_models import write_backbone

BATTLES, FIRST_HALF, SECOND_HALF = 6, range(3), range(3, 6)  # battles a step, steps
SHARES = [slice(0, 4), slice(4, None)]  # of a step's battles, by rank: unequal, so that a mean of means would be wrong


def make_trainer(method: str, rows: Any, folder: Path, name: str, *, sharded: bool = False) -> Any:
    """The same weights at every call. Rows are read end to end, also sharded: one pack a rank is one call of the model."""
    set_seed(0)
    arguments = ModelConfig(model_name_or_path=str(folder / "backbone"), use_peft=method == "lora", lora_r=4)
    tokenizer = load_tokenizer(str(folder / "backbone"))
    model = load_model(arguments, tokenizer, style_features=len(rows[0]["style_a"]), tie_bias=-0.3)
    config = TieRewardConfig(str(folder / name), use_cpu=True, learning_rate=1e-3, max_length=300)
    lora = lora_config(arguments, model)
    trainer: Any = TieRewardTrainer(
        model=model, args=config, processing_class=tokenizer, train_dataset=rows, eval_dataset=rows, peft_config=lora
    )
    assert trainer._packed is not None and trainer.data_collator.padding_free
    if sharded:
        mesh = dist.device_mesh.init_device_mesh("cpu", (config.world_size,))
        for module in [*trainer.model.modules()][::-1]:
            if isinstance(module, LlamaDecoderLayer) or module is trainer.model:
                fully_shard(module, mesh=mesh)
        assert all(isinstance(p, DTensor) and p.device_mesh.size() == 2 for p in trainer.model.parameters())
        assert all(p.dtype == torch.float32 for p in find_score_layer(trainer.model).parameters())
    trainer.create_optimizer()
    return trainer


def train(trainer: Any, share: slice, steps: range) -> torch.Tensor:
    """float32 [steps, 2]: the loss and the gradient's norm before it is clipped, both of the whole step."""
    figures = []
    for step in steps:
        battles = list(trainer.train_dataset.select(range(step * BATTLES, (step + 1) * BATTLES)))[share]
        batch = trainer.data_collator(battles)
        in_step = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
        loss = trainer.accelerator.reduce(trainer.training_step(trainer.model, batch, in_step), "mean")
        norm = torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        figures.append([float(loss), float(norm.full_tensor() if isinstance(norm, DTensor) else norm)])
    return torch.tensor(figures)


def work(rank: int, folder: Path, rows: Any) -> None:
    """One of the processes: trains, saves after half of the steps, and goes on from there with a new model."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    whole = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
    for method in ("full", "lora"):
        trainer, again = (make_trainer(method, rows, folder, "sharded", sharded=True) for _ in range(2))
        figures = [train(trainer, SHARES[rank], FIRST_HALF)]
        saved, loaded = ([*states.get_state_dict(t.model, t.optimizer)] for t in (trainer, again))
        dcp.save({"model": saved[0], "optimizer": saved[1]}, checkpoint_id=folder / method)
        figures.append(train(trainer, SHARES[rank], SECOND_HALF))
        dcp.load({"model": loaded[0], "optimizer": loaded[1]}, checkpoint_id=folder / method)
        states.set_state_dict(again.model, again.optimizer, model_state_dict=loaded[0], optim_state_dict=loaded[1])
        train(again, SHARES[rank], SECOND_HALF)
        found = {"": {"figures": torch.cat(figures)}}
        found |= {
            t: states.get_model_state_dict(m.model, options=whole) for t, m in (("-end", trainer), ("-again", again))
        }
        for name, tensors in found.items():
            if rank == 0:
                save_file(tensors, folder / f"{method}{name}.safetensors")
    dist.barrier()  # gloo now and then aborts a process whose peer has left already
    dist.destroy_process_group()


def without_shared_style(row: Any) -> dict[str, Any]:
    """A feature that both sides share says nothing; its gradient is rounding error, of which Adam makes a step."""
    a, b = np.asarray(row["style_a"]), np.asarray(row["style_b"])
    return {"style_a": np.where(a == b, 0.0, a), "style_b": np.where(a == b, 0.0, b)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What two processes left, and what they trained on: folder and data."""
    folder = tmp_path_factory.mktemp("fsdp2")
    encoder = BattleEncoder(load_tokenizer(str(write_backbone(folder / "backbone"))), 300)
    parts = read_training_split([str(scale.SAMPLE)], max_battles=80, validation_share=0.2, calibration_share=0.2)
    data = training_data(parts, encoder, style=True)
    rows = data.train.rows.map(without_shared_style)
    torch.multiprocessing.spawn(work, (folder, rows), nprocs=2)
    return folder, dataclasses.replace(data, train=dataclasses.replace(data.train, rows=rows))


@pytest.mark.scale
@pytest.mark.parametrize("method", ["full", "lora"])
def test_sharded_training_ends_as_one_process_does_and_resumes_bit_for_bit(method: str, trained: Any) -> None:
    folder, data = trained
    figures, sharded, again = (load_file(folder / f"{method}{name}.safetensors") for name in ("", "-end", "-again"))
    one, other = (make_trainer(method, data.train.rows, folder, f"{method}-{name}") for name in ("one", "other"))
    before = find_score_layer(one.model).weight.clone()
    expected = torch.cat([train(one, slice(None), steps) for steps in (FIRST_HALF, SECOND_HALF)])
    torch.testing.assert_close(figures["figures"], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sharded, dict(one.model.state_dict()), atol=1e-4, rtol=0)
    assert (find_score_layer(one.model).weight - before).abs().max() > 1e-3
    assert sharded.keys() == again.keys() and all(torch.equal(sharded[name], again[name]) for name in sharded)

    other.model.load_state_dict(sharded)
    scale.write_battles(folder / "battles.csv")
    probabilities = []
    for trainer in (one, other):
        arguments = ModelConfig(model_name_or_path=str(folder / "backbone"), use_peft=method == "lora")
        finish_run(trainer, data, arguments)
        files = ["--input", str(folder / "battles.csv"), "--output", str(folder / "submission.csv")]
        flags = ["--model", trainer.args.output_dir, "--dtype", "float32", "--device", "cpu", "--quiet"]
        assert predict.main([*files, *flags]) == 0
        probabilities.append(scale.read_submission(folder / "submission.csv"))
    np.testing.assert_allclose(*probabilities, atol=1e-5)

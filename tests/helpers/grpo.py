"""A real step of TRL's GRPO on a tiny policy: what any reward function of ours must survive."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer

from tests.helpers.tiny_models import byte_tokenizer


def mean_rewards_of_a_step(reward_funcs: Sequence[Any], prompts: Sequence[Any], output_dir: Path) -> list[float]:
    """One step; returns the mean reward of each function, and asserts that rewards differ and that the policy moves."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    policy = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=1, **sizes))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    trainer = GRPOTrainer(
        model=policy,
        reward_funcs=list(reward_funcs),
        args=GRPOConfig(
            output_dir=str(output_dir),
            max_steps=1,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=12,
            learning_rate=1e-2,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
        processing_class=tokenizer,
    )
    trainer.train()
    logged = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert logged["reward_std"] > 0
    assert np.isfinite(logged["grad_norm"]) and logged["grad_norm"] > 0
    moved = [name for name, value in policy.state_dict().items() if not torch.equal(value, before[name])]
    assert len(moved) > len(before) // 2
    return [value for name, value in logged.items() if name.startswith("rewards/") and name.endswith("/mean")]

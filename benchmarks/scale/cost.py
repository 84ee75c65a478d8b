"""What a billion battles cost on paper: `python -m benchmarks.scale.cost [--battles 1000000000] [--mfu 0.3]`.

    battles an hour = 3600 x peak FLOPs a second x MFU / (FLOPs a token x tokens a battle)

FLOPs and tokens are the planner's (`reward_model.plan`), and peaks those of data sheets. MFU and prices are assumptions.
No GPU was measured. Dollars are of GPUs alone. Prints the table of docs/scale.md, in a minute.
"""

import argparse
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, PretrainedConfig
from trl import ModelConfig

from reward_model.plan.footprint import footprint
from reward_model.plan.known_backbones import backbone_config
from reward_model.plan.plan import PEAK_TFLOPS, tokens_per_battle

# Dollars an hour of one GPU on demand: an assumption near public prices of large clouds in 2026. Put in your own.
PRICES = {"t4": 0.35, "l4": 0.70, "a100": 2.50, "h100": 4.00}
# The fields of its config.json that give its shape: https://huggingface.co/Qwen/Qwen2.5-0.5B.
_QWEN25_05B = {
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
}
# The shape of models/minilm: https://huggingface.co/nreimers/MiniLM-L6-H384-uncased.
_MINILM = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
}


@dataclass(frozen=True)
class Model:
    """tokens: of both rows of a battle, cut to max_length, with separate encoding."""

    name: str
    config: PretrainedConfig
    max_length: int
    tokens: float

    @property
    def flops_per_battle(self) -> float:
        arguments: Any = ModelConfig(dtype="bfloat16")
        counted = footprint(
            self.config,
            arguments,
            batch_tokens=2 * self.max_length,
            max_length=self.max_length,
            checkpointing=False,
            autocast=False,
            accumulation=False,
        )
        return self.tokens * counted.flops_per_token(self.tokens / 2, training=False)


def models() -> list[Model]:
    separate = tokens_per_battle("separate", 2048)
    return [
        # Tokens with MiniLM's own tokenizer, as docs/scale.md says.
        Model("MiniLM, 512 tokens", AutoConfig.for_model("bert", num_labels=1, **_MINILM), 512, 592),
        Model("0.5B, 2,048 tokens", AutoConfig.for_model("qwen2", num_labels=1, **_QWEN25_05B), 2048, separate),
        Model("9B, 2,048 tokens", backbone_config("google/gemma-2-9b-it"), 2048, separate),
    ]


def table(chosen: list[Model], battles: int, mfu: float) -> str:
    """Battles an hour of one GPU, GPU hours and dollars for all battles, as Markdown."""
    lines = [
        "| model | GPU | tokens a second | battles an hour | GPU hours | dollars |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for model in chosen:
        flops = model.flops_per_battle
        for gpu, price in PRICES.items():
            a_second = PEAK_TFLOPS[gpu] * 1e12 * mfu / flops
            hours = battles / a_second / 3600
            cells = [
                f"{a_second * model.tokens:,.0f}",
                f"{a_second * 3600:,.0f}",
                f"{hours:,.0f}",
                f"{hours * price:,.0f}",
            ]
            lines.append(f"| {model.name} | {gpu.upper()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--battles", type=int, default=1_000_000_000)
    parser.add_argument("--mfu", type=float, default=0.3, help="share of the peak that is reached")
    options = parser.parse_args()
    print(table(models(), options.battles, options.mfu))


if __name__ == "__main__":
    main()

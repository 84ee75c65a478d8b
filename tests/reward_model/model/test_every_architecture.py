"""Each architecture: all parameters learn, padding and batching change no score, strangers load the same reward."""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

from reward_model.model import score_layer as score
from reward_model.model.tie_links import log_probabilities
from reward_model.run_directory.load_score import load_score

STYLE = 3
PAD = 1
SHARED = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "num_labels": 1,
}
GROUPED = SHARED | {"num_key_value_heads": 1, "head_dim": 8}
DROPOUT_FREE = SHARED | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
DECODERS: dict[str, PreTrainedConfig] = {
    "llama3": LlamaConfig(**GROUPED, rope_parameters=LLAMA3_ROPE),
    "gemma2": Gemma2Config(**GROUPED, sliding_window=8),
    "gemma3": Gemma3TextConfig(**GROUPED, sliding_window=8),
    "qwen2": Qwen2Config(**{name: value for name, value in GROUPED.items() if name != "head_dim"}),
    "qwen3": Qwen3Config(**GROUPED),
}
ENCODERS: dict[str, PreTrainedConfig] = {
    "deberta_v3": DebertaV2Config(
        **DROPOUT_FREE,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        pooler_hidden_size=16,
        pooler_dropout=0.0,
    ),
    "modernbert": ModernBertConfig(**SHARED, local_attention=8, cls_token_id=0, sep_token_id=2),
    "bert": BertConfig(**DROPOUT_FREE),
    "roberta": RobertaConfig(**DROPOUT_FREE),
    "electra": ElectraConfig(**DROPOUT_FREE, embedding_size=8),
    "mpnet": MPNetConfig(**DROPOUT_FREE),
}
ARCHITECTURES = DECODERS | ENCODERS


def stock_model(name: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(copy.deepcopy(ARCHITECTURES[name]))


def tie_aware(name: str, lora: bool) -> Any:
    model = stock_model(name)
    layer = score.install_score_layer(model, style_features=STYLE, tie_bias=-0.7)
    torch.nn.init.normal_(layer.tie.weight, std=0.02)  # as after some training: at first it is 0
    if not lora:
        return model
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=2,
        lora_dropout=0.0,
        target_modules="all-linear",
        modules_to_save=score.head_module_names(model),
    )
    return get_peft_model(model, config)


def token_rows(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 60, (length,), generator=generator) for length in lengths]


def padded(rows: list[torch.Tensor], side: str = "right", width: int | None = None) -> dict[str, torch.Tensor]:
    width = width or max(len(row) for row in rows)
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros(len(rows), width, dtype=torch.int64)
    for index, row in enumerate(rows):
        real = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[index, real], mask[index, real] = row, 1
    return {"input_ids": ids, "attention_mask": mask}


def scores(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    model.eval()
    with torch.no_grad(), score.score_inputs(model, positions=score.last_positions(batch["attention_mask"])):
        return model(**batch).logits


def take_steps(model: nn.Module, steps: int = 2) -> None:
    """Trains on four battles: rows 0 to 3 hold response A, rows 4 to 7 response B."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    batch = padded(token_rows([7, 12, 9, 5, 11, 6, 9, 8]))
    generator = torch.Generator().manual_seed(2)
    style = torch.randn(8, STYLE, generator=generator)
    difference = (style[:4] - style[4:]).abs()
    pair = torch.cat((difference, torch.rand(4, 1, generator=generator)), dim=1).repeat(2, 1)
    verdict = torch.tensor([0, 1, 2, 2])
    positions = score.last_positions(batch["attention_mask"])
    model.train()
    for _ in range(steps):
        with score.score_inputs(model, positions=positions, style=style, pair=pair):
            value, tie = model(**batch).logits.unbind(dim=-1)
        log_probs = log_probabilities(value[:4] - value[4:], (tie[:4] + tie[4:]) / 2, "davidson")
        nn.functional.nll_loss(log_probs, verdict).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_trainable_parameter_learns(name: str, lora: bool, checkpointing: bool) -> None:
    model = tie_aware(name, lora)
    if checkpointing and name == "mpnet":
        pytest.skip("MPNet has no gradient checkpointing in Transformers")
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    take_steps(model)
    trainable = {key: value for key, value in model.named_parameters() if value.requires_grad}
    unmoved = {id(value) for key, value in trainable.items() if torch.equal(value, before[key])}
    # The reward's own bias cancels in the margin; nothing but a reward-centring term can tell it anything.
    bias = score.find_score_layer(model).bias
    assert unmoved <= {id(bias)}
    assert all(bool(value.isfinite().all()) for value in trainable.values())
    frozen = {key for key, value in model.named_parameters() if not value.requires_grad}
    assert {key for key in frozen if not torch.equal(before[key], model.get_parameter(key))} == set()
    active = {id(parameter) for parameter in score.find_score_layer(model).parameters()}
    assert active <= {id(parameter) for parameter in trainable.values()}
    assert len(active) == 6 + (bias is not None)
    assert bool(frozen) == lora


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_reward_centring_moves_the_bias(name: str) -> None:
    model = tie_aware(name, lora=True)
    bias = score.find_score_layer(model).bias
    batch = padded(token_rows([7, 5]))
    model(**batch).logits[:, 0].mean().square().backward()
    assert bias.grad is not None
    assert bias.grad.abs().item() > 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_score_does_not_depend_on_the_batch(name: str) -> None:
    model = tie_aware(name, lora=False)
    rows = token_rows([4, 13, 9])
    # Ends in the padding token, as text does whose EOS doubles as padding: stock pooling would look one token earlier.
    rows[2][-1] = PAD if name in DECODERS else rows[2][-1]
    alone = torch.cat([scores(model, padded([row])) for row in rows])
    assert alone.unique().numel() == 6
    sides = ["right", "left"] if name in DECODERS else ["right"]
    for side in sides:
        torch.testing.assert_close(scores(model, padded(rows, side)), alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(scores(model, padded(rows[::-1], side, width=20)).flip(0), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", DECODERS)
def test_the_last_token_is_pooled_though_it_is_the_padding_token(name: str) -> None:
    model = tie_aware(name, lora=False)
    (row,) = token_rows([9])
    row[-1] = PAD
    batch = padded([row], "left", width=12)
    backbone = getattr(model, model.base_model_prefix)
    state = backbone(**batch).last_hidden_state[:, -1]
    torch.testing.assert_close(scores(model, batch), score.find_score_layer(model)(state), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_bfloat16_model_keeps_a_float32_score(name: str) -> None:
    model = tie_aware(name, lora=True)
    before = {key: value.clone() for key, value in score.find_score_layer(model).state_dict().items()}
    model.to(torch.bfloat16)
    after = score.find_score_layer(model).state_dict()
    assert all(torch.equal(after[key], before[key]) and after[key].dtype == torch.float32 for key in before)
    assert any(parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    logits = scores(model, padded(token_rows([6, 9])))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


STRANGER = """
import json, pathlib, sys
sys.modules["reward_model"] = sys.modules["arena_data"] = None  # an editable install is seen by -I too
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoModelForSequenceClassification
found = {}
for folder in map(pathlib.Path, sys.argv[1:]):
    batch = {name: torch.tensor(rows) for name, rows in json.loads((folder / "batch.json").read_text()).items()}
    for kind in ("full", "lora"):
        loader = AutoModelForSequenceClassification if kind == "full" else AutoPeftModelForSequenceClassification
        model = loader.from_pretrained(str(folder / kind), num_labels=1).eval()
        with torch.no_grad():
            found[f"{folder.name} {kind}"] = model(**batch).logits[:, 0].tolist()
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, torch.Tensor], dict[str, Any]]]:
    """Trained models and adapters on disk, the scores they gave, and the models."""
    root = tmp_path_factory.mktemp("saved")
    expected, models = {}, {}
    for name in ARCHITECTURES:
        batch = padded(token_rows([8, 5, 11]))
        folder = root / name
        stock_model(name).save_pretrained(folder / "base")
        (folder / "batch.json").write_text(json.dumps({key: value.tolist() for key, value in batch.items()}))
        for kind in ("full", "lora"):
            model = tie_aware(name, lora=kind == "lora")
            if kind == "lora":
                model.peft_config["default"].base_model_name_or_path = str(folder / "base")
            take_steps(model)
            model.save_pretrained(folder / kind)
            expected[f"{name} {kind}"], models[f"{name} {kind}"] = scores(model, batch), model
    yield root, expected, models


def test_strangers_get_the_same_reward(saved: Any, tmp_path: Path) -> None:
    """Stock Transformers and PEFT, isolated from this project, read the value and pass over the rest."""
    root, expected, _ = saved
    command = [sys.executable, "-I", "-c", STRANGER, *(str(root / name) for name in ARCHITECTURES)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.rpartition("FOUND")[2])
    assert found.keys() == expected.keys()
    for key, values in found.items():
        torch.testing.assert_close(torch.tensor(values), expected[key][:, 0], atol=1e-5, rtol=0, msg=key)


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_our_loader_restores_every_parameter(name: str, kind: str, saved: Any) -> None:
    root, expected, models = saved
    trained = models[f"{name} {kind}"]
    source = root / name / ("full" if kind == "full" else "base")
    model: Any = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    score.install_score_layer(model, style_features=STYLE, tie_bias=5.0)
    if kind == "lora":
        model = PeftModel.from_pretrained(model, str(root / name / "lora"))
    else:
        assert score.find_score_layer(model).tie.bias.item() == 5.0
    load_score(model, root / name / kind)
    wanted = dict(trained.named_parameters())
    active = {f"{key}" for key, value in wanted.items() if value.requires_grad}
    restored = dict(model.named_parameters())
    assert restored.keys() == wanted.keys()
    assert {key for key in active if not torch.equal(restored[key], wanted[key])} == set()
    batch = {key: torch.tensor(rows) for key, rows in json.loads((root / name / "batch.json").read_text()).items()}
    torch.testing.assert_close(scores(model, batch), expected[f"{name} {kind}"], atol=1e-6, rtol=0)

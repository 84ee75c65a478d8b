"""Checkpoints that are quantised already: read as they are by Transformers' loaders, or refused in one line."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM
from trl import ModelConfig

from reward_model.errors import ModelError
from reward_model.model.quantised import quantisation_method
from reward_model.model.score_layer import TieAwareScore, find_score_layer
from reward_model.predict.scorer import Scorer
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.tokens.tokenizer import prepare_tokenizer
from reward_model.train.build_model import load_model
from tests.helpers.run_directories import LARGER, make_run
from tests.helpers.tiny_models import SIZES, byte_tokenizer

ROWS = [[7 + row, *[9 + row] * (20 + 3 * row)] for row in range(6)]
needs_compressed_tensors = pytest.mark.skipif(
    importlib.util.find_spec("compressed_tensors") is None, reason="needs compressed-tensors"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter whose backbone is a causal language model: its own head is left over, and the score layer is new."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run", model_type="adapter")
    causal().save_pretrained(run.with_name("run-backbone"))
    return run


def causal() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(byte_tokenizer()), **SIZES | LARGER))


def rounded(weight: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers and a scale for each row."""
    scale = weight.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    return (weight / scale).round(), scale


def compressed(folder: Path, bits: int, *, activations: bool) -> Path:
    """The backbone as a tool for quantising writes it, all its linear layers but `lm_head` quantised."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        QuantizationStatus,
        apply_quantization_config,
    )

    model = causal()
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(num_bits=bits, strategy="channel"),
        input_activations=QuantizationArgs(num_bits=8, strategy="token", dynamic=True) if activations else None,
    )
    form = "int-quantized" if activations else "pack-quantized"
    config = QuantizationConfig(config_groups={"all": scheme}, ignore=["lm_head"], format=form)
    apply_quantization_config(model, config)
    for module in model.modules():
        if hasattr(module, "quantization_scheme"):
            module.weight_scale.data.copy_(rounded(module.weight.data, bits)[1])
            module.quantization_status = QuantizationStatus.FROZEN
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(str(folder))
    return folder


def scorer_on(run: Path, backbone: Path, **options: Any) -> Scorer:
    loading = LoadOptions(**{"base_model": str(backbone), "dtype": "float32", "device": "cpu"} | options)
    return Scorer(load_run_model(read_run(run), loading))


@needs_compressed_tensors
def test_compressed_weights_score_as_their_rounded_numbers(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dense = causal()
    with torch.no_grad():
        for name, module in dense.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "lm_head":
                whole, scale = rounded(module.weight, 4)
                module.weight.copy_(whole * scale)
    dense.save_pretrained(tmp_path / "dense")
    compressed(tmp_path / "w4a16", 4, activations=False)
    capfd.readouterr()
    scorer = scorer_on(run, tmp_path / "w4a16")
    assert "pressing model" not in capfd.readouterr().err  # no bars
    expected = scorer_on(run, tmp_path / "dense").score(ROWS)
    np.testing.assert_allclose(scorer.score(ROWS), expected, atol=1e-4)
    plain = scorer_on(run, run.with_name("run-backbone")).score(ROWS)
    assert np.abs(plain - expected).max() > 0.01  # 4 bits are seen
    assert type(find_score_layer(scorer.loaded.model)) is TieAwareScore


@needs_compressed_tensors
def test_activations_stay_rounded_where_the_checkpoint_says_so(run: Path, tmp_path: Path) -> None:
    """W8A8: its linear layers round what they are given; making plain layers of them would lose that."""
    scorer = scorer_on(run, compressed(tmp_path / "w8a8", 8, activations=True))
    plain = scorer_on(run, run.with_name("run-backbone")).score(ROWS)
    difference = np.abs(scorer.score(ROWS) - plain).max()
    assert 1e-3 < difference < 0.5 * plain.std()
    layer = next(m for name, m in scorer.loaded.model.named_modules() if name.endswith("0.mlp.up_proj.base_layer"))
    given = torch.linspace(-1, 1, 64)[None]
    assert layer.weight.is_floating_point()
    assert (layer(given) - given @ layer.weight.T).abs().max() > 1e-4


def test_a_checkpoint_of_bitsandbytes_is_what_quantising_it_here_gives(run: Path, tmp_path: Path) -> None:
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    backbone = run.with_name("run-backbone")
    model = LlamaForCausalLM.from_pretrained(backbone, quantization_config=four_bits, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "nf4")
    scorer = scorer_on(run, tmp_path / "nf4", dtype="bfloat16")
    expected = scorer_on(run, backbone, dtype="bfloat16", load_in_4bit=True)
    assert type(find_score_layer(scorer.loaded.model)) is TieAwareScore
    layers = {type(m).__name__ for name, m in scorer.loaded.model.named_modules() if name.endswith("q_proj.base_layer")}
    assert layers == {"Linear4bit"}
    np.testing.assert_allclose(scorer.score(ROWS), expected.score(ROWS), atol=1e-3)


def named(folder: Path, run: Path, **said: Any) -> Path:
    """The backbone, with this in its configuration as how it is quantised."""
    folder.mkdir()
    backbone = run.with_name("run-backbone")
    for file in backbone.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": said}))
    return folder


GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32}


@pytest.mark.parametrize(
    ("said", "options", "message"),
    [
        (GPTQ, {}, r"reading weights of GPTQ needs optimum, which is not installed: .*\[gptq\]"),
        (AWQ, {}, r"reading weights of GPTQ or AWQ needs gptqmodel, which is not installed: .*\[gptq\]"),
        ({"quant_method": "hqq"}, {}, "weights are quantised by 'hqq'; expected one of gptq, awq"),
        ({}, {}, "weights are quantised by 'unknown'"),
        (GPTQ, {"load_in_4bit": True}, r"quantised already \(gptq\); leave out --load_in_4bit"),
        (AWQ, {"merge": True}, "not merged into weights quantised by awq; leave out --merge"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    said: dict[str, Any], options: dict[str, Any], message: str, run: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("gptqmodel") is not None and "needs" in message:
        pytest.skip("the package is here")
    with pytest.raises(ModelError, match=message) as refusal:
        scorer_on(run, named(tmp_path / "backbone", run, **said), **options)
    assert "\n" not in str(refusal.value)


def train(backbone: Path, **more: Any) -> Any:
    tokenizer = prepare_tokenizer(byte_tokenizer())
    arguments = ModelConfig(model_name_or_path=str(backbone), **more)
    return load_model(arguments, tokenizer, style_features=0, tie_bias=0.0)


@needs_compressed_tensors
def test_what_rounds_without_a_gradient_is_not_trained(tmp_path: Path) -> None:
    backbone = compressed(tmp_path / "w8a8", 8, activations=True)
    with pytest.raises(ModelError, match="leave nothing to train but adapters; add --use_peft"):
        train(backbone)
    with pytest.raises(ModelError, match="for prediction only; train on the unquantised backbone"):
        train(backbone, use_peft=True)


def test_adapters_are_trained_on_a_checkpoint_of_bitsandbytes(run: Path, tmp_path: Path) -> None:
    four_bits = BitsAndBytesConfig(load_in_4bit=True)
    backbone = run.with_name("run-backbone")
    LlamaForCausalLM.from_pretrained(backbone, quantization_config=four_bits).save_pretrained(tmp_path / "nf4")
    model = train(tmp_path / "nf4", use_peft=True, dtype="bfloat16")
    assert quantisation_method(model.config) == "bitsandbytes"
    assert find_score_layer(model).weight.dtype == torch.float32
    with pytest.raises(ModelError, match="leave nothing to train but adapters"):
        train(tmp_path / "nf4")

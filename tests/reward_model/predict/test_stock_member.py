"""A stock one-label model: the rewards that its own code gives, wrapped with a tie link, refused where it cannot be used."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaForCausalLM,
)

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.submission import read_submission
from reward_model.__main__ import main
from reward_model.api import RewardModel
from reward_model.cli import predict
from reward_model.errors import ModelError
from reward_model.predict.deadline import Deadline
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_judge, open_member
from reward_model.predict.processes import Team
from reward_model.predict.stock_member import StockMember
from reward_model.predict.stock_rewards import StockScorer
from reward_model.publish.export import export
from reward_model.run_directory.load_model import LoadOptions
from reward_model.run_directory.stock import read_wrapped
from tests.helpers.made_battles import write_sample
from tests.helpers.tiny_models import SIZES, byte_tokenizer, tiny_llama, write_stock_llama

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
TALK = [(["What is 2 + 2?"], ["4."]), (["Hi?", "And now?"], ["Hello.", "Bye, then."]), (["Sing."], ["La la la."])]
OPTIONS = MemberOptions(LoadOptions(dtype="float32", device="cpu"))


def stock_llama(folder: Path, *, pad: str | None = "<pad>", **changes: Any) -> Path:
    write_stock_llama(folder, template=TEMPLATE, pad=pad)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock_llama(tmp_path_factory.mktemp("stock") / "rm")


def as_its_card_says(folder: Path) -> np.ndarray:
    """Each conversation by itself, by the tokenizer's own template."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    rewards = []
    for prompt, response in TALK:
        messages = []
        for user, assistant in zip(prompt, response, strict=True):
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        ids = tokenizer.apply_chat_template(messages, tokenize=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            rewards.append(model(**ids).logits[0][0].item())
    return np.array(rewards)


@pytest.mark.parametrize("pad", ["<pad>", "<eos>", None])
def test_rewards_are_those_of_its_own_code_however_it_pads(pad: str | None, tmp_path: Path) -> None:
    folder = stock_llama(tmp_path / "rm", pad=pad)
    rewards, cut = StockScorer(str(folder), device="cpu", dtype="float32").rewards(*zip(*TALK, strict=True))
    np.testing.assert_allclose(rewards, as_its_card_says(folder), atol=1e-5)
    assert not cut.any() and np.ptp(rewards) > 1e-3


def test_a_tokenizer_without_a_template_reads_a_pair(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(encoder=True)
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **SIZES | {"initializer_range": 0.2}))
    model.eval().save_pretrained(tmp_path)
    rewards, _ = StockScorer(str(tmp_path), device="cpu", dtype="float32").rewards([["Sing."]], [["La la la."]])
    with torch.no_grad():
        expected = model(**tokenizer("Sing.", "La la la.", return_tensors="pt")).logits[0, 0].item()
    assert rewards[0] == pytest.approx(expected, abs=1e-5)


def test_what_is_cut_is_said(llama: Path) -> None:
    scorer = StockScorer(str(llama), device="cpu", max_length=30)
    long, short = ["word " * 50], ["ok"]
    rewards, cut = scorer.rewards([["Q"]] * 2, [long, short])
    assert cut.tolist() == [True, False] and np.isfinite(rewards).all()


def test_wrapped_it_is_a_swap_exact_member_and_predicts_offline(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped, output, sample = tmp_path / "wrapped", tmp_path / "s.csv", write_sample(tmp_path / "sample.csv", 40)
    assert main(["calibrate", str(llama), "--input", sample, "--output", str(wrapped), "--device", "cpu"]) == 0
    assert "in cross-validation (class prior" in capsys.readouterr().out
    assert {path.name for path in wrapped.iterdir()} == {"stock_model.json"}
    stored = read_wrapped(wrapped)
    assert set(stored.reference.files) >= {"config.json", "model.safetensors", "chat_template.jinja"}
    flags = ["--input", sample, "--output", str(output), "--quiet", "--device", "cpu", "--offline", "--rewards"]
    assert predict.main(["--model", str(wrapped), *flags]) == 0
    _, probabilities = read_submission(output)
    member = open_member(str(wrapped), OPTIONS)
    assert isinstance(member, StockMember)
    battles = load_battles(sample).select(range(12))
    prediction = member.predict(Job(battles))
    assert prediction.scores is not None
    np.testing.assert_allclose(np.exp(prediction.log_probs), probabilities[:12], atol=1e-5)
    np.testing.assert_allclose(stored.link.log_probs(prediction.scores.margin), prediction.log_probs)
    # The same model, moved: only --base_model finds it, and only if its files are the same.
    text = (wrapped / "stock_model.json").read_text().replace(str(llama), "/nowhere/rm")
    (wrapped / "stock_model.json").write_text(text)
    assert predict.main(["--model", str(wrapped), *flags]) == 2
    assert "name it with --base_model" in capsys.readouterr().err
    assert predict.main(["--model", str(wrapped), *flags, "--base_model", str(llama)]) == 0
    other = stock_llama(tmp_path / "other", rms_norm_eps=0.5)
    assert predict.main(["--model", str(wrapped), *flags, "--base_model", str(other)]) == 2
    assert "calibrate it again" in capsys.readouterr().err


def test_it_shares_its_work_goes_on_from_shards_and_keeps_to_a_time_limit(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped, sample = tmp_path / "wrapped", write_sample(tmp_path / "sample.csv", 24)
    assert main(["calibrate", str(llama), "--input", sample, "--output", str(wrapped), "--device", "cpu"]) == 0
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 8)
    battles = load_battles(sample)
    alone = open_member(str(wrapped), OPTIONS).predict(Job(battles))
    # The other process does its share and no more; the first one takes it over, and what is left if that process is dead.
    shards, read = tmp_path / "shards", list[int]()
    shards.mkdir()
    score = StockScorer.score

    def counted(self: StockScorer, inputs: Any, check: Any) -> np.ndarray:
        read.append(len(inputs))
        return score(self, inputs, check)

    monkeypatch.setattr(StockScorer, "score", counted)
    open_member(str(wrapped), OPTIONS).work(Job(battles, Team(1, 2), shards))
    assert max(read) == 8 and len(read) == len(list(shards.rglob("*.safetensors"))) > 1
    others = len(read)
    first = open_member(str(wrapped), OPTIONS).predict(Job(battles, Team(0, 2), shards))
    assert len(read) - others == len(list(shards.rglob("*.safetensors"))) - others
    np.testing.assert_allclose(first.log_probs, alone.log_probs, atol=1e-5)
    done = len(read)
    again = open_member(str(wrapped), OPTIONS).predict(Job(battles, folder=shards))
    assert len(read) == done
    np.testing.assert_array_equal(again.log_probs, first.log_probs)
    # Time: none left, and little left.
    over = open_member(str(wrapped), OPTIONS).predict(Job(battles, deadline=Deadline(0.0)))
    assert over.failed.all()
    clock = iter(range(10_000))
    slow = Deadline(12.0, clock=lambda: float(next(clock)))
    hurried = open_member(str(wrapped), OPTIONS).predict(Job(battles, deadline=slow))
    assert hurried.shortened.any() and not alone.shortened.any()


def test_unwrapped_it_has_rewards_and_no_probabilities(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--input", "arena_data/sample.csv", "--output", str(tmp_path / "s.csv"), "--quiet"]
    assert predict.main(["--model", str(llama), *flags]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"first arena-reward calibrate {llama}" in said and not (tmp_path / "s.csv").exists()
    for change in ({"calibrated": False}, {"load": LoadOptions(merge=True, device="cpu")}):
        with pytest.raises(InputError, match="is read as it is; leave out --"):
            open_judge(str(llama), dataclasses.replace(OPTIONS, **change))  # type: ignore[arg-type]
    judge = open_judge(str(llama), OPTIONS)
    assert isinstance(judge, StockMember) and judge.wrapped is None
    with pytest.raises(InputError, match="no probabilities"):
        judge.predict(Job(None))  # type: ignore[arg-type]


def test_what_is_no_stock_reward_model_is_refused_in_a_line(llama: Path, tmp_path: Path) -> None:
    remote = stock_llama(tmp_path / "remote", auto_map={"AutoModelForSequenceClassification": "modeling.Other"})
    several = stock_llama(tmp_path / "several", id2label={"0": "a", "1": "b", "2": "c"})
    generative = tmp_path / "generative"
    LlamaForCausalLM(tiny_llama(byte_tokenizer()).config).save_pretrained(generative)
    for folder, match in ((remote, "code of its repository"), (several, "3 labels"), (generative, "generative model")):
        with pytest.raises(ModelError, match=match) as error:
            StockScorer(str(folder), device="cpu")
        assert "\n" not in str(error.value)
    bare = stock_llama(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="neither a chat template nor a separator"):
        StockScorer(str(bare), device="cpu")


def test_an_export_is_a_stock_model_too(runs: dict[str, Path], tmp_path: Path) -> None:
    export(runs["llama"], tmp_path / "export", device="cpu")
    rewards, _ = StockScorer(str(tmp_path / "export"), device="cpu").rewards(*zip(*TALK, strict=True))
    own = RewardModel.from_pretrained(runs["llama"], dtype="float32", device="cpu")
    prompts, responses = map(list, zip(*TALK, strict=True))
    np.testing.assert_allclose(rewards, own.reward(prompts, responses), atol=1e-3)

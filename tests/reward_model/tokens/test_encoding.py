"""Token ids of battles: no row dropped or over the budget, both encodings, and the closing EOS."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from arena_data.schema import FEATURES
from reward_model.tokens.encoding import BattleEncoder, truncation_summary
from reward_model.tokens.encodings import JOINT, encoding_named
from reward_model.tokens.tokenizer import prepare_tokenizer

MINILM = Path(__file__).parents[3] / "models" / "minilm"
WORDS = "the user asks why the answer is short and the assistant says that it is long enough for a question "
LONG = " ".join(f"{WORDS}{number}." for number in range(60))
TURNS: list[tuple[list[str], list[str], list[str]]] = [
    (["why?"], ["so"], ["because"]),
    ([LONG], [LONG], ["short"]),
    (["why?"], [LONG + "A"], [LONG + "B"]),
    (["one", LONG, "three"], [LONG, "two", LONG], ["a", "b", "c"]),
    ([""], [""], [""]),
    (["lone \ud800 surrogate"], ["NUL \x00"], ["[SEP] </s> <pad>"]),
]


def battles_of(turns: list[tuple[list[str], list[str], list[str]]]) -> datasets.Dataset:
    columns: dict[str, list[Any]] = {name: [None] * len(turns) for name in FEATURES}
    # Arrow takes no lone surrogate, so it becomes one where battles are read; here as text that has passed that way.
    for place, name in enumerate(("prompt", "response_a", "response_b")):
        columns[name] = [
            [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in row[place]] for row in turns
        ]
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def tiny(*, eos: str | None = "</s>", pad: str | None = "<pad>", ends_itself: bool = False) -> PreTrainedTokenizerBase:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([LONG], trainer)
    if ends_itself:
        backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return prepare_tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, pad_token=pad))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return prepare_tokenizer(AutoTokenizer.from_pretrained(MINILM)) if MINILM.exists() else tiny()


@pytest.mark.parametrize("encoding", ["separate", "joint"])
@pytest.mark.parametrize("max_length", [240, 5000])
def test_no_row_is_dropped_or_over_the_budget(tokenizer: Any, encoding: Any, max_length: int) -> None:
    battles = battles_of(TURNS)
    rows = BattleEncoder(tokenizer, max_length, encoding_named(encoding))(battles)
    assert len(rows) == len(battles)
    lengths = [len(row[side]) for row in rows for side in ("input_ids_a", "input_ids_b")]
    assert min(lengths) > 0 and max(lengths) <= max_length
    cut = [tokens > 0 for tokens in rows["tokens_cut"]]
    whole = BattleEncoder(tokenizer, 100_000, encoding_named(encoding))(battles)
    over = [max(len(row["input_ids_a"]), len(row["input_ids_b"])) > max_length for row in whole]
    assert cut == over
    assert any(over) == (max_length == 240)
    assert truncation_summary(rows, max_length).rows_cut == sum(over)
    for here, there, shortened in zip(rows, whole, over, strict=True):
        assert shortened or here["input_ids_a"] == there["input_ids_a"]


@pytest.mark.parametrize("encoding", ["separate", "joint"])
def test_swapping_a_battle_swaps_its_rows(tokenizer: Any, encoding: Any) -> None:
    encoder = BattleEncoder(tokenizer, 240, encoding_named(encoding))
    rows = encoder(battles_of(TURNS))
    swapped = encoder(battles_of([(prompt, b, a) for prompt, a, b in TURNS]))
    assert rows["input_ids_a"][:] == swapped["input_ids_b"][:]
    assert rows["input_ids_b"][:] == swapped["input_ids_a"][:]


def test_separate_reads_one_answer_and_joint_reads_both() -> None:
    tokenizer = tiny()
    battles = battles_of([(["which?"], ["left answer"], ["right answer"])])
    (separate,) = BattleEncoder(tokenizer, 500)(battles)
    (joint,) = BattleEncoder(tokenizer, 500, JOINT)(battles)
    texts = {side: tokenizer.decode(separate[f"input_ids_{side}"]) for side in "ab"}
    assert all("which?" in text for text in texts.values())
    assert "left" in texts["a"] and "right" not in texts["a"]
    assert "right" in texts["b"] and "left" not in texts["b"]
    first, second = (str(tokenizer.decode(joint[f"input_ids_{side}"])) for side in "ab")
    assert -1 < first.find("which?") < first.find("left") < first.find("right")
    assert -1 < second.find("which?") < second.find("right") < second.find("left")


def test_two_answers_that_differ_only_in_what_is_cut_still_differ(tokenizer: Any) -> None:
    (row,) = BattleEncoder(tokenizer, 160)(battles_of([(["?"], [f"{LONG} yes {LONG}"], [f"{LONG} no {LONG}"])]))
    assert row["input_ids_a"] != row["input_ids_b"]


def test_eos_closes_plain_text_where_it_is_a_token_of_its_own() -> None:
    tokenizer = tiny()
    rows = BattleEncoder(tokenizer, 160)(battles_of(TURNS))
    assert all(ids[-1] == tokenizer.eos_token_id for ids in rows["input_ids_a"])
    assert max(len(ids) for ids in rows["input_ids_a"]) <= 160


def test_eos_is_left_out_where_it_is_the_pad_token() -> None:
    tokenizer = tiny(pad=None)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    rows = BattleEncoder(tokenizer, 160)(battles_of(TURNS[:3]))
    assert all(ids[-1] != tokenizer.eos_token_id for ids in rows["input_ids_a"])


def test_eos_is_not_doubled_and_not_added_to_a_chat_template() -> None:
    tokenizer = tiny(ends_itself=True)
    rows = BattleEncoder(tokenizer, 160)(battles_of(TURNS[:3]))
    eos = tokenizer.eos_token_id
    assert all(ids[-1] == eos and ids[-2] != eos for ids in rows["input_ids_a"])
    tokenizer = tiny()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    rows = BattleEncoder(tokenizer, 160)(battles_of(TURNS[:3]))
    assert all(tokenizer.eos_token_id not in ids for ids in rows["input_ids_a"])


@pytest.mark.parametrize("encoding", ["separate", "joint"])
def test_a_budget_too_small_is_an_error_before_any_battle_is_read(tokenizer: Any, encoding: Any) -> None:
    least = BattleEncoder(tokenizer, 1000, encoding_named(encoding)).least_max_length
    with pytest.raises(ValueError, match=f"max_length is {least - 1}; .* at least {least}$"):
        BattleEncoder(tokenizer, least - 1, encoding_named(encoding))
    BattleEncoder(tokenizer, least, encoding_named(encoding))


def test_a_tokenizer_without_pad_and_eos_is_an_error() -> None:
    with pytest.raises(ValueError, match="neither a pad token nor an EOS token"):
        tiny(eos=None, pad=None)
    assert tiny().padding_side == "right"

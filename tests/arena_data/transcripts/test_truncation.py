"""Truncation keeps its promises for any text, with byte-level BPE and WordPiece, plain and chat template."""

import time
from functools import cache
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from arena_data.transcripts.rendering import clean
from arena_data.transcripts.shortening import MARK, Keep
from arena_data.transcripts.truncation import JointTruncation, SeparateTruncation, for_tokenizer, truncation_report

ROOT = Path(__file__).parents[3]
KINDS = ["bpe", "bpe-chat", "wordpiece", "wordpiece-chat"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n"
    "{% endfor %}"
)
SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "<|im_start|>", "<|im_end|>"]
CORPUS = ["the quick brown fox jumps over the lazy dog, 512 tokens of plain text. User: Assistant: answer 😀 " * 3]

# What breaks careless cutting: characters of several tokens, graphemes of several characters, one character that a
# normaliser turns into eighteen, line ends, headings of our own, marks of our own, NUL, a lone surrogate.
FRAGMENTS = ["the quick ", "fox", " ", "\n", "\r\n", "User:\n", "# Response B\n", "é", "e\u0301", "漢字", "👩‍👩‍👧‍👦"]
FRAGMENTS += [
    "🇫🇷",
    "ﷺ",
    "[… 5 tokens abcde …]",
    "…",
    "\x00",
    "\ud800",
    "a" * 120,
    "7q2",
    "<|im_end|>",
    "\u0301\u0302",
    "   \t",
]
TEXTS = st.builds(
    lambda head, middle, times, tail: head + middle * times + tail,
    *[st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)] * 2,
    st.integers(0, 60),
    st.text(max_size=8),
)
TURNS = st.lists(st.none() | TEXTS, max_size=4)


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer trained on a few words, framing with [CLS] and [SEP]; "-chat" has a template that trims."""
    trainer: trainers.Trainer
    if kind.startswith("bpe"):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.BertNormalizer()])
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        letters = [chr(code) for code in range(33, 127)] + ["…"]
        trainer = trainers.WordPieceTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
        )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    if kind.endswith("chat"):
        fast.chat_template = CHATML
    return fast


@cache
def separate(kind: str, more: int = 40, keep: Keep = "both", prompt_share: float = 0.3) -> SeparateTruncation:
    """`more`: tokens above the least workable max_length."""
    count, _, offsets = for_tokenizer(tokenizer_of(kind))
    least = SeparateTruncation(10**6, count, offsets).least_max_length
    return SeparateTruncation(least + more, count, offsets, prompt_share, keep)


@cache
def joint(kind: str, more: int = 60, keep: Keep = "both") -> JointTruncation:
    """`more`: tokens above the least workable max_length."""
    _, count, offsets = for_tokenizer(tokenizer_of(kind))
    least = JointTruncation(10**6, count, offsets).least_max_length
    return JointTruncation(least + more, count, offsets, keep=keep)


def words(number: int, start: int = 0) -> str:
    """So many different words."""
    return " ".join(f"w{i}" for i in range(start, start + number))


SETTINGS = {
    "kind": st.sampled_from(KINDS),
    "more": st.sampled_from([0, 1, 7, 40, 150]),
    "keep": st.sampled_from(["both", "head", "tail"]),
}


@settings(max_examples=80, deadline=None)
@given(prompt=TURNS, response=TURNS, **SETTINGS)
def test_any_pair_fits(prompt: list[str | None], response: list[str | None], kind: str, more: int, keep: Keep) -> None:
    truncation = separate(kind, more, keep)
    fitted = truncation.fit(prompt, response)
    assert truncation.count(fitted.prompt, fitted.response) <= truncation.max_length
    whole = [clean(text) for text in prompt], [clean(text) for text in response]
    if truncation.count(*whole) <= truncation.max_length:
        assert (fitted.prompt, fitted.response, fitted.tokens_cut) == (*whole, 0)
    else:
        assert any(MARK.search(text) for text in fitted.prompt + fitted.response)


@settings(max_examples=60, deadline=None)
@given(prompt=TURNS, a=TURNS, b=TURNS, **SETTINGS)
def test_any_battle_fits_and_swaps(
    prompt: list[str | None], a: list[str | None], b: list[str | None], kind: str, more: int, keep: Keep
) -> None:
    truncation = joint(kind, more, keep)
    fitted, swapped = truncation.fit(prompt, a, b), truncation.fit(prompt, b, a)
    assert truncation.count(fitted.prompt, fitted.response_a, fitted.response_b) <= truncation.max_length
    assert (fitted.response_a, fitted.response_b) == (swapped.response_b, swapped.response_a)
    assert fitted.prompt == swapped.prompt
    assert fitted.tokens_cut[1:] == swapped.tokens_cut[:0:-1]
    whole = [[clean(text) for text in turns] for turns in (prompt, a, b)]
    if truncation.count(*whole) <= truncation.max_length:
        assert [fitted.prompt, fitted.response_a, fitted.response_b, fitted.tokens_cut] == [*whole, (0, 0, 0)]
    else:
        assert any(MARK.search(text) for text in fitted.prompt + fitted.response_a + fitted.response_b)


@settings(max_examples=60, deadline=None)
@given(prompt=TURNS, a=TURNS, rivals=st.lists(TURNS, min_size=2, max_size=2), kind=st.sampled_from(KINDS))
def test_a_rival_does_not_change_how_an_answer_is_cut(
    prompt: list[str | None], a: list[str | None], rivals: list[list[str | None]], kind: str
) -> None:
    truncation = joint(kind)
    fitted = [truncation.fit(prompt, a, [*rival, words(400)]) for rival in rivals]
    assert fitted[0].response_a == fitted[1].response_a
    assert fitted[0].tokens_cut[1] == fitted[1].tokens_cut[1]


@settings(max_examples=60, deadline=None)
@given(prompt=TURNS, response=TURNS, place=st.floats(0, 1), **SETTINGS)
def test_different_answers_stay_different(
    prompt: list[str | None], response: list[str | None], place: float, kind: str, more: int, keep: Keep
) -> None:
    first = [clean(text) for text in response] + [words(60)]
    turn = min(int(place * len(first)), len(first) - 1)
    position = int(place * len(first[turn]))
    second = list(first)
    second[turn] = first[turn][:position] + "z" + first[turn][position:]
    one, other = (separate(kind, more, keep).fit(prompt, answer).response for answer in (first, second))
    assert one != other
    one, other = (joint(kind, more, keep).fit(prompt, answer, [words(60)]).response_a for answer in (first, second))
    assert one != other


def test_answers_that_differ_in_the_cut_middle_differ_in_their_tokens() -> None:
    for kind in KINDS:
        truncation = separate(kind)
        tokenizer = tokenizer_of(kind)
        answers = [words(200), words(200).replace("w100", "w101")]
        one, other = (truncation.fit(["q"], [answer]).response[0] for answer in answers)
        assert tokenizer(one)["input_ids"] != tokenizer(other)["input_ids"]
        assert "w100" not in one and "w101" not in other


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", ["both", "head", "tail"])
def test_the_mark_says_how_many_tokens_went_and_stands_where_they_were(kind: str, keep: Keep) -> None:
    truncation = separate(kind, keep=keep)
    answer = words(300)
    fitted = truncation.fit(["q"], [answer])
    assert fitted.prompt == ["q"]
    (text,) = fitted.response
    (mark,) = MARK.finditer(text)
    head, tail = text[: mark.start()].removesuffix(" "), text[mark.end() :].removeprefix(" ")
    assert answer.startswith(head) and answer.endswith(tail)
    assert bool(head) == (keep != "tail") and bool(tail) == (keep != "head")
    offsets = truncation.offsets
    gone = len(offsets(answer)) - len(offsets(head)) - len(offsets(tail))
    # A cut at a space moves that space from one side of a token to the other, no more.
    assert abs(int(mark["tokens"]) - gone) <= 1
    assert fitted.tokens_cut == int(mark["tokens"])
    if keep == "both":
        assert abs(len(offsets(head)) - len(offsets(tail))) <= 3


@settings(max_examples=80, deadline=None)
@given(text=TEXTS, kind=st.sampled_from(KINDS), more=st.integers(0, 60))
def test_no_grapheme_is_cut(text: str, kind: str, more: int) -> None:
    answer = clean(text) + "🇫🇷👩‍👩‍👧‍👦e\u0301ﷺ" * 60 + clean(text)
    (cut,) = separate(kind, more).fit(["q"], [answer]).response
    # The text may bring marks of its own; ours is one around which the rest is a head and a tail of the answer.
    ways = [(cut[: m.start()].removesuffix(" "), cut[m.end() :].removeprefix(" ")) for m in MARK.finditer(cut)]
    ways += [(cut[: m.start()][:-1], cut[m.end() :][1:]) for m in MARK.finditer(cut)]
    boundaries = {0, *(m.end() for m in regex.finditer(r"\X", answer))}
    assert any(
        answer.startswith(head)
        and answer.endswith(tail)
        and len(head) in boundaries
        and len(answer) - len(tail) in boundaries
        for head, tail in ways
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_latest_turn_is_kept_first(kind: str) -> None:
    count, _, offsets = for_tokenizer(tokenizer_of(kind))
    prompt = [words(20, 0), words(20, 20), "why?"]
    response = [words(100, 40), words(100, 140), words(30, 240)]
    truncation = SeparateTruncation(count(prompt[1:], response[1:]) - 20, count, offsets)
    fitted = truncation.fit(prompt, response)
    assert (fitted.prompt[1:], fitted.response[1:]) == (prompt[2:], response[2:])
    # The turn before is cut in its middle, behind the mark of the oldest one, which is dropped.
    assert MARK.match(fitted.prompt[0]) and MARK.match(fitted.response[0])
    assert "\nw140 " in fitted.response[0] and fitted.response[0].endswith(" w239")
    assert len(MARK.findall(fitted.response[0])) == 2
    # A latest turn that is too long itself leaves nothing to the older ones.
    fitted = truncation.fit(prompt, [*response[:2], words(300, 240)])
    assert (len(fitted.prompt), len(fitted.response)) == (1, 1)
    assert fitted.prompt[0].endswith("\nwhy?") and MARK.match(fitted.prompt[0])
    assert len(MARK.findall(fitted.response[0])) == 2 and fitted.response[0].endswith("w539")


@pytest.mark.parametrize("kind", KINDS)
def test_in_joint_the_latest_turn_is_kept_first(kind: str) -> None:
    truncation = joint(kind, more=300)
    prompt = [words(10), "and then?"]
    fitted = truncation.fit(prompt, [words(150, 10), words(10, 160)], [words(300, 200), words(300, 500)])
    assert fitted.prompt == prompt
    assert len(fitted.response_a) == 2 and fitted.response_a[1] == words(10, 160)
    assert MARK.search(fitted.response_a[0])
    assert len(fitted.response_b) == 1 and MARK.match(fitted.response_b[0]) and fitted.response_b[0].endswith("w799")


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_that_is_not_needed_goes_to_the_other(kind: str) -> None:
    truncation = separate(kind, more=150)
    long = words(500)

    def tokens(prompt: str, response: str) -> tuple[int, int, int]:
        fitted = truncation.fit([prompt], [response])
        total = truncation.count(fitted.prompt, fitted.response)
        return len(truncation.offsets(fitted.prompt[0])), len(truncation.offsets(fitted.response[0])), total

    both, short_prompt, short_response = tokens(long, long), tokens("q", long), tokens(long, "a")
    room = sum(both[:2])
    assert both[0] == pytest.approx(0.3 * room, abs=12)
    assert short_prompt[1] > both[1] and short_response[0] > both[0]
    # Nearly all of the budget is used in any case: a mark may turn out a few tokens cheaper than the dearest.
    assert all(truncation.max_length - 24 <= total for *_, total in (both, short_prompt, short_response))


@pytest.mark.parametrize("kind", KINDS)
def test_a_max_length_that_cannot_work_is_refused_with_the_least_that_can(kind: str) -> None:
    count, joint_count, offsets = for_tokenizer(tokenizer_of(kind))
    least = separate(kind).least_max_length
    with pytest.raises(ValueError, match=f"at least {least}"):
        SeparateTruncation(least - 1, count, offsets)
    least = joint(kind).least_max_length
    with pytest.raises(ValueError, match=f"at least {least}"):
        JointTruncation(least - 1, joint_count, offsets)


def test_other_wrong_settings_are_refused() -> None:
    count, _, offsets = for_tokenizer(tokenizer_of("bpe"))
    with pytest.raises(ValueError, match="prompt_share"):
        SeparateTruncation(512, count, offsets, prompt_share=1.5)
    with pytest.raises(ValueError, match="keep"):
        SeparateTruncation(512, count, offsets, keep="middle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fast tokenizer"):
        for_tokenizer(object())  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_share_silences_a_part(share: float) -> None:
    fitted = separate("bpe", more=0, prompt_share=share).fit([words(100)], [words(100)])
    for text in (fitted.prompt[0], fitted.response[0]):
        assert MARK.search(text) and text.startswith("w") and text.endswith("9")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["word w1 ", "a", "漢", "\u0301", "\n", "User:\n"])
def test_a_very_long_text_takes_little_time(kind: str, unit: str) -> None:
    truncation = separate(kind)
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    fitted = truncation.fit(["q"], [text])
    assert truncation.count(fitted.prompt, fitted.response) <= truncation.max_length
    assert time.process_time() - started < 5


@pytest.mark.parametrize("kind", KINDS)
def test_very_many_turns_take_little_time(kind: str) -> None:
    turns = [words(20, 20 * i) for i in range(300)]
    started = time.process_time()
    fitted = separate(kind).fit(turns, turns)
    fitted_joint = joint(kind).fit(turns, turns, turns[:-1])
    assert time.process_time() - started < 5
    assert fitted.response[-1].endswith("w5999") and fitted_joint.response_a[-1].endswith("w5999")


def test_report_sums_up_what_was_cut() -> None:
    report = truncation_report([0, 10, 0, 30], max_length=512)
    assert (report.rows, report.rows_cut, report.tokens_cut, report.mean, report.largest) == (4, 2, 40, 20.0, 30)
    assert str(report) == (
        "2 of 4 transcripts (50.0%) shortened to 512 tokens: 40 tokens cut, 20 a shortened transcript, 30 at most"
    )
    assert str(truncation_report([], 512)).startswith("0 of 0 transcripts (none)")


@pytest.mark.skipif(not (ROOT.parent / "shared" / "data").exists(), reason="the real battles are not there")
def test_real_battles_fit() -> None:
    pandas = pytest.importorskip("pandas")
    battles = pandas.read_json(ROOT.parent / "shared/data/arena/extra.jsonl", lines=True).head(60)
    for kind in ("bpe-chat", "wordpiece"):
        truncation = joint(kind, more=200)
        for battle in battles.itertuples():
            fitted = truncation.fit(battle.prompt, battle.response_a, battle.response_b)
            assert truncation.count(fitted.prompt, fitted.response_a, fitted.response_b) <= truncation.max_length
            assert (fitted.response_a == fitted.response_b) == (battle.response_a == battle.response_b)

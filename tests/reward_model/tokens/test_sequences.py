"""Sequences of battles name their texts."""

from typing import Any

from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.sequences import distinct_sequences

BATTLES = 24


def test_sequences_name_their_texts(battles: Any) -> None:
    for encoding, both, sides in (("separate", False, 2), ("joint", True, 2), ("joint", False, 1)):
        sequences = distinct_sequences(battles, encoding_named(encoding), both_orders=both)
        assert sequences.of_battle.shape == (BATTLES, sides)
        for row in range(BATTLES):
            texts = sequences.texts(battles, sequences.of_battle[row])
            assert [text[0] for text in texts] == [battles[row]["prompt"]] * sides
            wanted = [battles[row]["response_a"], battles[row]["response_b"]]
            assert [text[1] for text in texts] == wanted[:sides]
            if encoding == "joint":
                assert [text[2] for text in texts] == wanted[::-1][:sides]

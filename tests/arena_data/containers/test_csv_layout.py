"""The same battles in other layouts of CSV read equal; a layout that is not certain is named."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.small_tables import BATTLES, PLAIN, as_turns, csv_text, error_of, load, rows_of

TEXT = csv_text(BATTLES)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("name", ["f.csv", "f.tsv"])
def test_other_delimiters(delimiter: str, name: str, tmp_path: Path) -> None:
    assert rows_of(load(tmp_path, name, csv_text(BATTLES, delimiter=delimiter))) == BATTLES


@pytest.mark.parametrize(
    "text",
    [
        "sep=,\n" + TEXT,
        '"sep=;"\r\n' + csv_text(BATTLES, delimiter=";"),
        "\ufeffsep=,\r\n" + TEXT,
        "\n\n" + TEXT,
        "sep=,\n\n" + TEXT,
        "\ufeff\ufeff" + TEXT,
        '\ufeff\ufeff"id"' + TEXT[2:],
        TEXT.replace("id,prompt", " ID , Prompt\t", 1),
        TEXT.replace("\n", "\r\n"),
    ],
)
def test_lines_before_the_header_and_names_in_other_dress(text: str, tmp_path: Path) -> None:
    assert rows_of(load(tmp_path, "f.csv", text)) == BATTLES


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["f.csv", "f.json"])
def test_encodings_with_a_mark(encoding: str, name: str, tmp_path: Path) -> None:
    rows = [row | {"response_a": f"Größe 猫 {row['id']}"} for row in PLAIN]
    text = csv_text(rows) if name == "f.csv" else json.dumps(rows, ensure_ascii=False)
    assert rows_of(load(tmp_path, name, text.encode(encoding))) == as_turns(rows)


def test_latin_1_and_windows_1252(tmp_path: Path) -> None:
    for word, encoding in (("Größe, café", "latin-1"), ("à l'été", "latin-1"), ("naïve “façade” – 5 €", "cp1252")):
        rows = [row | {"response_a": f"{word} {row['id']}"} for row in PLAIN]
        for name, text in (("f.csv", csv_text(rows)), ("f.jsonl", lines(*rows))):
            battles = load(tmp_path, name, text.encode(encoding))
            assert rows_of(battles) == as_turns(rows)
            assert battles["oddities"][:] == [["another_encoding"]] * len(rows)  # a guess is said


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_another_encoding_is_refused_and_utf8_with_a_stray_byte_is_not(tmp_path: Path) -> None:
    rows = [row | {"response_a": "Москва большая"} for row in PLAIN]
    assert "not UTF-8" in str(error_of(tmp_path, "f.csv", csv_text(rows).encode("cp1251")))
    stray = csv_text(rows).encode().replace(b"300 m", b"300 m") + b"104,p,caf\xe9\xe9,b\n"
    battles = load(tmp_path, "g.csv", stray)
    assert battles["response_a"][0] == ["Москва большая"] and battles["oddities"][3] == ["invalid_utf8"]


def test_quotes_escaped_by_backslashes(tmp_path: Path) -> None:
    escaped = csv_text(BATTLES, escapechar="\\", doublequote=False)
    assert '\\"' in escaped and '""' not in escaped
    assert rows_of(load(tmp_path, "f.csv", escaped)) == BATTLES
    quoted = csv_text(BATTLES, escapechar="\\", doublequote=False, quoting=csv.QUOTE_ALL)
    assert rows_of(load(tmp_path, "q.csv", quoted)) == BATTLES
    plain = [row | {"response_a": 'He said "hi", then\nleft\\'} for row in PLAIN]
    assert rows_of(load(tmp_path, "g.csv", csv_text(plain, escapechar="\\", doublequote=False))) == as_turns(plain)


def test_json_with_backslashes_in_plain_csv_is_no_escape(tmp_path: Path) -> None:
    rows = [row | {"response_a": ['a "b" \\" c\\', "d"][: len(row["prompt"])]} for row in BATTLES]
    assert rows_of(load(tmp_path, "f.csv", csv_text(rows))) == rows


@pytest.mark.parametrize(
    "text, says",
    [
        ("id;prompt;response_a;response_b\n1;p;a\n", "read with ';' between fields"),
        ("| id | prompt | response_a | response_b |\n|---|---|---|---|\n| 1 | p | a | b |\n", "table of Markdown"),
        ("id | prompt | response_a | response_b\n1 | p | a | b\n", "table of Markdown"),
        ("# made by hand\nid,prompt,response_a,response_b\n1,p,a,b\n", "begin with a line that is no header"),
        ('id,prompt,response_a,response_b\n1,"p \\" q",a\n', "escaped by backslashes"),
        ("id,prompt,ID,response_a\n", "as 'id' and 'ID'"),
        ("id,messages_a,conversation_b,Messages_A\n", "as 'messages_a' and 'Messages_A'"),
    ],
)
def test_what_is_not_certain_is_named(text: str, says: str, tmp_path: Path) -> None:
    assert says in str(error_of(tmp_path, "f.csv", text))


def test_the_columns_that_a_file_does_have_are_named(tmp_path: Path) -> None:
    error = error_of(tmp_path, "f.csv", "Id,promt,response_a,response_b,other\n1,p,a,b,c\n")
    assert error.column == "prompt" and "'Id', 'promt', 'response_a'" in str(error)
    assert "is 'promt' what should be 'prompt'?" in str(error)
    many = ",".join(f"column_{n}" for n in range(1000))
    assert "and 980 more" in str(error_of(tmp_path, "g.csv", many + "\n"))


@pytest.mark.parametrize("columns", [3_000, 300_000])
def test_too_many_columns_are_refused_at_once(columns: int, tmp_path: Path) -> None:
    text = ",".join(f"c{n}" for n in range(columns)) + "\n"
    assert "column" in str(error_of(tmp_path, "f.csv", text)) or "header" in str(error_of(tmp_path, "f.csv", text))


def test_a_name_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    from arena_data.errors import InputError
    from arena_data.loading import load_battles

    name: Any = b"caf\xe9.csv".decode("utf-8", "surrogateescape")
    (tmp_path / name).write_text(TEXT)
    for source in (str(tmp_path / name), str(tmp_path / "*.csv")):
        with pytest.raises(InputError, match="not UTF-8") as info:
            load_battles(source)
        assert str(info.value).isprintable()

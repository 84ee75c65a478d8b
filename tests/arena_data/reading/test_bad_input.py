"""Bad input: an error names file, row, column, what was found and what was expected, on one line; oddities are counted.

The rows of the design's table of bad input that concern reading, and worse ones that files in the wild hold.
"""

import ast
import csv
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.reading.cleaning import ODDITIES, clean, oddity_lines

Row = dict[str, Any]
HEADER = "id,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
GOOD = '1,"[""p""]","[""a""]","[""bb""]",1,0,0\n'
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., datasets.Dataset]:
    return lambda *files, **options: load_battles(
        [str(file) for file in files], cache_dir=str(tmp_path / "cache"), **options
    )


@pytest.fixture
def error_of(load: Callable[..., datasets.Dataset]) -> Callable[..., InputError]:
    def caught(*files: Path, labels: str = "required") -> InputError:
        with pytest.raises(InputError) as info:
            load(*files, labels=labels)
        message = str(info.value)
        assert len(message.splitlines()) == 1 and len(message) < 1000, message
        return info.value

    return caught


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def written(name: str, content: str | bytes) -> Path:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return written


MESSAGES = json.dumps(
    {"prompt": [{"role": "user", "content": "p"}], "response_a": "a", "response_b": "b", "winner": "tie"}
).encode()


def kaggle_line(row: Row) -> str:
    cells = {"id": 9, "prompt": '["p"]', "response_a": '["a"]', "response_b": '["bb"]'} | row
    verdict = [cells.pop(f"winner_{name}", value) for name, value in (("model_a", 1), ("model_b", 0), ("tie", 0))]
    quoted = ['"{}"'.format(str(cell).replace('"', '""')) for cell in [*cells.values(), *verdict]]
    return ",".join(quoted) + "\n"


# -- errors that name the place -------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["prompt", "response_a", "response_b", "winner_model_b", "winner_tie"])
def test_a_missing_column_is_named(missing: str, write: Any, error_of: Any) -> None:
    header, good = HEADER.strip().split(","), next(csv.reader([GOOD]))
    row = {name: cell for name, cell in zip(header, good, strict=True) if name != missing}
    file = write("f.jsonl", json.dumps(row) + "\n")
    error = error_of(file)
    assert error.column == missing and error.file == str(file) and "missing column" in str(error)


def test_no_column_of_verdicts_matters_in_training_only(write: Any, error_of: Any, load: Any) -> None:
    file = write("t.csv", 'id,prompt,response_a,response_b\n1,"[""p""]","[""a""]","[""bb""]"\n')
    assert "no column of verdicts" in str(error_of(file)) and "winner_model_a" in str(error_of(file))
    assert load(file)["verdict"] == [None]


@pytest.mark.parametrize(
    "row, column, found, expected",
    [
        ({"winner_model_a": 1, "winner_tie": 1}, "winner_model_a, winner_model_b, winner_tie", "'1'", "a sum of 1"),
        ({"winner_model_a": 0}, "winner_model_a, winner_model_b, winner_tie", "'0'", "a sum of 1"),
        ({"winner_model_a": "yes"}, "winner_model_a, winner_model_b, winner_tie", "yes", "three numbers"),
        ({"winner_model_a": 2, "winner_tie": -1}, "winner_model_a, winner_model_b, winner_tie", "-1", "at least 0"),
        ({"winner_model_a": "nan"}, "winner_model_a, winner_model_b, winner_tie", "nan", "at least 0"),
        ({"prompt": "plain text"}, "prompt", "plain text", "a JSON list of texts"),
        ({"response_a": '["a"'}, "response_a", "a", "a JSON list of texts"),
        ({"response_b": '{"a": 1}'}, "response_b", "1", "a JSON list of texts"),
        ({"response_b": "[1, 2]"}, "response_b", "[1, 2]", "a JSON list of texts"),
        ({"response_b": '"text"'}, "response_b", "text", "a JSON list of texts"),
        ({"response_a": "__import__('os').abort()"}, "response_a", "__import__", "a JSON list of texts"),
        ({"response_a": "[" * 100_000}, "response_a", "[[[[", "a JSON list of texts"),
        ({"response_a": "[" * 100_000 + "]" * 100_000}, "response_a", "[[[[", "a JSON list of texts"),
        ({"id": 1}, "id", "'1'", "row 1"),
        ({"winner_model_a": "", "winner_model_b": "", "winner_tie": ""}, "winner_model_a", "None", "a verdict"),
    ],
)
def test_a_bad_cell_is_named_with_its_row(
    row: Row, column: str, found: str, expected: str, write: Any, error_of: Any
) -> None:
    file = write("train.csv", HEADER + GOOD + kaggle_line({"id": 2}) + kaggle_line(row))
    error = error_of(file)
    assert (error.file, error.row, error.column) == (str(file), 3, column)
    assert found in str(error) and expected in str(error), error


@pytest.mark.parametrize(
    "row, column",
    [
        ({"winner": "model_c"}, "winner"),
        ({"winner": 3}, "winner"),
        ({"winner": ["model_a"]}, "winner"),
        ({"votes": {"model_a": 0, "model_b": 0, "tie": 0}}, "votes"),
        ({"votes": {"model_a": 1, "model_z": 2}}, "votes"),
        ({"votes": [1, 2]}, "votes"),
        ({"votes": 3}, "votes"),
        ({"votes": True}, "votes"),
        ({"votes": [1, None, 2]}, "votes"),
        ({"teacher": [0.5, 0.5, 0.5]}, "teacher"),
        ({"teacher": 0.5}, "teacher"),
        ({"teacher": [float("nan"), 0.5, 0.5]}, "teacher"),
        ({"teacher": "[0.5, 0.5"}, "teacher"),
        ({"winner_model_a": [1], "winner_model_b": 0, "winner_tie": 0}, "winner_model_a, winner_model_b, winner_tie"),
        ({"prompt": 5}, "prompt"),
        ({"response_a": [{"text": "a"}]}, "response_a"),
        ({"response_a": json.loads("[" * 900 + "]" * 900)}, "response_a"),
    ],
)
@pytest.mark.parametrize("labels", ["required", "optional"])
def test_a_bad_value_of_json_is_named_with_its_row(
    row: Row, column: str, labels: str, write: Any, error_of: Any, load: Any
) -> None:
    good = {"id": "1", "prompt": ["p"], "response_a": ["a"], "response_b": ["bb"], "winner": "tie"}
    file = write("r.jsonl", "".join(json.dumps(r) + "\n" for r in (good, good | {"id": "2"} | row)))
    if labels == "optional" and column in ("prompt", "response_a"):
        assert load(file)["oddities"][1] == ["unparsed_json"]  # A submission is always complete.
        return
    error = error_of(file, labels=labels)
    assert (error.row, error.column) == (2, column) and "expected" in str(error), error


def test_an_id_in_two_files_names_both(write: Any, error_of: Any, load: Any) -> None:
    one, two = write("one.csv", HEADER + GOOD), write("two.csv", HEADER + kaggle_line({"id": 7}) + GOOD)
    error = error_of(one, two)
    assert (error.file, error.row, error.column) == (str(two), 2, "id") and f"{one}, row 1" in str(error)


def test_in_prediction_a_cell_that_does_not_parse_is_one_turn(write: Any, load: Any) -> None:
    bad = '["half a list'
    rows = [{"id": 2, "response_a": bad}, {"id": 3, "prompt": "[" * 100_000}, {"id": 4, "response_b": '{"a": 1}'}]
    battles = load(write("test.csv", HEADER + GOOD + "".join(map(kaggle_line, rows))))
    assert len(battles) == 4 and battles["response_a"][1] == [bad]
    assert battles["prompt"][2] == ["[" * 100_000] and battles["response_b"][3] == ['{"a": 1}']
    assert battles["oddities"] == [[], *[["unparsed_json"]] * 3]
    assert oddity_lines(battles["oddities"]) == [f"3 battles: {ODDITIES['unparsed_json']}"]


def test_one_broken_prompt_does_not_hide_that_cells_are_json(write: Any, load: Any) -> None:
    text = 'id,prompt,response_a,response_b\n1,"[""p","[""a""]","[""bb""]"\n'
    (battle,) = load(write("test.csv", text))
    assert (battle["prompt"], battle["response_a"], battle["response_b"]) == (['["p'], ["a"], ["bb"])
    assert battle["oddities"] == ["unparsed_json"]


# -- odd text that is handled ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row, read, oddities",
    [
        ({"response_a": "[null]"}, {"response_a": [""]}, ["empty_response", "null_turn"]),
        ({"response_a": '[""]'}, {"response_a": [""]}, ["empty_response"]),
        ({"response_a": '[" \\t\\u00a0"]'}, {"response_a": [" \t\u00a0"]}, ["empty_response"]),
        ({"response_a": "[]"}, {"response_a": [""]}, ["empty_response", "null_turn"]),
        ({"response_a": ""}, {"response_a": [""]}, ["empty_response"]),
        ({"response_a": "null"}, {"response_a": [""]}, ["empty_response", "null_turn"]),
        ({"prompt": "[null]"}, {"prompt": [""]}, ["empty_prompt", "null_turn"]),
        ({"response_b": '["b", "c"]'}, {"response_b": ["b", "c"]}, ["unequal_turns"]),
        ({"response_b": '["a"]'}, {"response_b": ["a"]}, ["identical_responses"]),
        ({"response_b": '["x\\ud83dy"]'}, {"response_b": ["x\ufffdy"]}, ["lone_surrogate"]),
        ({"response_b": '["\\ude00"]'}, {"response_b": ["\ufffd"]}, ["lone_surrogate"]),
        ({"response_b": '["\\ud83d\\ude00"]'}, {"response_b": ["😀"]}, []),
        ({"response_b": '["b\\u0000b"]'}, {"response_b": ["bb"]}, ["nul_byte"]),
        ({"response_b": '["b\0b"]'}, {"response_b": ["bb"]}, ["nul_byte"]),
        ({"response_b": '["b\\r\\nb\\rb"]'}, {"response_b": ["b\nb\nb"]}, ["carriage_return"]),
        ({"response_b": '["b\r\nb"]'}, {"response_b": ["b\nb"]}, ["carriage_return"]),
        ({"response_b": '["b\nb"]'}, {"response_b": ["b\nb"]}, []),
        ({"response_b": '["\\ufeffbb"]'}, {"response_b": ["bb"]}, ["byte_order_mark"]),
        ({"response_b": '["\ufeff\ufeff"]'}, {"response_b": [""]}, ["byte_order_mark", "empty_response"]),
        ({"response_b": '["b\ufeffb"]'}, {"response_b": ["b\ufeffb"]}, []),
        ({"response_b": json.dumps(["é" * 1_000_000])}, {"response_b": ["é" * 1_000_000]}, []),
    ],
)
def test_odd_text_is_handled_and_named(row: Row, read: Row, oddities: list[str], write: Any, load: Any) -> None:
    lines = GOOD + kaggle_line(row) + kaggle_line({"id": 10})
    battles = load(write("train.csv", HEADER + lines), labels="required")
    assert len(battles) == 3 and battles["oddities"] == [[], oddities, []]
    expected = {"prompt": ["p"], "response_a": ["a"], "response_b": ["bb"], "verdict": [1, 0, 0]}
    assert {name: battles[1][name] for name in expected} == expected | read
    assert {name: battles[2][name] for name in expected} == expected


def test_three_hundred_turns(write: Any, load: Any) -> None:
    turns = {name: json.dumps([f"{name} {n}" for n in range(300)]) for name in ("prompt", "response_a", "response_b")}
    (battle,) = load(write("train.csv", HEADER + kaggle_line(turns)))
    assert battle["response_b"] == [f"response_b {n}" for n in range(300)] and battle["oddities"] == []


def test_every_odd_text_comes_out_as_utf8() -> None:
    for text in ("\ud800", "\udc00\ud800", "\ufeff", "\0", "\r", "a\ud83d\ude00b"):
        oddities: set[str] = set()
        assert clean(text, oddities).encode().decode() == clean(text, set())
        assert oddities <= set(ODDITIES)
    assert clean("a\ud83d\ude00b", set()) == "a😀b"


@pytest.mark.parametrize("text", [HEADER + GOOD, (HEADER + GOOD).replace("\n", "\r\n"), (HEADER + GOOD).rstrip()])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_of_csv(text: str, mark: str, write: Any, load: Any) -> None:
    (battle,) = load(write("f.csv", mark + text), labels="required")
    assert battle["id"] == "1" and battle["oddities"] == [] and battle["verdict"] == [1, 0, 0]


@pytest.mark.parametrize("before, after", [("\ufeff", ""), ("\n\n", ""), ("", "\r\n\r\n"), ("\ufeff\n", "")])
def test_line_ends_and_byte_order_marks_of_json(before: str, after: str, write: Any, load: Any) -> None:
    row = json.dumps({"prompt": ["p"], "response_a": ["a"], "response_b": ["b"]})
    for text in (row, f"{row}\r\n{row}", f"{row}\n\n{row}", f"[{row}]"):
        assert len(load(write("f.jsonl", before + text + after))) == text.count("prompt")


def test_invalid_utf8_in_a_cell_is_repaired(write: Any, load: Any) -> None:
    bad = kaggle_line({"response_a": '["caf@"]'}).encode().replace(b"@", b"\xe9")
    battles = load(write("f.csv", (HEADER + GOOD).encode() + bad), labels="required")
    assert battles["response_a"] == [["a"], ["caf\ufffd"]] and battles["oddities"] == [[], ["invalid_utf8"]]


def test_invalid_utf8_in_json_is_named(write: Any, error_of: Any) -> None:
    row = b'{"prompt": "p", "response_a": "@", "response_b": "b", "winner": "tie"}\n'
    error = error_of(write("f.jsonl", row + b"\n" + row.replace(b"@", b"\xe9")))
    assert error.row == 2 and "utf-8" in str(error)


# -- files that are not what their name says ------------------------------------------------------------------------


@pytest.mark.parametrize("line, cells", [("2,x\n", 2), (GOOD.rstrip() + ",8,9\n", 9)])
@pytest.mark.parametrize("before", [1, 3])
def test_a_row_of_another_length(line: str, cells: int, before: int, write: Any, error_of: Any) -> None:
    rows = "".join(kaggle_line({"id": n, "prompt": '["two\nlines"]'}) for n in range(before))
    error = error_of(write("f.csv", HEADER + rows + line + GOOD))
    assert error.row == before + 1, error
    assert f"{cells} cells" in str(error) and "7, as in the header" in str(error)


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("empty.csv", b"", "is empty"),
        ("empty.jsonl", b"", "is empty"),
        ("blank.json", b" \n\n", "is empty"),
        ("list.json", b"[]", "is empty"),
        ("empty.parquet", b"", "cannot be read as parquet"),
        ("q.csv", (HEADER + GOOD + '2,"[""p').encode(), "quote"),
        ("h.csv", b'id,"prompt' + b"x" * 300_000, "no readable header"),
        ("utf16.csv", (HEADER + GOOD).encode("utf-16-le"), "looks like UTF-16"),
        ("utf16.jsonl", json.dumps({"prompt": "p"}).encode("utf-16-le"), "looks like UTF-16"),
        ("text.parquet", b"not parquet", "cannot be read as parquet"),
        ("cut.csv.gz", gzip.compress((HEADER + GOOD * 99).encode(), mtime=0)[:-20], "cannot be read as csv"),
        (
            "cut.jsonl.gz",
            gzip.compress(json.dumps({"prompt": "p" * 999}).encode(), mtime=0)[:-12],
            "cannot be read as json",
        ),
        ("plain.csv.gz", (HEADER + GOOD).encode(), "cannot be read as csv"),
        ("plain.csv.zst", (HEADER + GOOD).encode(), "cannot be read as csv"),
        ("deep.json", b"[" * 100_000, "not JSON"),
        ("deep.jsonl", b'{"a":' * 100_000, "not JSON"),
        ("number.json", b"17", "a list of JSON objects"),
        ("numbers.json", b"[17]", "a JSON object"),
        ("cut.json", b'[{"prompt": "p"}, {"pro', "not JSON"),
        ("battles.txt", b"x", ".csv .parquet"),
        ("battles", b"x", ".csv .parquet"),
        ("battles.gz", b"x", ".csv .parquet"),
        ("twice.csv", b"id,prompt,prompt\n", "named twice"),
        ("pressed.csv", gzip.compress(HEADER.encode(), mtime=0), "compressed by gzip"),
        ("pressed.jsonl", b"\x28\xb5\x2f\xfd rest", "compressed by zstd"),
        ("parquet.csv", b"PAR1 rest", "is a Parquet file"),
        ("excel.csv", b"PK\x03\x04 rest", "such as Excel writes"),
        ("pointer.csv", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("refused.json", b"<!DOCTYPE html><title>404</title>", "is a web page"),
        ("messages.jsonl", MESSAGES, "neither a text nor a list of texts"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(name: str, content: bytes, says: str, write: Any, error_of: Any) -> None:
    file = write(name, content)
    assert str(file) in str(error_of(file)) and says in str(error_of(file)), error_of(file)


def test_a_row_of_another_length_with_bytes_that_are_not_utf8(write: Any, error_of: Any, capfd: Any) -> None:
    rows = kaggle_line({"prompt": '["é"]'}).encode() + b"2,caf\x80\n" + GOOD.encode()
    assert error_of(write("f.csv", HEADER.encode() + rows)).row == 2
    assert "Traceback" not in capfd.readouterr().err


def test_a_broken_line_of_json_is_named_by_its_row(write: Any, error_of: Any) -> None:
    row = json.dumps({"prompt": "p", "response_a": "a", "response_b": "b", "winner": "tie"})
    for broken in (row[:-4], "17", "[[["):
        error = error_of(write("f.jsonl", f"{row}\n\n{row}\n{broken}\n{row}\n"))
        assert error.row == 3, error


def test_header_only_is_no_battles(write: Any, load: Any) -> None:
    for text in (HEADER, HEADER.rstrip()):
        battles = load(write("f.csv", text))
        assert len(battles) == 0 and "verdict" in battles.column_names


def test_no_such_file_directory_or_match(tmp_path: Path, error_of: Any) -> None:
    assert "no such file" in str(error_of(tmp_path / "absent.csv"))
    assert "is a directory" in str(error_of(tmp_path))
    assert "matches no file" in str(error_of(tmp_path / "*.csv"))
    with pytest.raises(InputError, match="no source"):
        load_battles([])


def test_json_that_is_json_lines_reads_and_the_other_way_round(write: Any, load: Any) -> None:
    row = json.dumps({"prompt": "p", "response_a": "a", "response_b": "b", "winner": "tie"})
    assert len(load(write("lines.json", f"{row}\n{row}\n"))) == 2
    assert len(load(write("array.jsonl", f"[{row},\n{row}]"))) == 2
    assert len(load(write("one.json", json.dumps(json.loads(row), indent=1)))) == 1


def test_an_error_holds_no_megabyte(write: Any, error_of: Any) -> None:
    error = error_of(write("f.csv", HEADER + kaggle_line({"id": 1, "prompt": "x\n" * 1_000_000})))
    assert (error.row, error.column) == (1, "prompt")


# -- what no code here may do ---------------------------------------------------------------------------------------


def forbidden(source: str) -> list[str]:
    """Calls that run text as code, imports that unpickle, and remote code switched on."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                names.append(node.func.id)
            switched_on = [k.arg for k in node.keywords if isinstance(k.value, ast.Constant) and k.value.value is True]
            names += [name for name in switched_on if name in ("trust_remote_code", "allow_pickle")]
        if isinstance(node, ast.Import | ast.ImportFrom):
            if [alias.name for alias in node.names] == ["UnpicklingError"]:
                continue  # to catch it is not to unpickle
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            names += [m for m in modules if m.split(".")[0] in ("pickle", "cPickle", "dill", "cloudpickle")]
    return names


def test_no_code_here_runs_text_or_unpickles() -> None:
    try:
        listed = subprocess.run(["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    # Tests make hostile pickles and run the cells of our own notebook.
    files = [REPOSITORY / name for name in listed.stdout.splitlines() if not name.startswith("tests/")]
    assert len(files) > 10
    calls_by_file = {str(file): forbidden(file.read_text(encoding="utf-8")) for file in files if file.exists()}
    assert not {file: calls for file, calls in calls_by_file.items() if calls}
    assert forbidden("import pickle\neval(x)\nf(trust_remote_code=True)") == ["pickle", "eval", "trust_remote_code"]

"""Output folders and files of battles, on disk and on a store: whole or absent, listed in order, told apart."""

from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.predict.cluster.folder import Folder, check_apart, file_version, input_files


@pytest.mark.parametrize("kind", ["disk", "file", "local", "memory"])
def test_what_is_written_is_read_and_listed(kind: str, tmp_path: Path) -> None:
    folder = {
        "disk": Folder.of(str(tmp_path / "out")),
        "file": Folder.of(f"file://{tmp_path}/out"),
        "local": Folder.of(f"local://{tmp_path}/out"),
        "memory": Folder("memory://of_a_test/out"),
    }[kind]
    assert folder.names() == set() and folder.read("parts/a") is None
    folder.write("parts/a", b"one")
    folder.write("parts/a", b"two")
    folder.write("plan.json", b"{}")
    assert folder.read("parts/a") == b"two"
    assert folder.names() == {"parts", "plan.json"} and folder.names("parts") == {"a"}


def test_a_store_that_other_processes_cannot_see_is_refused(tmp_path: Path) -> None:
    for use in (lambda: Folder.of("memory://out"), lambda: input_files(["memory://battles"])):
        with pytest.raises(InputError, match=r"in the memory of this process"):
            use()


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_a_folder_stands_for_its_files_of_battles_in_order(scheme: str, tmp_path: Path) -> None:
    for name in ("b/2.jsonl", "a.parquet", "b/10.jsonl.gz", "notes.txt", ".hidden.csv", "_index.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    prefix = scheme if scheme == "local://" else ""
    expected = [f"{prefix}{tmp_path}/{name}" for name in ("a.parquet", "b/10.jsonl.gz", "b/2.jsonl")]
    assert input_files([f"{scheme}{tmp_path}"]) == expected
    assert input_files([f"{scheme}{tmp_path}/b/*.jsonl", f"{scheme}{tmp_path}/a.parquet"]) == [expected[2], expected[0]]


@pytest.mark.parametrize(
    ("source", "part"),
    [("gone.csv", "no such file"), ("empty", "holds no file of battles"), ("xyz://y/z.csv", "xyz://y/z.csv")],
)
def test_what_holds_no_battles_is_refused(
    source: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(InputError, match=part):
        input_files([source])


@pytest.mark.parametrize(
    ("output", "apart"), [("b/out", False), ("b", False), ("", False), ("bb", True), ("c/out", True)]
)
def test_an_output_folder_lies_apart_from_what_is_read(output: str, apart: bool, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    folder = Folder.of(f"{tmp_path}/{output}")
    if apart:
        check_apart(folder, [f"{tmp_path}/b/"])
        return
    with pytest.raises(InputError, match="lie in each other"):
        check_apart(folder, [f"{tmp_path}/b/"])


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match=r"a\.csv: is named twice"):
        input_files([str(tmp_path), str(tmp_path / "a.csv")])


def test_another_content_of_one_size_is_another_version(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("one")
    first = file_version(str(file))
    assert first == file_version(str(file)) and first["bytes"] == 3
    file.write_text("two")
    assert file_version(str(file)) != first
    with pytest.raises(InputError, match="cannot be opened"):
        file_version(f"local://{tmp_path}/gone.csv")

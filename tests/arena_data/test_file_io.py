"""An output file is whole or as it was, keeps its permissions, and fails in one line."""

import os
import resource
import stat
from pathlib import Path

import pytest

from arena_data.errors import InputError
from arena_data.file_io import check_output, content_hash, write_atomically, write_bytes_atomically


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_text_arrives_byte_for_byte_in_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_atomically(path, "id,P\r\n1,½\n\x00")
    assert path.read_bytes() == "id,P\r\n1,½\n\x00".encode()
    write_atomically(str(path), "a\ud800b")
    assert path.read_bytes() == b"a?b"
    assert os.listdir(tmp_path) == ["submission.csv"]


def test_bytes_arrive_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    content = bytes(range(256)) + b"\r\n\x00"
    write_bytes_atomically(path, content)
    assert path.read_bytes() == content
    path.chmod(0o600)
    write_bytes_atomically(str(path), b"")
    assert path.read_bytes() == b"" and permissions(path) == 0o600
    with pytest.raises(InputError, match=r"absent/curves\.png: cannot be written: "):
        write_bytes_atomically(tmp_path / "absent" / "curves.png", content)
    assert os.listdir(tmp_path) == ["curves.png"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o660, 0o755])
def test_a_file_that_is_there_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    path.chmod(mode)
    write_atomically(path, "new")
    assert path.read_text() == "new" and permissions(path) == mode


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert permissions(tmp_path / "new") == mode


def test_a_reader_of_the_old_file_keeps_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old text")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old text"


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), "x")
    assert (tmp_path / ("n" * 255)).read_text() == "x"


def test_a_relative_path_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically("page.html", "x")
    assert (tmp_path / "page.html").read_text() == "x"


def test_running_out_of_room_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"page\.html: cannot be written: File too large"):
            write_atomically(path, "x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["page.html"]


def test_an_interrupt_before_the_move_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["page.html"]


def test_what_cannot_be_written_is_one_line_that_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(os.listdir(tmp_path))
    for name in ("absent/page", "file/page", "pipe", "loop", ".", "n" * 256, "two\nlines/page"):
        path = tmp_path / name
        with pytest.raises(InputError, match="cannot be written: ") as caught:
            write_atomically(path, "new")
        assert "\n" not in str(caught.value) and str(path).replace("\n", " ") in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before and (tmp_path / "file").read_text() == "old"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_an_output_is_checked_before_the_work_and_never_takes_the_place_of_an_input(tmp_path: Path) -> None:
    battles, page = tmp_path / "battles.csv", tmp_path / "page.html"
    battles.write_text("id")
    (tmp_path / "hard").hardlink_to(battles)
    (tmp_path / "soft").symlink_to(battles)
    before = sorted(os.listdir(tmp_path))
    check_output(page, battles, "user/name", "a*.csv", "n" * 300)
    check_output(battles)
    for wrong in (battles, tmp_path / "hard", tmp_path / "soft"):
        with pytest.raises(InputError, match=f"{wrong.name}: cannot be written: it would overwrite what is read"):
            check_output(wrong, battles)
    with pytest.raises(InputError, match="it would overwrite"):
        check_output(page, tmp_path / "absent" / ".." / "page.html")
    for wrong in (tmp_path, tmp_path / "absent" / "page.html"):
        with pytest.raises(InputError, match=f"{wrong}: cannot be written: "):
            check_output(wrong)
    assert sorted(os.listdir(tmp_path)) == before and battles.read_text() == "id"


def test_a_content_hash_is_of_the_bytes_and_of_nothing_else(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"a" * 3_000_000)
    other.write_bytes(b"a" * 3_000_000)
    os.utime(other, ns=(0, 0))
    first = content_hash(one)
    assert content_hash(other) == first
    times = one.stat()
    for place in (0, 1_500_000, 2_999_999):  # any byte counts, and the file's size and time say nothing
        one.write_bytes(b"a" * place + b"b" + b"a" * (2_999_999 - place))
        os.utime(one, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert content_hash(one) != first
    one.write_bytes(b"a" * 3_000_000)
    assert content_hash(one) == first
    with pytest.raises(InputError, match="nothing: cannot be read"):
        content_hash(tmp_path / "nothing")


def test_a_file_that_stays_the_same_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena_data.file_io._CLOCK_STEP", 0)
    file = tmp_path / "file"
    file.write_bytes(b"content")
    first = content_hash(file)
    monkeypatch.setattr("xxhash.xxh3_128", lambda: pytest.fail("hashed again"))
    assert content_hash(file) == first

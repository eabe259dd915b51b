"""A backup holds the whole store, and a restore gives the same store, from that file only."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.events import recorded, run_of, stream_id
from support.stores import (
    commits_of,
    ended,
    fill,
    memory_part,
    memory_parts,
    sqlite_part,
    submitted,
    with_blob,
)

from warrener.domain.errors import StoredDataError, StoreUnavailable, UsageError
from warrener.domain.stored import Archive
from warrener.services.logs import LogSet
from warrener.services.upkeep import backup_format, zstd_lines
from warrener.services.upkeep import restore as restoring
from warrener.services.upkeep.backup import BackedUp, backup
from warrener.services.upkeep.backup_format import BlobLine, CommitLine, End, Header, Line
from warrener.services.upkeep.commits import Part
from warrener.services.upkeep.epoch import check_whole
from warrener.services.upkeep.restore import restore
from warrener.services.upkeep.verify import verify_part

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SIZES = (3, 1, 4, 1, 5, 2)


def saved(parts: Sequence[Part], path: Path, *, replace: bool = False) -> BackedUp:
    return backup(parts, path, NOW, "test", replace=replace)


def blobs_of(part: Part) -> dict[str, bytes]:
    return {name: part.log.blob(name) for name in part.commits.select_blob_names("", 1_000)}


def is_whole(part: Part) -> bool:
    return verify_part(part, lambda _: None).damages == 0


@pytest.fixture
def part() -> Part:
    made = memory_part()
    fill(made, SIZES)
    return made


@pytest.fixture
def file(part: Part, tmp_path: Path) -> Path:
    saved([part], tmp_path / "backup.zst")
    return tmp_path / "backup.zst"


@given(sizes=st.lists(st.integers(1, 6), max_size=8))
def test_a_restored_log_is_the_same_byte_for_byte_with_links_and_blobs(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder, source, other = tmp_path_factory.mktemp("b"), memory_part(), memory_part()
    fill(source, sizes)
    saved([source], folder / "1.zst")

    with sqlite_part(folder / "log.db") as copy:
        restore([copy], folder / "1.zst")
        saved([copy], folder / "2.zst")
        assert commits_of(copy) == commits_of(source)
        assert blobs_of(copy) == blobs_of(source)
        assert is_whole(copy)
    restore([other], folder / "2.zst")  # and from one kind into another and back

    assert other.log.dump() == source.log.dump()  # type: ignore[attr-defined]
    assert commits_of(other) == commits_of(source)
    assert (other.log.epoch(), source.log.epoch()) == (2, 0)


def test_every_partition_is_copied(tmp_path: Path) -> None:
    parts, copies = memory_parts(3), memory_parts(3)
    fill(parts[0], SIZES)
    fill(parts[2], (1, 1))
    parts[2].commits.set_epoch(4)

    done = saved(parts, tmp_path / "b")
    found = restore(copies, tmp_path / "b")

    assert (done.partitions, done.commits, done.events) == (3, 8, 18)
    assert (found.commits, found.events, found.blobs) == (done.commits, done.events, done.blobs)
    for one, other in zip(parts, copies, strict=True):
        assert commits_of(one) == commits_of(other)
        assert other.log.epoch() == 5


def test_events_that_are_no_text_are_kept(tmp_path: Path) -> None:
    row = backup_format.Row.of(backup_format.StoredRow(stream_id(1), 1, "T:1", b"\xff\xfe\x00"))

    again = msgspec.json.decode(msgspec.json.encode(row), type=backup_format.Row)

    assert again.stored().state == b"\xff\xfe\x00"


def test_a_large_commit_goes_over_several_lines(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_format, "PIECE_BYTES", 100)
    copy = memory_part()

    saved([part], tmp_path / "b")
    restore([copy], tmp_path / "b")

    commits = [line for line in lines_of(tmp_path / "b") if isinstance(line, CommitLine)]
    assert len(commits) > len(SIZES)
    assert commits_of(copy) == commits_of(part)


def test_what_is_committed_while_a_backup_is_made_is_left_out(part: Part, tmp_path: Path) -> None:
    before, head = commits_of(part), part.log.head()

    def write(done: int, total: int) -> None:
        assert total == head
        part.log.commit([recorded(1_000 + done, 1)], {}, published=part.log.head())

    backup([part], tmp_path / "b", NOW, "test", on_progress=write)
    copy = memory_part()
    restore([copy], tmp_path / "b")

    assert part.log.head() > head
    assert commits_of(copy) == before


def test_a_backup_replaces_no_file_unless_told_to(part: Part, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_text("precious")

    with pytest.raises(UsageError, match="there already"):
        saved([part], path)
    assert path.read_text() == "precious"

    saved([part], path, replace=True)
    restore([memory_part()], path)


def test_a_backup_that_fails_leaves_nothing_behind(part: Part, tmp_path: Path) -> None:
    part.commits.delete_blobs(part.commits.select_blob_names("", 9))

    with pytest.raises(StoredDataError, match="blob"):
        saved([part], tmp_path / "b")
    with pytest.raises(UsageError, match="cannot be written"):
        saved([memory_part()], tmp_path / "missing" / "b")

    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_may_read_a_backup(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600


# --- what the restored store goes on with ----------------------------------------------------


def restored(source: Part, folder: Path) -> Part:
    saved([source], folder / "r.zst")
    copy = memory_part()
    restore([copy], folder / "r.zst")
    return copy


def test_open_jobs_are_open_again_and_what_they_asked_for_is_sent_again(tmp_path: Path) -> None:
    source = memory_part()
    source.log.commit([submitted(1)], {})
    source.log.commit([submitted(2)], {})
    source.log.commit([submitted(3)], {})
    source.log.commit([ended(1)], {}, published=4)

    copy = restored(source, tmp_path)

    assert list(copy.log.open_roots()) == [stream_id(2), stream_id(3)]
    assert copy.log.published() == 1


def test_nothing_is_sent_again_where_nothing_is_open(tmp_path: Path) -> None:
    source = memory_part()
    source.log.commit([submitted(1), ended(1)], {}, published=2)

    assert restored(source, tmp_path).log.published() == 2


def test_what_was_not_sent_when_the_backup_was_made_is_sent(tmp_path: Path) -> None:
    source = memory_part()
    source.log.commit([submitted(1), ended(1)], {}, published=1)

    assert restored(source, tmp_path).log.published() == 1


def test_the_places_of_archives_are_kept(tmp_path: Path) -> None:
    source = memory_part()
    source.commits.put_archive(Archive("a", "/archives/a", NOW, done=True))

    assert restored(source, tmp_path).commits.select_archives() == source.commits.select_archives()


def test_each_restore_raises_the_epoch(part: Part, tmp_path: Path) -> None:
    first = restored(part, tmp_path)
    (tmp_path / "r.zst").unlink()
    second = restored(first, tmp_path)

    assert (part.log.epoch(), first.log.epoch(), second.log.epoch()) == (0, 1, 2)


# --- only into an empty store -----------------------------------------------------------------


def test_a_store_that_holds_events_is_refused_and_left_as_it_is(file: Path, part: Part) -> None:
    other = memory_part()
    other.log.commit(run_of(1, 1, 1), {})
    before = commits_of(other)

    for store in (other, part):
        with pytest.raises(UsageError, match="the store is not empty"):
            restore([store], file)

    assert (commits_of(other), other.log.epoch(), part.log.epoch()) == (before, 0, 0)


def test_the_same_backup_is_not_restored_twice(file: Path) -> None:
    copy = memory_part()
    restore([copy], file)

    with pytest.raises(UsageError, match="the store is not empty"):
        restore([copy], file)

    assert copy.log.epoch() == 1


def test_another_number_of_partitions_is_refused(file: Path) -> None:
    with pytest.raises(UsageError, match="it has 1 partitions and the store 2"):
        restore(memory_parts(2), file)


class Killed(BaseException):
    """Ends a restore as a kill would."""


@pytest.mark.parametrize("steps", range(12))
def test_a_restore_that_was_killed_goes_on_when_it_is_run_again(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "BYTES_WRITTEN_AT_ONCE", 1)
    parts, copies = memory_parts(2), memory_parts(2)
    for each in parts:
        fill(each, (2, 1, 2))
    saved(parts, tmp_path / "b")
    left = steps

    def die(work: Callable[..., None]) -> Callable[..., None]:
        def one(*given: object, **named: object) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            work(*given, **named)

        return one

    with monkeypatch.context() as patch:
        for name in ("insert_commit", "set_epoch", "set_published"):
            for each in copies:
                patch.setattr(each.commits, name, die(getattr(each.commits, name)))
        with pytest.raises(Killed):
            restore(copies, tmp_path / "b")
    started = any(each.log.epoch() < 0 for each in copies)
    if started:
        with pytest.raises(StoreUnavailable, match="run warrener store restore again"):
            check_whole(LogSet([each.log for each in copies]))

    found = restore(copies, tmp_path / "b")

    assert found.resumed is started
    for one, other in zip(parts, copies, strict=True):
        assert commits_of(one) == commits_of(other)
        assert blobs_of(one) == blobs_of(other)
        assert other.log.epoch() == 1


def test_a_killed_restore_does_not_go_on_with_another_backup(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "BYTES_WRITTEN_AT_ONCE", 1)
    copy, source = memory_part(), memory_part()
    fill(source, (2, 2, 2))
    saved([source], tmp_path / "other")

    def die(_done: int, _total: int) -> None:
        if copy.log.head():
            raise Killed

    with pytest.raises(Killed):
        restore([copy], file, die)
    with pytest.raises(UsageError, match="something else than this backup"):
        restore([copy], tmp_path / "other")

    restore([copy], file)


def test_a_restore_that_was_killed_at_once_does_not_go_on_with_another_epoch(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, source = memory_part(), memory_part()
    fill(source, (2, 2, 2))
    source.commits.set_epoch(7)
    saved([source], tmp_path / "other")

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(copy.commits, "insert_commit", die)
        with pytest.raises(Killed):
            restore([copy], file)
    with pytest.raises(UsageError, match="another backup was being restored"):
        restore([copy], tmp_path / "other")

    assert copy.log.head() == 0
    restore([copy], file)


# --- files that are not what they should be -----------------------------------------------------


def lines_of(path: Path) -> list[Line]:
    with path.open("rb") as file:
        data = zstandard.ZstdDecompressor().stream_reader(file).read()
    return [msgspec.json.decode(line, type=Line) for line in data.splitlines()]


def write_lines(path: Path, lines: Sequence[object], *, seal: bool = True) -> None:
    """Write lines; with `seal` their end tells their true hash."""
    buffer = io.BytesIO()
    writer = zstd_lines.LineWriter(buffer)
    for line in lines:
        sealed = isinstance(line, End) and seal
        writer.write(msgspec.structs.replace(line, sha256=writer.sha256()) if sealed else line)
    writer.close()
    path.write_bytes(buffer.getvalue())


def assert_refused(path: Path, match: str) -> None:
    store = memory_part()
    with pytest.raises(UsageError, match=match):
        restore([store], path)
    assert (store.log.head(), store.log.epoch()) == (0, 0)
    assert list(store.commits.select_blob_names("", 9)) == []


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = tmp_path_factory.mktemp("b") / "b"
    source = memory_part()
    fill(source, SIZES)
    saved([source], path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    assert_refused(path, "cut off|not zstd|not what it must be|cannot be restored")


@given(data=st.data())
def test_a_file_with_a_flipped_bit_gives_a_clear_error_or_the_same_store(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("b") / "b"
    source, copy = memory_part(), memory_part()
    fill(source, SIZES)
    saved([source], path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(bytes(content))

    try:
        restore([copy], path)
    except UsageError:
        assert (copy.log.head(), copy.log.epoch()) == (0, 0)
    else:
        assert commits_of(copy) == commits_of(source)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is not what it must be"),
        (b"plain text", "not zstd data"),
        (zstandard.compress(b"text\n"), "not what it must be"),
        (zstandard.compress(b"[]\n"), "not what it must be"),
        (zstandard.compress(b'{"type":"end"}\n'), "not what it must be"),
        (zstandard.compress(b"[" * 200_000 + b"\n"), "not what it must be"),
        (zstandard.compress(b'{"type":"header"'), "middle of a line"),
    ],
)
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "b").write_bytes(content)

    assert_refused(tmp_path / "b", match)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert_refused(tmp_path / "missing", "No such file")
    assert_refused(tmp_path, "Is a directory")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor().compressobj()
    with (tmp_path / "b").open("wb") as file:
        for _ in range(200):
            file.write(bomb.compress(b"x" * 1_000_000))
        file.write(bomb.flush())
    assert (tmp_path / "b").stat().st_size < 100_000

    assert_refused(tmp_path / "b", "a line is longer than")


def test_data_that_ask_for_a_large_window_are_refused(tmp_path: Path) -> None:
    params = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=params).compressobj()
    (tmp_path / "b").write_bytes(stream.compress(b"x" * 1_000) + stream.flush())

    assert_refused(tmp_path / "b", "not zstd data that can be read")


def header_with(line: Header, **changes: object) -> Header:
    return msgspec.structs.replace(line, **changes)


def test_a_format_that_is_not_known_is_told(file: Path) -> None:
    header, *rest = lines_of(file)
    assert isinstance(header, Header)
    for change, match in (
        ({"version": 2}, "its format has version 2, known here is 1"),
        ({"format": "other"}, "no backup of a Warrener store"),
        ({"partitions": ()}, "does not name every partition"),
        ({"partitions": header.partitions * 2}, "does not name every partition"),
    ):
        write_lines(file, [header_with(header, **change), *rest])
        assert_refused(file, match)


def test_lines_that_are_left_out_doubled_or_exchanged_are_refused(file: Path) -> None:
    lines = lines_of(file)
    for place in range(1, len(lines) - 1):
        for changed in (
            [*lines[:place], *lines[place + 1 :]],
            [*lines[:place], lines[place], *lines[place:]],
            [*lines[: place - 1], lines[place], lines[place - 1], *lines[place + 1 :]],
        ):
            write_lines(file, changed)
            both_blobs = all(isinstance(each, BlobLine) for each in lines[place - 1 : place + 1])
            doubled = len(changed) > len(lines) and isinstance(lines[place], BlobLine)
            if not (both_blobs or doubled):
                assert_refused(file, "cannot be restored|not what it must be")


def test_changed_lines_are_refused_though_their_sum_is_right(file: Path) -> None:
    lines = lines_of(file)
    for place, line in enumerate(lines):
        changed: object
        if isinstance(line, BlobLine):
            changed = msgspec.structs.replace(line, data=line.data + b"x")
        elif isinstance(line, CommitLine):
            row = msgspec.structs.replace(line.rows[0], text=line.rows[0].text + " ")
            changed = msgspec.structs.replace(line, rows=(row, *line.rows[1:]))
        else:
            continue
        write_lines(file, [*lines[:place], changed, *lines[place + 1 :]])
        assert_refused(file, "cannot be restored")


def test_a_sum_that_is_not_that_of_the_lines_is_told(file: Path) -> None:
    *lines, end = lines_of(file)
    assert isinstance(end, End)

    write_lines(file, [*lines, msgspec.structs.replace(end, sha256="0" * 64)], seal=False)
    assert_refused(file, "SHA-256")

    write_lines(file, [*lines, end, lines[1]])
    assert_refused(file, "something follows after its end")


def test_a_blob_that_no_event_needs_is_refused(file: Path) -> None:
    header, *rest = lines_of(file)
    _, blobs = with_blob(1, 1, b"unasked")
    extra = [BlobLine(0, name, data) for name, data in blobs.items()]

    write_lines(file, [header, *extra, *rest])

    assert_refused(file, "not those that it needs")


def test_where_no_file_can_be_written_or_taken_away_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(zstd_lines.os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)

    with (
        pytest.raises(UsageError, match="cannot be written: Read-only file system"),
        zstd_lines.written_whole(tmp_path / "file"),
    ):
        pass

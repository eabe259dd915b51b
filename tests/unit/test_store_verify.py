"""Whatever is changed in a store behind Warrener's back is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from support.stores import commits_of, fill, memory_part, sqlite_part

from warrener.domain.stored import StoredRow
from warrener.services.upkeep import verify as verifying
from warrener.services.upkeep.commits import Part
from warrener.services.upkeep.verify import Checked, Damage, verify_part

SIZES = (3, 1, 4, 1, 5, 2)
HEAD = sum(SIZES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with sqlite_part(tmp_path / "log.db") as part:
        fill(part, SIZES)
    return tmp_path / "log.db"


def checked(part: Part, **options: Any) -> tuple[Checked, list[Damage]]:
    damages: list[Damage] = []
    return verify_part(part, damages.append, **options), damages


def after(path: Path, *statements: str, values: tuple[Any, ...] = ()) -> list[Damage]:
    """Return what is found after a change by SQL."""
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement, values)
    with sqlite_part(path) as part:
        return checked(part)[1]


def whats(damages: list[Damage]) -> str:
    return "\n".join(f"{each.position}: {each.what}" for each in damages)


def test_a_store_that_nobody_touched_is_whole(path: Path) -> None:
    with sqlite_part(path) as part:
        found, damages = checked(part)

        assert damages == []
        assert (found.first, found.last, found.commits, found.blobs) == (1, HEAD, len(SIZES), 4)
        assert found.link == commits_of(part)[-1].link.hex()


def test_an_empty_store_is_whole() -> None:
    found, damages = checked(memory_part())

    assert (found.last, found.commits, damages) == (0, 0, [])


EVENT_COLUMNS = ("originator_id", "topic", "state")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(1, HEAD), column=st.sampled_from(EVENT_COLUMNS), data=st.data())
def test_a_flipped_bit_anywhere_in_an_event_is_found(
    path: Path, tmp_path: Path, position: int, column: str, data: st.DataObject
) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as db, db:
        select = f"SELECT CAST({column} AS BLOB) FROM log_events WHERE position = ?"
        before = bytearray(db.execute(select, (position,)).fetchone()[0])
        place = data.draw(st.integers(0, 8 * len(before) - 1))
        before[place // 8] ^= 1 << place % 8
        value = f"CAST(? AS {'TEXT' if column == 'topic' else 'BLOB'})"
        update = f"UPDATE log_events SET {column} = {value} WHERE position = ?"
        try:
            db.execute(update, (bytes(before), position))
        except sqlite3.IntegrityError:
            reject()  # the file itself refuses a second event of this version

    with sqlite_part(copy) as part:
        found, damages = checked(part)

    assert found.damages == len(damages) > 0
    bounds = _commit_around(position)
    assert any(bounds[0] <= each.position <= bounds[1] for each in damages)


def _commit_around(position: int) -> tuple[int, int]:
    first = 1
    for size in SIZES:
        if position < first + size:
            return first, first + size - 1
        first += size
    raise AssertionError(position)


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_a_missing_commit_is_found(path: Path, number: int) -> None:
    last = sum(SIZES[: number + 1])
    first = last - SIZES[number] + 1

    damages = after(
        path,
        f"DELETE FROM log_events WHERE position BETWEEN {first} AND {last}",
        f"DELETE FROM log_commits WHERE last = {last}",
    )

    if number == len(SIZES) - 1:
        assert damages == []  # the end alone cannot tell: see the next test
    else:
        assert f"{first}: events are missing before position {last + 1}" in whats(damages)


def test_a_missing_end_is_found_by_a_link_that_was_kept(path: Path) -> None:
    with sqlite_part(path) as part:
        kept = commits_of(part)[-1].link
    last = HEAD - SIZES[-1]
    after(
        path,
        f"DELETE FROM log_events WHERE position > {last}",
        f"DELETE FROM log_commits WHERE last > {last}",
    )

    with sqlite_part(path) as part:
        _, damages = checked(part, expected={HEAD: kept})

    assert whats(damages) == f"{HEAD}: no commit ends at this position, though its link was kept"


def test_a_missing_end_is_found_if_what_followed_from_it_was_sent(path: Path) -> None:
    damages = after(
        path,
        "UPDATE log_tracking SET notification_id = 99 WHERE application_name = 'outbox'",
    )

    assert "its end is missing" in whats(damages)


@pytest.mark.parametrize("position", range(1, HEAD + 1))
def test_a_missing_event_is_found(path: Path, position: int) -> None:
    assert after(path, f"DELETE FROM log_events WHERE position = {position}")


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_a_missing_link_is_found(path: Path, number: int) -> None:
    assert after(path, f"DELETE FROM log_commits WHERE last = {sum(SIZES[: number + 1])}")


@pytest.mark.parametrize("kept", [100_000, 0])
def test_a_doubled_version_is_found_however_little_is_remembered(
    path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "STREAMS_KEPT_MAX", kept)
    columns = "position, originator_id, originator_version, topic, state"

    damages = after(
        path,
        "DROP TRIGGER log_events_are_dense",
        f"CREATE TABLE loose AS SELECT {columns} FROM log_events",
        "DROP TABLE log_events",
        "ALTER TABLE loose RENAME TO log_events",
        "UPDATE log_events SET (originator_id, originator_version) ="
        " (SELECT originator_id, originator_version FROM log_events WHERE position = 2)"
        f" WHERE position = {HEAD}",
    )

    assert f"{HEAD}: event 1 of stream 00000000-0000-0000-0000-000000000002 is there twice" in (
        whats(damages)
    )


@pytest.mark.parametrize("kept", [100_000, 2])
def test_a_version_that_was_left_out_is_found(
    path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "STREAMS_KEPT_MAX", kept)

    damages = after(
        path,
        "UPDATE log_events SET originator_version = originator_version + 7"
        f" WHERE position = {HEAD}",
    )

    assert len([each for each in damages if each.position == HEAD]) == 1


def test_an_event_that_cannot_be_read_is_found_by_what_is_wrong_with_it(path: Path) -> None:
    damages = after(path, "UPDATE log_events SET topic = 'Nonsense:9' WHERE position = 2")

    assert "2: event 1 of stream 00000000-0000-0000-0000-000000000002 ('Nonsense:9')" in (
        whats(damages)
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("DELETE FROM log_blobs", "is missing"),
        ("UPDATE log_blobs SET data = data || 'x'", "other content than its name says"),
    ],
)
def test_a_blob_that_is_missing_or_another_is_found(path: Path, change: str, what: str) -> None:
    damages = after(path, change)

    assert len(damages) == 4
    assert all(what in each.what for each in damages)


def test_events_of_no_commit_are_found(path: Path) -> None:
    damages = after(
        path,
        "INSERT INTO log_events (originator_id, originator_version, topic, state)"
        " VALUES (x'00000000000000000000000000000063', 1, 'JobStarted:1', '{}')",
    )

    assert whats(damages) == f"{HEAD + 1}: the events to position {HEAD + 1} belong to no commit"


def test_a_pruned_event_that_does_not_tell_its_digest_is_found(path: Path) -> None:
    for state in ("{}", '{"digest":"no hash"}', "nonsense"):
        damages = after(
            path,
            "UPDATE log_events SET topic = 'EventPruned:1', state = ? WHERE position = 1",
            values=(state,),
        )

        assert "1: the events to position 3 are not those that were committed" in whats(damages)


def test_whoever_kept_a_link_is_told_if_anything_before_it_was_written_anew(path: Path) -> None:
    """The whole chain may have been computed again: only the kept link tells."""
    with sqlite_part(path) as part:
        kept = {commit.last: commit.link for commit in commits_of(part)}
    forged = path.with_name("forged.db")
    with sqlite_part(forged) as part:
        fill(part, (3, 1, 4, 1, 5))
        assert checked(part, expected=_first(kept, 5))[1] == []

        part.log.commit([], {}, published=1)
        other = memory_part()
        fill(other, (3, 2, 4, 1, 5, 1))

        _, damages = checked(other, expected={HEAD: kept[HEAD]})

    assert whats(damages) == (
        f"{HEAD}: the link of the commit that ends here is another than the one that was kept:"
        " something at or before this position was changed"
    )


def _first(kept: Mapping[int, bytes], count: int) -> dict[int, bytes]:
    return dict(list(kept.items())[:count])


@pytest.mark.parametrize("start", range(1, HEAD + 2))
def test_checking_may_begin_anywhere(path: Path, start: int) -> None:
    with sqlite_part(path) as part:
        found, damages = checked(part, start=start)

        assert damages == []
        firsts = [commit.first for commit in commits_of(part)]
        assert found.first == next((first for first in firsts if first >= start), HEAD + 1)
        assert found.commits == sum(first >= start for first in firsts)


def test_what_is_wrong_before_the_beginning_is_not_looked_at(path: Path) -> None:
    after(path, "UPDATE log_events SET state = '{' WHERE position = 1")

    with sqlite_part(path) as part:
        assert checked(part, start=4)[1] == []
        assert checked(part, start=1)[1]


def test_progress_is_told_up_to_the_head(path: Path) -> None:
    told: list[tuple[int, int]] = []

    with sqlite_part(path) as part:
        checked(part, on_progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (HEAD, HEAD)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.fixture(params=[True, False])
def replaced(request: pytest.FixtureRequest) -> tuple[Part, bool]:
    """Give a store with an event that was put in the place of one with the same digest, or not."""
    part = memory_part()
    fill(part, SIZES)
    row = commits_of(part)[0].rows[0]
    state = row.state if request.param else row.state + b" "
    part.commits.replace_rows({1: StoredRow(row.stream, row.version, row.topic, state)})
    return part, request.param


def test_replacing_an_event_by_another_breaks_the_chain(replaced: tuple[Part, bool]) -> None:
    part, same = replaced

    assert (checked(part)[1] == []) is same

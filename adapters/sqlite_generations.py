"""Generations of the read models in one SQLite file: which is seen, which is being built.

The tables `view_*` are seen; those of the next generation are called `view_next_*` until they take
the names of the others, in one transaction. What is outlived then is called `view_old_*` until it
is dropped. All functions but `drop_outlived` stand in a transaction of the caller.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from warrener.adapters.sqlite_tables import SCHEMA, SCHEMA_VERSION
from warrener.domain.errors import Conflict, StoredDataError

_SEEN: Final = "view_"
NEXT: Final = "view_next_"
_OLD: Final = "view_old_"
_STATE: Final = "view_schema"
_NO_STATE: Final = f"""
CREATE TABLE {_STATE} (
    version INTEGER NOT NULL, generation INTEGER NOT NULL, building INTEGER NOT NULL,
    last INTEGER NOT NULL
)"""


class Layout(msgspec.Struct, frozen=True):
    """The generation that is seen, the one being built (0 without any), and the highest number."""

    generation: int
    building: int
    last: int


def is_laid_out(db: sqlite3.Connection) -> bool:
    """Say whether the views have this layout; raises `StoredDataError` if it is a newer one."""
    if _STATE not in _tables(db, _STATE):
        return False
    found = db.execute(f"SELECT version FROM {_STATE}").fetchone()
    if found is not None and found[0] > SCHEMA_VERSION:
        raise StoredDataError(
            "the read models were made by a newer version of Warrener"
            f" (layout {found[0]}, this version knows {SCHEMA_VERSION}): use that version"
        )
    return found is not None and found[0] == SCHEMA_VERSION


def lay_out(db: sqlite3.Connection) -> None:
    """Make the views anew, whatever was there."""
    for table in _tables(db, f"{_SEEN}*"):
        db.execute(f'DROP TABLE "{table}"')
    db.execute(_NO_STATE)
    db.execute(f"INSERT INTO {_STATE} VALUES (?, 1, 0, 1)", (SCHEMA_VERSION,))
    _create(db, _SEEN, 1)


def layout(db: sqlite3.Connection) -> Layout:
    """Return what is seen and built now."""
    return Layout(*db.execute(f"SELECT generation, building, last FROM {_STATE}").fetchone())


def empty(db: sqlite3.Connection, building: int) -> int:
    """Make the generation that is seen anew, or the one being built; return its new number."""
    now = layout(db)
    if building:
        _check_building(now, building)
        return build(db)
    for table in _seen(db):
        db.execute(f'DROP TABLE "{table}"')
    _create(db, _SEEN, now.last + 1)
    _set(db, Layout(now.last + 1, now.building, now.last + 1))
    return now.last + 1


def build(db: sqlite3.Connection) -> int:
    """Begin a generation in the place of any that was being built; return its number."""
    now = layout(db)
    for table in _tables(db, f"{NEXT}*"):
        db.execute(f'DROP TABLE "{table}"')
    _create(db, NEXT, now.last + 1)
    _set(db, Layout(now.generation, now.last + 1, now.last + 1))
    return now.last + 1


def switch(db: sqlite3.Connection, building: int) -> None:
    """Let everybody see what was built; raises `Conflict` if it is that no more."""
    now = layout(db)
    _check_building(now, building)
    for table in _tables(db, f"{_OLD}*"):
        db.execute(f'DROP TABLE "{table}"')
    for table in _seen(db):
        db.execute(f'ALTER TABLE "{table}" RENAME TO "{_OLD}{table.removeprefix(_SEEN)}"')
    for table in _tables(db, f"{NEXT}*"):
        db.execute(f'ALTER TABLE "{table}" RENAME TO "{_SEEN}{table.removeprefix(NEXT)}"')
    _set(db, Layout(building, 0, now.last))


def drop_outlived(db: sqlite3.Connection) -> None:
    """Drop what is seen no more, table by table, so that nobody waits long for it."""
    for table in _tables(db, f"{_OLD}*"):
        db.execute(f'DROP TABLE IF EXISTS "{table}"')


def check_generation(db: sqlite3.Connection, generation: int, *, building: bool) -> None:
    """Raise `Conflict` if a generation is not the one that is seen, or built, any more."""
    now = layout(db)
    if building:
        _check_building(now, generation)
    elif now.generation != generation:
        raise Conflict("the read models were built anew: read their positions again")


def _check_building(now: Layout, building: int) -> None:
    if now.building != building:
        raise Conflict("another rebuild of the read models has begun, or this one has ended")


def _create(db: sqlite3.Connection, prefix: str, generation: int) -> None:
    """Make the tables of a generation; names of indexes stay when their table gets another."""
    named = SCHEMA.replace("TABLE view_", f"TABLE {prefix}").replace("ON view_", f"ON {prefix}")
    for statement in named.replace("INDEX view_", f"INDEX view_{generation}_").split(";"):
        db.execute(statement)


def _set(db: sqlite3.Connection, new: Layout) -> None:
    values = (new.generation, new.building, new.last)
    db.execute(f"UPDATE {_STATE} SET generation = ?, building = ?, last = ?", values)


def _seen(db: sqlite3.Connection) -> list[str]:
    return [
        name
        for name in _tables(db, f"{_SEEN}*")
        if not name.startswith((NEXT, _OLD)) and name != _STATE
    ]


def _tables(db: sqlite3.Connection, names: str) -> list[str]:
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ? ORDER BY name"
    return [row[0] for row in db.execute(sql, (names,))]

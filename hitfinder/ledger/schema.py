"""The ledger's tables, and how a file of an earlier format gets those of today.

What this file does not know: when it is safe to do so (`store` has made sure that nobody writes).
"""

import sqlite3

FORMAT = 2
"""2: what the second step says of hits. A file of format 1 is migrated when it is opened."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, started_unix_ns INTEGER NOT NULL, alive_unix_ns INTEGER NOT NULL,
    ended_unix_ns INTEGER, process INTEGER NOT NULL, host TEXT NOT NULL, model TEXT NOT NULL,
    diffuse_model TEXT);
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions, name TEXT NOT NULL,
    unique_id TEXT, started INTEGER NOT NULL, announced INTEGER, ended TEXT,
    first_unix_ns INTEGER NOT NULL, last_unix_ns INTEGER NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
    lost_at_end INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0, stray INTEGER NOT NULL DEFAULT 0, runs TEXT);
CREATE TABLE IF NOT EXISTS frames (
    series INTEGER NOT NULL REFERENCES series, number INTEGER NOT NULL, arrival TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT, score REAL, arrival_unix_ns INTEGER NOT NULL,
    latency_us INTEGER NOT NULL, diffuse TEXT, diffuse_reason TEXT, diffuse_score REAL);
CREATE TABLE IF NOT EXISTS events (
    session INTEGER NOT NULL REFERENCES sessions, unix_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    text TEXT NOT NULL);
"""

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE sessions ADD COLUMN diffuse_model TEXT",
        "ALTER TABLE frames ADD COLUMN diffuse TEXT",
        "ALTER TABLE frames ADD COLUMN diffuse_reason TEXT",
        "ALTER TABLE frames ADD COLUMN diffuse_score REAL",
    ),
}
"""From each earlier format to the next. New columns stand last, in a new file, too."""


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring a file of this format to FORMAT, all of it or nothing. 0 is a new file, whose tables
    are today's. Raises sqlite3.Error.
    """
    if version == FORMAT:
        return
    db.execute("BEGIN IMMEDIATE")
    for earlier in range(version or FORMAT, FORMAT):
        for statement in MIGRATIONS[earlier]:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")

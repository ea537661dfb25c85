"""The naive backend's tables, in SQLite."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta

TABLES = (
    "CREATE TABLE IF NOT EXISTS examinations (id INTEGER PRIMARY KEY, start_time, end_time)",
    "CREATE TABLE IF NOT EXISTS ctg (id INTEGER PRIMARY KEY, examination_id, sec_from_start REAL,"
    " uuid TEXT, bpm REAL, uterus REAL, spasms REAL, seq, stream)",
    "CREATE INDEX IF NOT EXISTS numbers ON ctg (uuid, seq)",
)


def now(bug=""):
    at = datetime.now(UTC)
    if bug == "writes times in its zone":
        return f"{at + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}"
    if bug == "writes times as numbers":
        return at.timestamp()
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


COLUMNS = "examination_id, sec_from_start, uuid, bpm, uterus, spasms, seq, stream"


class Store:
    """One connection, a commit per row."""

    def __init__(self, path, sync="OFF", bug=""):
        self.path, self.bug = path, bug
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute(f"PRAGMA synchronous = {sync}")
        for table in TABLES:
            self.db.execute(table)

    def open(self):
        sql = "INSERT INTO examinations (start_time) VALUES (?)"
        return self.db.execute(sql, (now(self.bug),)).lastrowid

    def end(self, exam):
        sql = "UPDATE examinations SET end_time = ? WHERE id = ?"
        self.db.execute(sql, (now(self.bug), exam))

    def end_all(self):
        self.db.execute("UPDATE examinations SET end_time = ? WHERE end_time IS NULL", (now(),))

    def insert(self, row):
        self.db.execute(f"INSERT INTO ctg ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def numbered(self, uuid, seq):
        """Return the (stream, sec, bpm) of the samples with this number."""
        sql = "SELECT stream, sec_from_start, bpm FROM ctg WHERE uuid = ? AND seq = ?"
        return self.db.execute(sql, (uuid, seq)).fetchall()

    def move(self, uuid, seq, sec, exam):
        """Put a sample into another examination."""
        sql = "UPDATE ctg SET examination_id = ? WHERE uuid = ? AND seq = ? AND sec_from_start = ?"
        self.db.execute(sql, (exam, uuid, seq, sec))

    def close(self):
        self.db.close()


class HastyStore(Store):
    """A connection per write, in threads, without a busy timeout: whoever comes second fails."""

    def __init__(self, path):
        super().__init__(path, sync="FULL")
        self._local = threading.local()

    def _write(self, sql, values):
        db = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        try:
            return db.execute(sql, values).lastrowid
        finally:
            db.close()

    def open(self):
        return self._write("INSERT INTO examinations (start_time) VALUES (?)", (now(),))

    def end(self, exam):
        self._write("UPDATE examinations SET end_time = ? WHERE id = ?", (now(), exam))

    def insert(self, row):
        self._write(f"INSERT INTO ctg ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

"""The naive backend's tables, in SQLite."""

import sqlite3
import threading

TABLES = (
    "CREATE TABLE IF NOT EXISTS examinations (id INTEGER PRIMARY KEY, start_time, end_time)",
    "CREATE TABLE IF NOT EXISTS ctg (id INTEGER PRIMARY KEY, examination_id, sec_from_start REAL,"
    " uuid TEXT, bpm REAL, uterus REAL, spasms REAL, seq, stream)",
    "CREATE INDEX IF NOT EXISTS numbers ON ctg (uuid, seq)",
)
COLUMNS = "examination_id, sec_from_start, uuid, bpm, uterus, spasms, seq, stream"


class Store:
    """One connection, a commit per row."""

    def __init__(self, path, sync="OFF"):
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute(f"PRAGMA synchronous = {sync}")
        for table in TABLES:
            self.db.execute(table)

    def open(self):
        return self.db.execute(
            "INSERT INTO examinations (start_time) VALUES ('2026-01-01T00:00:00Z')"
        ).lastrowid

    def end(self, exam):
        self.db.execute("UPDATE examinations SET end_time = 2 WHERE id = ?", (exam,))

    def end_all(self):
        self.db.execute("UPDATE examinations SET end_time = 3 WHERE end_time IS NULL")

    def insert(self, row):
        self.db.execute(f"INSERT INTO ctg ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def numbered(self, uuid, seq):
        """Return the (stream, sec, bpm) of the samples with this number."""
        sql = "SELECT stream, sec_from_start, bpm FROM ctg WHERE uuid = ? AND seq = ?"
        return self.db.execute(sql, (uuid, seq)).fetchall()

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
        return self._write(
            "INSERT INTO examinations (start_time) VALUES (?)", ("2026-01-01T00:00:00Z",)
        )

    def end(self, exam):
        self._write("UPDATE examinations SET end_time = 2 WHERE id = ?", (exam,))

    def insert(self, row):
        self._write(f"INSERT INTO ctg ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

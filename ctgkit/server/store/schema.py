"""The database's shape: migrations as an ordered list, each applied once, in one transaction.

``examinations`` and ``ctg`` keep the original system's table and column names, so that its SQL
reads our files; what is ours comes after. ``PRAGMA user_version`` counts the applied migrations.
"""

from functools import cache

APPLICATION_ID = 0x43544731
"""Marks a file as ours ("CTG1"), so that nobody else's database is ever migrated."""

OPEN, CLOSED, INTERRUPTED = 0, 1, 2
"""``examinations.status``; the original system writes 0 for ever."""

_NOW = "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE sensors (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE)",
        f"""CREATE TABLE examinations (
            id INTEGER PRIMARY KEY,
            client_id INTEGER NOT NULL DEFAULT 1,
            med_id INTEGER NOT NULL DEFAULT 1,
            doctor_id INTEGER NOT NULL DEFAULT 1,
            notes TEXT NOT NULL DEFAULT '',
            status INTEGER NOT NULL DEFAULT {OPEN},
            cloud_id TEXT,
            start_time TEXT NOT NULL DEFAULT {_NOW},
            end_time TEXT,
            created_at TEXT NOT NULL DEFAULT {_NOW},
            updated_at TEXT NOT NULL DEFAULT {_NOW},
            created_by INTEGER,
            updated_by INTEGER,
            bed TEXT NOT NULL DEFAULT 'default'
        )""",
        f"""CREATE TABLE ctg (
            id INTEGER PRIMARY KEY,
            examination_id INTEGER NOT NULL REFERENCES examinations (id),
            sec_from_start REAL NOT NULL,
            uuid TEXT NOT NULL,
            bpm REAL,
            uterus REAL,
            spasms REAL,
            created_at TEXT NOT NULL DEFAULT {_NOW},
            sensor_id INTEGER NOT NULL REFERENCES sensors (id),
            seq INTEGER
        )""",
        # The only secondary index: it drops duplicates and finds a sensor's rows, and each more
        # would cost about as much as the row itself (performance.md).
        "CREATE UNIQUE INDEX ctg_sample ON ctg (examination_id, sensor_id, seq)",
        f"""CREATE TABLE predictions (
            id INTEGER PRIMARY KEY,
            examination_id INTEGER NOT NULL REFERENCES examinations (id),
            sensor_id INTEGER NOT NULL REFERENCES sensors (id),
            sec_from_start REAL,
            status TEXT,
            body TEXT NOT NULL,
            created_at TEXT NOT NULL DEFAULT {_NOW}
        )""",
    ),
    ("ALTER TABLE sensors ADD COLUMN token_digest BLOB",),
)


@cache
def insert_samples(rows: int) -> str:
    """Return the statement that stores *rows* samples, and drops those that are there."""
    return f"""
        INSERT INTO ctg (examination_id, sensor_id, seq, sec_from_start, uuid, bpm, uterus, spasms)
        VALUES {", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * rows)}
        ON CONFLICT (examination_id, sensor_id, seq) DO NOTHING
    """


@cache
def insert_predictions(rows: int) -> str:
    """Return the statement that stores *rows* results."""
    return f"""
        INSERT INTO predictions (examination_id, sensor_id, sec_from_start, status, body)
        VALUES {", ".join(["(?, ?, ?, ?, ?)"] * rows)}
    """


INSERT_EXAMINATION = "INSERT INTO examinations (id, bed) VALUES (?, ?)"
CLOSE_EXAMINATION = f"""
    UPDATE examinations SET status = {CLOSED}, end_time = {_NOW}, updated_at = {_NOW}
    WHERE id = ? AND end_time IS NULL
"""
INTERRUPT_EXAMINATION = f"""
    UPDATE examinations SET status = {INTERRUPTED}, updated_at = {_NOW}, end_time = coalesce(
        (SELECT created_at FROM ctg WHERE id = (
            SELECT max(id) FROM ctg WHERE examination_id = examinations.id)), start_time)
    WHERE id = ? AND end_time IS NULL
"""
INSERT_SENSOR = """
    INSERT INTO sensors (uuid, token_digest) VALUES (?, ?) ON CONFLICT (uuid)
    DO UPDATE SET token_digest = coalesce(excluded.token_digest, token_digest)
"""
"""A sensor whose token isn't configured any more keeps the digest that is stored."""
SELECT_SENSORS = "SELECT uuid, id, token_digest FROM sensors"
SELECT_LAST_EXAMINATION = "SELECT coalesce(max(id), 0) FROM examinations"
SELECT_OPEN = "SELECT id, bed FROM examinations WHERE end_time IS NULL ORDER BY id"
SELECT_OPEN_AGE = """
    SELECT (julianday('now') - julianday(coalesce(
        (SELECT created_at FROM ctg WHERE id = (
            SELECT max(id) FROM ctg WHERE examination_id = e.id)), e.start_time))) * 86400.0
    FROM examinations e WHERE e.id = ?
"""
SELECT_LAST_SEQS = """
    SELECT uuid, exam,
        (SELECT max(seq) FROM ctg WHERE examination_id = exam AND sensor_id = sensor) AS last,
        (SELECT min(seq) FROM ctg WHERE examination_id = exam AND sensor_id = sensor) - 1
    FROM (
        SELECT s.uuid AS uuid, s.id AS sensor, (
            SELECT e.id FROM examinations e
            WHERE e.id > (SELECT max(id) FROM examinations) - 100 AND EXISTS (
                SELECT 1 FROM ctg WHERE examination_id = e.id AND sensor_id = s.id)
            ORDER BY e.id DESC LIMIT 1) AS exam
        FROM sensors s)
    WHERE last IS NOT NULL
"""
"""Each sensor's last examination (of the newest hundred), the last number stored in it, and the
one before its first: numbers up to that were stored before, so they can only be resent."""

SELECT_NEWEST = """
    SELECT sec_from_start, seq, id FROM ctg WHERE examination_id = ? AND sensor_id = ?
    ORDER BY examination_id DESC, sensor_id DESC, seq DESC, id DESC LIMIT 1 OFFSET ?
"""
SELECT_PAGE = """
    SELECT sec_from_start, bpm, uterus, spasms, seq, id FROM ctg
    WHERE examination_id = ? AND sensor_id = ? AND seq > ? AND seq <= ?
    ORDER BY examination_id, sensor_id, seq LIMIT ?
"""
SELECT_PAGE_WITHOUT_NUMBERS = """
    SELECT sec_from_start, bpm, uterus, spasms, seq, id FROM ctg
    WHERE examination_id = ? AND sensor_id = ? AND seq IS NULL AND id > ? AND id <= ?
    ORDER BY examination_id, sensor_id, seq, id LIMIT ?
"""
"""Each page begins where the last one ended: the index goes there at once."""
SELECT_EXAMINATIONS = f"""
    SELECT e.id, e.bed,
        CASE WHEN e.status = {INTERRUPTED} THEN 'interrupted'
             WHEN e.end_time IS NULL THEN 'open' ELSE 'closed' END AS state,
        e.start_time, e.end_time,
        (SELECT count(*) FROM ctg WHERE examination_id = e.id) AS samples,
        (SELECT count(bpm) FROM ctg WHERE examination_id = e.id) AS with_signal,
        (SELECT count(DISTINCT sensor_id) FROM ctg WHERE examination_id = e.id) AS sensors,
        coalesce(p.n, 0) AS predictions
    FROM examinations e LEFT JOIN (
        SELECT examination_id, count(*) AS n FROM predictions GROUP BY examination_id) p
        ON p.examination_id = e.id
    ORDER BY e.id
"""
SELECT_SAMPLES = """
    SELECT uuid, seq, sec_from_start, bpm, uterus, spasms, created_at
    FROM ctg WHERE examination_id = ? ORDER BY id
"""
SELECT_EXAMINATION_SENSORS = """
    SELECT s.uuid, count(*) AS samples, count(c.bpm) AS with_signal,
        min(c.sec_from_start) AS first_sec, max(c.sec_from_start) AS last_sec
    FROM ctg c JOIN sensors s ON s.id = c.sensor_id
    WHERE c.examination_id = ? GROUP BY s.uuid ORDER BY s.uuid
"""
SELECT_PREDICTIONS = "SELECT body FROM predictions WHERE examination_id = ? ORDER BY id"

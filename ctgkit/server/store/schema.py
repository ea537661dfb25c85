"""The database's shape: migrations as an ordered list, each applied once, in one transaction.

``examinations`` and ``ctg`` keep the original system's table and column names, so that its SQL
reads our files; what is ours comes after. ``PRAGMA user_version`` counts the applied migrations.
"""

from functools import cache

from ctgkit.samples import SEQ_MAX

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
    (
        # A sensor that begins to count anew, in an examination that is still open, is another
        # stream. Rows from before have stream 0, and none is rewritten.
        "ALTER TABLE ctg ADD COLUMN stream_id INTEGER NOT NULL DEFAULT 0",
        "DROP INDEX ctg_sample",
        "CREATE UNIQUE INDEX ctg_sample ON ctg (examination_id, sensor_id, stream_id, seq)",
        """CREATE TABLE streams (
            id INTEGER PRIMARY KEY,
            sensor_id INTEGER NOT NULL REFERENCES sensors (id),
            name TEXT,
            UNIQUE (sensor_id, name)
        )""",
        # Where a stream has rows; the range is NULL while the examination is open. It finds a
        # number in the examinations of the past without an index of their own over all rows.
        """CREATE TABLE parts (
            sensor_id INTEGER NOT NULL,
            named INTEGER NOT NULL,
            stream_id INTEGER NOT NULL,
            examination_id INTEGER NOT NULL,
            first_seq INTEGER,
            last_seq INTEGER,
            PRIMARY KEY (sensor_id, named, stream_id, examination_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX parts_examination ON parts (examination_id)",
        """INSERT INTO parts
            SELECT sensor_id, 0, 0, examination_id, min(seq), max(seq) FROM ctg
            WHERE seq IS NOT NULL GROUP BY examination_id, sensor_id""",
        "UPDATE parts SET first_seq = NULL, last_seq = NULL WHERE examination_id IN"
        " (SELECT id FROM examinations WHERE end_time IS NULL)",
        "CREATE INDEX predictions_examination ON predictions (examination_id)",
        # What `exam list` shows, so that it need not read every row.
        """CREATE TABLE counts (
            examination_id INTEGER NOT NULL,
            sensor_id INTEGER NOT NULL,
            samples INTEGER NOT NULL,
            with_signal INTEGER NOT NULL,
            first_sec REAL,
            last_sec REAL,
            predictions INTEGER NOT NULL,
            PRIMARY KEY (examination_id, sensor_id)
        ) WITHOUT ROWID""",
        "CREATE TABLE counted (samples_through INTEGER NOT NULL, predictions_through INTEGER"
        " NOT NULL)",
        "INSERT INTO counted VALUES (0, 0)",
    ),
    # Data times of the results before this one that say the same and are no rows of their own
    # (server/repeats.py).
    ("ALTER TABLE predictions ADD COLUMN repeated BLOB",),
    # Sensors that live here and not in ctgkit.toml; of the others `bed` is NULL.
    ("ALTER TABLE sensors ADD COLUMN bed TEXT", "ALTER TABLE sensors ADD COLUMN control TEXT"),
    (
        # Rows of examinations that are over, as blocks (ctgkit/packed.py reads them, and
        # packing.py makes them). Sensor 0: results.
        """CREATE TABLE packed (
            id INTEGER PRIMARY KEY,
            examination_id INTEGER NOT NULL REFERENCES examinations (id),
            sensor_id INTEGER NOT NULL,
            stream_id INTEGER NOT NULL,
            first_id INTEGER NOT NULL,
            last_id INTEGER NOT NULL,
            first_seq INTEGER,
            last_seq INTEGER,
            rows INTEGER NOT NULL,
            block BLOB NOT NULL
        )""",
        # All but the block itself: what is looked for is found without touching one.
        "CREATE INDEX packed_rows ON packed"
        " (examination_id, sensor_id, stream_id, last_seq, first_seq, first_id, last_id, rows)",
        # How many samples of it are no rows of `ctg` any more.
        "ALTER TABLE examinations ADD COLUMN packed INTEGER NOT NULL DEFAULT 0",
    ),
)
COUNTS_SINCE = 3
"""The schema that began to store counts."""
REPEATS_SINCE = 4
"""The schema that began to leave out results that repeat the one before."""
_RESULTS = "count(*) + coalesce(sum(length(repeated)), 0) / 8"
"""How many results rows of ``predictions`` stand for."""
EXPECTED_COLUMNS = (
    "SELECT id, bed, status, start_time, end_time, updated_at, packed FROM examinations LIMIT 0",
    "SELECT id, examination_id, sensor_id, stream_id, first_id, last_id, first_seq, last_seq, rows,"
    " block FROM packed LIMIT 0",
    "SELECT id, uuid, token_digest, bed, control FROM sensors LIMIT 0",
    "SELECT id, examination_id, sensor_id, stream_id, seq, sec_from_start, uuid, bpm, uterus,"
    " spasms, created_at FROM ctg LIMIT 0",
    "SELECT id, examination_id, sensor_id, sec_from_start, status, body, repeated FROM predictions"
    " LIMIT 0",
    "SELECT samples_through, predictions_through FROM counted LIMIT 0",
)
"""What fails at once, and not in the middle of a run, when somebody changed a table."""


SELECT_NOW = f"SELECT {_NOW}"
"""Asked once per transaction: as a default it would be computed, and written out, for each row."""


@cache
def insert_samples(rows: int) -> str:
    """Return the statement that stores *rows* samples, and drops those that are there.

    Its parameters: `created_at`, the same for all, then nine of each row, the last six in the order
    of a :class:`~ctgkit.samples.Sample`.
    """
    values = ", ".join(
        f"(?1, {', '.join(f'?{9 * row + n}' for n in range(2, 11))})" for row in range(rows)
    )
    return f"""
        INSERT INTO ctg (created_at, examination_id, sensor_id, stream_id,
            uuid, sec_from_start, bpm, uterus, spasms, seq)
        VALUES {values}
        ON CONFLICT (examination_id, sensor_id, stream_id, seq) DO NOTHING
    """


@cache
def insert_predictions(rows: int) -> str:
    """Return the statement that stores *rows* results."""
    return f"""
        INSERT INTO predictions
            (examination_id, sensor_id, sec_from_start, status, body, repeated)
        VALUES {", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)}
    """


INSERT_EXAMINATION = "INSERT INTO examinations (id, bed) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
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
    DO UPDATE SET token_digest = coalesce(excluded.token_digest, token_digest) WHERE bed IS NULL
"""
"""A sensor whose token isn't configured any more, or that lives here, keeps its digest."""
KNOWN_SENSORS = "SELECT uuid, id, token_digest, bed, control FROM sensors WHERE bed IS NOT NULL"
ALL_SENSORS = "SELECT uuid, bed, control, token_digest IS NOT NULL FROM sensors ORDER BY bed, uuid"
PUT_SENSOR = """
    INSERT INTO sensors (uuid, token_digest, bed, control) VALUES (?, ?, ?, ?) ON CONFLICT (uuid)
    DO UPDATE SET token_digest = excluded.token_digest, bed = excluded.bed,
        control = excluded.control
"""
REMOVE_SENSOR = "UPDATE sensors SET token_digest = NULL, bed = NULL, control = NULL WHERE uuid = ?"
SELECT_SENSOR_KEY = "SELECT id FROM sensors WHERE uuid = ?"
SELECT_SENSORS = "SELECT uuid, id, token_digest FROM sensors"
SELECT_LAST_EXAMINATION = "SELECT coalesce(max(id), 0) FROM examinations"
SELECT_OPEN = "SELECT id, bed FROM examinations WHERE end_time IS NULL ORDER BY id"
SELECT_OPEN_AGE = """
    SELECT (julianday('now') - julianday(coalesce(
        (SELECT created_at FROM ctg WHERE id = (
            SELECT max(id) FROM ctg WHERE examination_id = e.id)), e.start_time))) * 86400.0
    FROM examinations e WHERE e.id = ?
"""

# Numbers (PROTOCOL S-6.5). Text sorts above every number, so `<=` leaves out what isn't one.

SELECT_STREAM = "SELECT id FROM streams WHERE sensor_id = ? AND name = ?"
INSERT_STREAM = "INSERT INTO streams (sensor_id, name) VALUES (?, ?)"
INSERT_PART = """
    INSERT OR IGNORE INTO parts (sensor_id, named, stream_id, examination_id) VALUES (?, ?, ?, ?)
"""
_PART_OF = """
    examination_id = parts.examination_id AND sensor_id = parts.sensor_id
    AND stream_id = parts.stream_id
"""
CLOSE_PARTS = f"""
    UPDATE parts SET
        first_seq = (SELECT min(seq) FROM ctg WHERE {_PART_OF} AND seq <= {SEQ_MAX}),
        last_seq = (SELECT max(seq) FROM ctg WHERE {_PART_OF} AND seq <= {SEQ_MAX})
    WHERE examination_id = ?
"""


def select_samples_numbered(named: bool) -> str:
    """Return the query for a number's samples in all examinations: of a stream, or unnamed."""
    return f"""
        SELECT c.stream_id, c.sec_from_start, c.bpm, c.uterus, c.spasms
        FROM parts p CROSS JOIN ctg c
            ON c.examination_id = p.examination_id AND c.sensor_id = p.sensor_id
            AND c.stream_id = p.stream_id AND c.seq = :seq
        WHERE p.sensor_id = :sensor AND p.named = {int(named)}
            {"AND p.stream_id = :stream" if named else ""}
            AND (p.last_seq IS NULL OR :seq BETWEEN p.first_seq AND p.last_seq)
    """


def select_blocks_numbered(named: bool) -> str:
    """Return the query for the blocks that may hold a number's samples."""
    return f"""
        SELECT b.stream_id, b.block
        FROM parts p CROSS JOIN packed b
            ON b.examination_id = p.examination_id AND b.sensor_id = p.sensor_id
            AND b.stream_id = p.stream_id AND b.last_seq >= :seq AND b.first_seq <= :seq
        WHERE p.sensor_id = :sensor AND p.named = {int(named)}
            {"AND p.stream_id = :stream" if named else ""}
            AND :seq BETWEEN p.first_seq AND p.last_seq
    """


def select_largest_number(named: bool) -> str:
    """Return the query for the largest number of a stream, or of all unnamed ones of a sensor."""
    return f"""
        SELECT max(coalesce(last_seq,
            (SELECT max(seq) FROM ctg WHERE {_PART_OF} AND seq <= {SEQ_MAX})))
        FROM parts WHERE sensor_id = :sensor AND named = {int(named)}
            {"AND stream_id = :stream" if named else ""}
    """


SELECT_NEWEST = """
    SELECT sec_from_start, stream_id, seq, id FROM ctg WHERE examination_id = ? AND sensor_id = ?
    ORDER BY examination_id DESC, sensor_id DESC, stream_id DESC, seq DESC, id DESC
    LIMIT 1 OFFSET ?
"""
SELECT_NEXT_STREAM = """
    SELECT min(stream_id) FROM ctg WHERE examination_id = ? AND sensor_id = ? AND stream_id >= ?
"""
SELECT_FIRST_ROW = "SELECT min(id) FROM ctg WHERE examination_id = ?"
SELECT_PAGE = """
    SELECT sec_from_start, bpm, uterus, spasms, seq, id FROM ctg
    WHERE examination_id = ? AND sensor_id = ? AND stream_id = ? AND seq >= ? AND seq <= ?
    ORDER BY examination_id, sensor_id, stream_id, seq LIMIT ?
"""
SELECT_PAGE_WITHOUT_NUMBERS = """
    SELECT sec_from_start, bpm, uterus, spasms, seq, id FROM ctg
    WHERE examination_id = ? AND sensor_id = ? AND stream_id = ? AND seq IS NULL
        AND id >= ? AND id <= ?
    ORDER BY examination_id, sensor_id, stream_id, seq, id LIMIT ?
"""
"""Each page begins where the last one ended: the index goes there at once."""

# Counts: rows up to `counted` are in `counts`, later ones are counted when somebody asks.

SELECT_COUNTED = "SELECT samples_through, predictions_through FROM counted"
SELECT_LAST_ROWS = """
    SELECT (SELECT coalesce(max(id), 0) FROM ctg), (SELECT coalesce(max(id), 0) FROM predictions)
"""
COUNT_ROWS = f"""
    SELECT examination_id, sensor_id, sum(samples), sum(with_signal), min(first_sec),
        max(last_sec), sum(predictions)
    FROM (
        SELECT examination_id, sensor_id, count(*) AS samples, count(bpm) AS with_signal,
            min(sec_from_start) AS first_sec, max(sec_from_start) AS last_sec, 0 AS predictions
        FROM ctg WHERE id > :samples AND id <= :samples_to GROUP BY examination_id, sensor_id
        UNION ALL
        SELECT examination_id, sensor_id, 0, 0, NULL, NULL, {_RESULTS}
        FROM predictions WHERE id > :predictions AND id <= :predictions_to
        GROUP BY examination_id, sensor_id)
    GROUP BY examination_id, sensor_id
"""
ADD_COUNTS = """
    INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (examination_id, sensor_id) DO UPDATE SET
        samples = samples + excluded.samples,
        with_signal = with_signal + excluded.with_signal,
        first_sec = min(ifnull(first_sec, excluded.first_sec),
            ifnull(excluded.first_sec, first_sec)),
        last_sec = max(ifnull(last_sec, excluded.last_sec), ifnull(excluded.last_sec, last_sec)),
        predictions = predictions + excluded.predictions
"""
SELECT_NEXT_SENSOR = """
    SELECT examination_id, sensor_id FROM ctg WHERE examination_id = ? AND sensor_id > ?
    ORDER BY examination_id, sensor_id LIMIT 1
"""
SELECT_NEXT_EXAMINATION = """
    SELECT examination_id, sensor_id FROM ctg WHERE examination_id > ?
    ORDER BY examination_id, sensor_id LIMIT 1
"""
SELECT_PACKED_SENSORS = """
    SELECT DISTINCT sensor_id FROM packed WHERE examination_id = ? AND sensor_id > 0
"""
COUNTS_OF_PACKED = """
    SELECT * FROM counts WHERE examination_id IN (SELECT DISTINCT examination_id FROM packed)
"""
"""Only what is counted is packed."""
COUNT_PART = "SELECT count(*) FROM ctg WHERE examination_id = ? AND sensor_id = ?"
"""Half the cost of grouping: the index has these, and groups needn't be told apart."""
COUNT_PREDICTIONS = f"""
    SELECT examination_id, 0, 0, 0, NULL, NULL, {_RESULTS} FROM predictions GROUP BY examination_id
"""
COUNT_SAMPLES_OF = """
    SELECT examination_id, sensor_id, count(*), count(bpm), min(sec_from_start),
        max(sec_from_start), 0
    FROM ctg WHERE examination_id = ? GROUP BY examination_id, sensor_id
"""
COUNT_PREDICTIONS_OF = f"""
    SELECT examination_id, 0, 0, 0, NULL, NULL, {_RESULTS} FROM predictions
    WHERE examination_id = ? GROUP BY examination_id
"""
SET_COUNTED = "UPDATE counted SET samples_through = ?, predictions_through = ?"

SELECT_EXAMINATIONS = f"""
    SELECT e.id, e.bed,
        CASE WHEN e.status = {INTERRUPTED} THEN 'interrupted'
             WHEN e.end_time IS NULL THEN 'open' ELSE 'closed' END AS state,
        e.start_time, e.end_time
    FROM examinations e
"""
SELECT_SAMPLES = """
    SELECT id, uuid, seq, sec_from_start, bpm, uterus, spasms, created_at
    FROM ctg WHERE examination_id = ? ORDER BY +id
"""
SELECT_SAMPLES_PAGE = """
    SELECT id, uuid, seq, sec_from_start, bpm, uterus, spasms, created_at
    FROM ctg WHERE id > ? AND id <= (SELECT max(id) FROM ctg WHERE examination_id = ?)
        AND +examination_id = ? AND (? = '' OR uuid = ?)
    ORDER BY id LIMIT ?
"""
SELECT_PREDICTIONS = """
    SELECT id, sensor_id, body, repeated FROM predictions WHERE examination_id = ? ORDER BY +id
"""
SELECT_LAST_RESULT = """
    SELECT body FROM predictions WHERE examination_id = ? AND sensor_id = ? ORDER BY id DESC LIMIT 1
"""
SELECT_SAMPLES_OF = """
    SELECT id, sec_from_start, bpm, uterus, spasms, created_at FROM ctg
    WHERE examination_id = ? AND sensor_id = ? ORDER BY +id
"""


def before_repeats(sql: str) -> str:
    """Return a query of ``predictions`` for a database that has a row for every result."""
    return sql.replace(_RESULTS, "count(*)").replace("body, repeated", "body, NULL AS repeated")

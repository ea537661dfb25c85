"""SQL beside the writer: copies, the live page, removal. The tables are in schema."""

from ctgkit.blocks import RESULT_COLUMNS, SAMPLE_COLUMNS
from ctgkit.server.store.schema import SELECT_EXAMINATIONS

# Copies (`ctgkit store copy`)

COPY_EXAMINATIONS = """
    SELECT e.id, e.bed, e.status, e.start_time, e.end_time, e.notes,
        CASE WHEN e.end_time IS NULL THEN (SELECT created_at FROM ctg WHERE id = (
            SELECT max(id) FROM ctg WHERE examination_id = e.id)) END
    FROM examinations e ORDER BY e.id
"""
COPY_SENSORS = "SELECT uuid, token_digest, bed, control FROM sensors ORDER BY id"
COPY_STREAMS = """
    SELECT s.id, v.uuid, s.name FROM streams s JOIN sensors v ON v.id = s.sensor_id ORDER BY s.id
"""
COPY_SAMPLES = """
    SELECT id, sensor_id, stream_id, seq, sec_from_start, bpm, uterus, spasms, created_at
    FROM ctg WHERE examination_id = ? ORDER BY +id
"""
COPY_RESULTS = """
    SELECT id, sensor_id, sec_from_start, status, body, created_at, repeated
    FROM predictions WHERE examination_id = ? ORDER BY +id
"""
COPY_COUNT = """
    SELECT (SELECT count(*) FROM ctg)
        + (SELECT coalesce(sum(rows), 0) FROM packed WHERE sensor_id > 0)
"""
COPY_SENSOR = """
    INSERT OR IGNORE INTO sensors (uuid, token_digest, bed, control) VALUES (?, ?, ?, ?)
"""
COPY_STREAM = "INSERT OR IGNORE INTO streams (id, sensor_id, name) VALUES (?, ?, ?)"
COPY_EXAMINATION = """
    INSERT INTO examinations (id, bed, status, start_time, end_time, notes)
    VALUES (?, ?, ?, ?, ?, ?)
"""
COPY_SAMPLE = """
    INSERT INTO ctg (examination_id, sensor_id, uuid, stream_id, seq, sec_from_start, bpm, uterus,
        spasms, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
COPY_RESULT = """
    INSERT INTO predictions (examination_id, sensor_id, sec_from_start, status, body, created_at,
        repeated)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
COPY_PARTS = """
    INSERT INTO parts SELECT c.sensor_id, t.name IS NOT NULL, c.stream_id, c.examination_id,
        min(c.seq), max(c.seq)
    FROM ctg c LEFT JOIN streams t ON t.id = c.stream_id
    WHERE c.examination_id = ? AND c.seq IS NOT NULL
    GROUP BY c.sensor_id, t.name IS NOT NULL, c.stream_id
"""

# The live page (server/store/archive.py)

SELECT_SENSOR_NAME = "SELECT uuid FROM sensors WHERE id = ?"
SELECT_HAS_BLOCKS = "SELECT 1 FROM packed WHERE examination_id = ? AND sensor_id = ? LIMIT 1"
SELECT_TO_UNPACK = """
    SELECT id, examination_id, sensor_id, stream_id, seq, sec_from_start, bpm, uterus, spasms
    FROM ctg WHERE examination_id = ? AND sensor_id = ? ORDER BY +id
"""
CREATE_UNPACKED = (
    """CREATE TEMP TABLE IF NOT EXISTS unpacked (id INTEGER, examination_id INTEGER,
        sensor_id INTEGER, stream_id INTEGER, seq INTEGER, sec_from_start REAL, bpm REAL,
        uterus REAL, spasms REAL)""",
    """CREATE INDEX IF NOT EXISTS temp.unpacked_sample ON unpacked
        (examination_id, sensor_id, stream_id, seq, id)""",
)
DROP_UNPACKED = "DROP TABLE temp.unpacked"
INSERT_UNPACKED = "INSERT INTO temp.unpacked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_BLOCK_OF_RESULTS = """
    SELECT id, first_id FROM packed WHERE examination_id = ? AND sensor_id = 0 AND first_id <= ?
    ORDER BY first_id DESC LIMIT 1
"""
SELECT_RESULT_BEFORE = """
    SELECT id FROM predictions WHERE examination_id = ? AND id <= ? ORDER BY id DESC
    LIMIT 1 OFFSET ?
"""
SELECT_WITH_EVENTS = """
    SELECT id, body FROM predictions WHERE examination_id = ? AND id BETWEEN ? AND ?
    AND length(body) <= 65536 AND instr(body, '"events"') ORDER BY id DESC
"""
SEARCH_EXAMINATIONS = (
    SELECT_EXAMINATIONS.replace("FROM", ", e.notes <> '' AS has_notes FROM")
    + """
    WHERE e.id <= :before AND (:search = '' OR CAST(e.id AS TEXT) = :search
        OR instr(folded(e.bed), :search) OR instr(folded(e.notes), :search)
        OR instr(e.start_time, upper(:search)) = 1
        OR EXISTS (SELECT 1 FROM parts p JOIN sensors s ON s.id = p.sensor_id
            WHERE p.examination_id = e.id AND instr(s.uuid, :search)))
    ORDER BY e.id DESC LIMIT :limit
"""
)
"""``folded`` is Python's: SQLite's lower() knows no Cyrillic."""
SELECT_NOTES = "SELECT notes FROM examinations WHERE id = ?"
ADD_NOTE = """
    UPDATE examinations SET notes = notes || :line WHERE id = :id AND length(notes) <= :room
"""

# Removal (`ctgkit exam delete|prune`, `serve --keep-days`)

REMOVE_SAMPLES = """
    DELETE FROM ctg WHERE id IN (SELECT id FROM ctg WHERE examination_id = ? LIMIT ?)
"""
REMOVE_PREDICTIONS = """
    DELETE FROM predictions WHERE id IN (
        SELECT id FROM predictions WHERE examination_id = ? LIMIT ?)
"""
REMOVE_PACKED = """
    DELETE FROM packed WHERE id IN (SELECT id FROM packed WHERE examination_id = ? LIMIT ?)
"""
REMOVE_EXAMINATION = (
    "DELETE FROM streams WHERE id IN (SELECT stream_id FROM parts WHERE examination_id = ?1)"
    " AND NOT EXISTS (SELECT 1 FROM parts p WHERE p.stream_id = streams.id"
    " AND p.examination_id <> ?1)",
    "DELETE FROM parts WHERE examination_id = ?1",
    "DELETE FROM counts WHERE examination_id = ?1",
    "DELETE FROM examinations WHERE id = ?1",
)
SELECT_OVER = "SELECT 1 FROM examinations WHERE id = ? AND end_time IS NOT NULL"
SELECT_OLD = """
    SELECT id FROM examinations
    WHERE end_time IS NOT NULL AND julianday(end_time) < julianday('now') - ? ORDER BY id LIMIT 1
"""

# Packing (`ctgkit store pack`, `serve --pack-after`)

SELECT_PACKABLE = """
    SELECT e.id FROM examinations e
    WHERE e.end_time IS NOT NULL AND julianday(e.end_time) < julianday('now') - :days AND (
        EXISTS (SELECT 1 FROM ctg WHERE examination_id = e.id AND id <= :samples)
        OR EXISTS (SELECT 1 FROM predictions WHERE examination_id = e.id AND id <= :results))
    ORDER BY e.id DESC
"""
SELECT_PACKABLE_ROWS = """
    SELECT min(samples_through, (SELECT coalesce(max(id), 0) FROM ctg) - 1) AS samples,
        min(predictions_through, (SELECT coalesce(max(id), 0) FROM predictions) - 1) AS results
    FROM counted
"""
"""Those that are counted, and the newest one never: the next one's id is larger than all before."""
SELECT_SAMPLES_TO_PACK = f"""
    SELECT {", ".join(SAMPLE_COLUMNS)} FROM ctg
    WHERE examination_id = ? AND sensor_id = ? AND id <= ?
    ORDER BY examination_id, sensor_id, stream_id, seq LIMIT ?
"""
SELECT_RESULTS_TO_PACK = f"""
    SELECT {", ".join(RESULT_COLUMNS)} FROM predictions WHERE examination_id = ? AND id <= ?
    ORDER BY examination_id, id LIMIT ?
"""
INSERT_PACKED = """
    INSERT INTO packed (examination_id, sensor_id, stream_id, first_id, last_id, first_seq,
        last_seq, rows, block)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
DELETE_SAMPLE, DELETE_RESULT = (
    "DELETE FROM ctg WHERE id = ?",
    "DELETE FROM predictions WHERE id = ?",
)
ADD_PACKED = "UPDATE examinations SET packed = packed + ? WHERE id = ?"

-- Schema 2: the numbers of an examination's rows are kept once it is over, so that lists are quick.
CREATE TABLE counted (examination_id bigint PRIMARY KEY, predictions bigint NOT NULL);
CREATE TABLE counts (
  examination_id bigint NOT NULL,
  sensor_id int NOT NULL,
  samples bigint NOT NULL,
  with_signal bigint NOT NULL,
  first_sec float8 NOT NULL,
  last_sec float8 NOT NULL,
  PRIMARY KEY (examination_id, sensor_id)
);

-- One step of a chore: count one that ended a minute ago, as late results come. False: none left.
CREATE FUNCTION ctgkit_count() RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
  n bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(17236, 5) THEN RETURN false; END IF;  -- another node is at it
  SELECT id INTO n FROM examinations e WHERE end_time < clock_timestamp() - interval '1 minute'
    AND updated_at < clock_timestamp() - interval '1 minute'
    AND NOT EXISTS (SELECT 1 FROM counted c WHERE c.examination_id = e.id) ORDER BY id LIMIT 1;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO counts SELECT n, sensor_id, count(*), count(bpm), min(sec_from_start),
    max(sec_from_start) FROM samples WHERE examination_id = n GROUP BY sensor_id;
  INSERT INTO counted SELECT n, count(*) + coalesce(sum(length(repeated) / 8), 0)
    FROM predictions WHERE examination_id = n;
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION ctgkit_forget(p_from bigint, p_to bigint) RETURNS void LANGUAGE sql AS $$
  WITH gone AS (
    DELETE FROM parts WHERE examination_id >= p_from AND examination_id < p_to RETURNING stream_id)
  DELETE FROM streams s WHERE s.id IN (SELECT stream_id FROM gone) AND NOT EXISTS (SELECT 1
    FROM parts p WHERE p.stream_id = s.id AND NOT (examination_id >= p_from AND examination_id < p_to));
  DELETE FROM counts WHERE examination_id >= p_from AND examination_id < p_to;
  DELETE FROM counted WHERE examination_id >= p_from AND examination_id < p_to;
  DELETE FROM examinations WHERE id >= p_from AND id < p_to;
$$;

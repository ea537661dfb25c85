-- Schema 2: of two connections that a sensor opens at two nodes at the same time, the one that
-- arrived last has it, whichever the database hears of first.
ALTER TABLE attendances ADD COLUMN arrived_at timestamptz NOT NULL DEFAULT '-infinity';
-- And an examination waits for each sensor that was lost, also when another one leaves later.
ALTER TABLE attendances ADD COLUMN lost_until timestamptz;
CREATE INDEX ON attendances (bed) WHERE lost_until IS NOT NULL;

-- Once nobody is at a bed, its examination closes when the last who was lost need not be waited for.
CREATE FUNCTION ctgkit_expire(p_bed text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM attendances a WHERE a.bed = p_bed AND a.present) THEN
    RETURN false;
  END IF;
  UPDATE beds b SET expires_at = greatest(clock_timestamp(), (SELECT max(a.lost_until)
    FROM attendances a WHERE a.bed = p_bed AND a.lost_until IS NOT NULL)) WHERE b.bed = p_bed;
  RETURN true;
END $$;

-- Let sensors in, many at a time. No row at all: the node is fenced. No epoch: the sensor's later
-- connection, at another node, has it. p_sent is now, and p_arrived is when the connections came,
-- as the node thinks that this clock shows: what it thinks is worth nothing when it is far off.
CREATE FUNCTION ctgkit_claim(p_node text, p_generation bigint, p_sensors int[], p_beds text[],
  p_streams text[], p_numbered bool[], p_sent timestamptz, p_arrived timestamptz[])
RETURNS TABLE (place int, epoch bigint, examination bigint, opened bool, closed bigint,
  closed_interrupted bool, old_node text, old_epoch bigint, stream int, largest bigint)
LANGUAGE plpgsql AS $$
DECLARE
  bd beds; a attendances; begun timestamptz := clock_timestamp(); arrived timestamptz;
  believed bool := coalesce(p_sent BETWEEN begun - interval '1 second'
    AND begun + interval '0.1 second', false);
BEGIN
  PERFORM 1 FROM nodes WHERE id = p_node AND generation = p_generation;
  IF NOT FOUND THEN RETURN; END IF;
  INSERT INTO beds (bed) SELECT DISTINCT b FROM unnest(p_beds) AS b ORDER BY b ON CONFLICT DO NOTHING;
  PERFORM 1 FROM beds WHERE bed IN (SELECT unnest(p_beds) UNION
    SELECT x.bed FROM attendances x WHERE x.sensor_id = ANY (p_sensors)) ORDER BY bed FOR UPDATE;
  PERFORM 1 FROM attendances x WHERE x.sensor_id = ANY (p_sensors) ORDER BY x.sensor_id FOR UPDATE;
  -- Their groups in flight are committed first, and seen by what is read below.
  PERFORM 1 FROM nodes WHERE id IN (SELECT x.node FROM attendances x
    WHERE x.sensor_id = ANY (p_sensors)) ORDER BY id FOR UPDATE;
  FOR i IN 1 .. cardinality(p_sensors) LOOP
    place := i; opened := false; closed := NULL; closed_interrupted := NULL; old_node := NULL;
    old_epoch := NULL; stream := NULL; largest := NULL; epoch := NULL; examination := NULL;
    arrived := CASE WHEN believed THEN least(p_arrived[i], begun) ELSE begun END;
    SELECT * INTO bd FROM beds WHERE bed = p_beds[i];
    SELECT * INTO a FROM attendances x WHERE x.sensor_id = p_sensors[i];
    IF FOUND AND a.present THEN
      -- A later time than now is of another clock.
      IF a.node <> p_node AND a.arrived_at > arrived AND a.arrived_at <= clock_timestamp() THEN
        RETURN NEXT; CONTINUE;
      END IF;
      old_node := a.node; old_epoch := a.epoch;
      IF a.node <> p_node THEN INSERT INTO displaced VALUES (a.node, a.epoch); END IF;
      IF a.bed <> p_beds[i] THEN  -- it moved: its old bed may be left alone
        UPDATE attendances x SET present = false WHERE x.sensor_id = p_sensors[i];
        PERFORM ctgkit_expire(a.bed);
      END IF;
    END IF;
    IF bd.examination_id IS NOT NULL AND bd.expires_at < clock_timestamp() THEN
      PERFORM ctgkit_close(bd.examination_id, bd.interrupted);
      closed := bd.examination_id; closed_interrupted := bd.interrupted; bd.examination_id := NULL;
    END IF;
    IF bd.examination_id IS NULL THEN
      INSERT INTO examinations (bed) VALUES (p_beds[i]) RETURNING id INTO bd.examination_id;
      PERFORM ctgkit_make_room(bd.examination_id);
      opened := true;
    END IF;
    UPDATE beds SET examination_id = bd.examination_id, expires_at = NULL, interrupted = false
      WHERE bed = p_beds[i];
    epoch := nextval('epochs'); examination := bd.examination_id;
    INSERT INTO attendances VALUES
      (p_sensors[i], p_beds[i], epoch, p_node, p_generation, examination, true, arrived)
    ON CONFLICT (sensor_id) DO UPDATE SET bed = excluded.bed, epoch = excluded.epoch,
      node = excluded.node, generation = excluded.generation,
      examination_id = excluded.examination_id, present = true, arrived_at = excluded.arrived_at,
      lost_until = NULL;
    IF p_numbered[i] THEN
      IF p_streams[i] IS NULL THEN
        INSERT INTO streams (sensor_id) VALUES (p_sensors[i]) RETURNING id INTO stream;
      ELSE
        INSERT INTO streams (sensor_id, name) VALUES (p_sensors[i], p_streams[i])
          ON CONFLICT DO NOTHING;
        SELECT id INTO stream FROM streams WHERE sensor_id = p_sensors[i] AND name = p_streams[i];
      END IF;
      INSERT INTO parts VALUES (p_sensors[i], p_streams[i] IS NOT NULL, stream, examination)
        ON CONFLICT DO NOTHING;
      SELECT max(coalesce(p.last_seq, (SELECT max(s.seq) FROM samples s
          WHERE s.examination_id = p.examination_id AND s.sensor_id = p.sensor_id
          AND s.stream_id = p.stream_id))) INTO largest
        FROM parts p WHERE p.sensor_id = p_sensors[i] AND p.named = (p_streams[i] IS NOT NULL)
          AND (p_streams[i] IS NULL OR p.stream_id = stream);
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- As nodes of schema 1 claim: what is decided last wins.
CREATE OR REPLACE FUNCTION ctgkit_claim(p_node text, p_generation bigint, p_sensors int[],
  p_beds text[], p_streams text[], p_numbered bool[])
RETURNS TABLE (place int, epoch bigint, examination bigint, opened bool, closed bigint,
  closed_interrupted bool, old_node text, old_epoch bigint, stream int, largest bigint)
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT * FROM ctgkit_claim(p_node, p_generation, p_sensors, p_beds, p_streams,
    p_numbered, NULL, NULL);
END $$;

-- Let sensors go; of a bed that none is left at, the examination stays open for p_waits seconds, and
-- for as long as anybody who left before is waited for.
CREATE OR REPLACE FUNCTION ctgkit_release(p_sensors int[], p_epochs bigint[], p_waits float8[])
RETURNS TABLE (examination bigint, of_bed text, interrupted bool) LANGUAGE plpgsql AS $$
DECLARE
  v_bed text;
BEGIN
  PERFORM 1 FROM beds b WHERE b.bed IN (SELECT a.bed FROM attendances a
    JOIN unnest(p_sensors, p_epochs) AS x(sensor, epoch)
      ON a.sensor_id = x.sensor AND a.epoch = x.epoch AND a.present) ORDER BY b.bed FOR UPDATE;
  FOR i IN 1 .. cardinality(p_sensors) LOOP
    UPDATE attendances a SET present = false,
        lost_until = clock_timestamp() + nullif(p_waits[i], 0) * interval '1 second'
      WHERE a.sensor_id = p_sensors[i] AND a.epoch = p_epochs[i] AND a.present
      RETURNING a.bed INTO v_bed;
    IF FOUND THEN PERFORM ctgkit_expire(v_bed); END IF;
  END LOOP;
  RETURN QUERY SELECT * FROM ctgkit_close_expired();
END $$;

CREATE OR REPLACE FUNCTION ctgkit_tidy(p_handover float8)
RETURNS TABLE (examination bigint, of_bed text, interrupted bool) LANGUAGE plpgsql AS $$
DECLARE
  v_bed text;
BEGIN
  FOR v_bed IN SELECT b.bed FROM beds b WHERE b.bed IN (SELECT a.bed FROM attendances a
      JOIN nodes d ON d.id = a.node WHERE a.present AND a.generation < d.generation)
      ORDER BY b.bed LIMIT 500 FOR UPDATE SKIP LOCKED LOOP
    UPDATE attendances a SET present = false,
        lost_until = clock_timestamp() + p_handover * interval '1 second' FROM nodes d
      WHERE a.bed = v_bed AND a.present AND d.id = a.node AND a.generation < d.generation;
    IF ctgkit_expire(v_bed) THEN UPDATE beds b SET interrupted = true WHERE b.bed = v_bed; END IF;
  END LOOP;
  DELETE FROM displaced WHERE node IN (SELECT id FROM nodes WHERE NOT alive);
  RETURN QUERY SELECT * FROM ctgkit_close_expired();
END $$;

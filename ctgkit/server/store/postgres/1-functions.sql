-- Schema 1: what nodes do, a round trip each. Each statement of these functions has a snapshot of
-- its own, so what was waited for is seen. Locks are taken in one order: beds (by name),
-- attendances, nodes (by name); a commit takes its own node only.

-- Make the partitions that hold an examination. ATTACH holds up nobody who writes.
CREATE FUNCTION ctgkit_make_room(p_examination bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  n bigint := p_examination / 1000;
  parent text; child text;
BEGIN
  IF to_regclass('predictions_' || n) IS NOT NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(17236, 2);
  FOREACH parent IN ARRAY ARRAY['samples', 'predictions'] LOOP
    child := parent || '_' || n;
    IF to_regclass(child) IS NULL THEN
      EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
      EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
        parent, child, n * 1000, (n + 1) * 1000);
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION ctgkit_close(p_examination bigint, p_interrupted bool) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE parts p SET
    first_seq = (SELECT min(seq) FROM samples s WHERE s.examination_id = p.examination_id
      AND s.sensor_id = p.sensor_id AND s.stream_id = p.stream_id),
    last_seq = (SELECT max(seq) FROM samples s WHERE s.examination_id = p.examination_id
      AND s.sensor_id = p.sensor_id AND s.stream_id = p.stream_id)
  WHERE p.examination_id = p_examination;
  UPDATE examinations e SET
    status = CASE WHEN p_interrupted THEN 2 ELSE 1 END,
    end_time = CASE WHEN p_interrupted
      THEN coalesce((SELECT max(created_at) FROM samples WHERE examination_id = e.id), start_time)
      ELSE clock_timestamp() END,
    updated_at = clock_timestamp()
  WHERE id = p_examination AND end_time IS NULL;
END $$;

-- A node begins, or begins anew. The same run keeps the number of its last group: what it doesn't
-- know the outcome of is not written twice.
CREATE FUNCTION ctgkit_join(p_node text, p_instance text, p_described text) RETURNS bigint
LANGUAGE sql AS $$
  DELETE FROM displaced WHERE node = p_node;
  INSERT INTO nodes AS n (id, instance, described) VALUES (p_node, p_instance, p_described)
  ON CONFLICT (id) DO UPDATE SET
    generation = n.generation + 1, alive = true, seen = clock_timestamp(),
    described = excluded.described,
    group_no = CASE WHEN n.instance = excluded.instance THEN n.group_no ELSE 0 END,
    instance = excluded.instance
  RETURNING generation;
$$;

CREATE FUNCTION ctgkit_leave(p_node text, p_generation bigint) RETURNS void LANGUAGE sql AS $$
  UPDATE nodes SET alive = false, generation = generation + 1
  WHERE id = p_node AND generation = p_generation;
$$;

-- A group: sources (g_…) are connections, k says which one a row belongs to.
CREATE FUNCTION ctgkit_commit(
  p_node text, p_generation bigint, p_group bigint,
  g_epoch bigint[], g_examination bigint[], g_sensor int[], g_stream int[], g_named bool[],
  s_k int[], s_seq bigint[], s_sec float8[], s_bpm float8[], s_uterus float8[], s_spasms float8[],
  s_place int[],
  q_k int[], q_seq bigint[], q_sec float8[], q_bpm float8[], q_uterus float8[], q_spasms float8[],
  q_place int[],
  p_examination bigint[], p_sensor int[], p_sec float8[], p_status text[], p_body text[],
  p_repeated bytea[],
  OUT outcome text, OUT stored int, OUT stale bigint[], OUT answers text
) LANGUAGE plpgsql AS $$
DECLARE
  mine nodes; present bool[]; base timestamptz; tick interval := '1 microsecond';
  k int; same bool; taken bool;
BEGIN
  SELECT * INTO mine FROM nodes WHERE id = p_node AND generation = p_generation FOR UPDATE;
  IF NOT FOUND THEN outcome := 'fenced'; RETURN; END IF;
  IF mine.group_no >= p_group THEN
    -- Written all the same: a transaction that writes nothing doesn't wait for the standby.
    UPDATE nodes SET seen = clock_timestamp() WHERE id = p_node;
    outcome := 'again'; stored := mine.stored; stale := mine.stale; answers := mine.answers;
    RETURN;
  END IF;
  outcome := 'new'; stored := 0; answers := ''; base := clock_timestamp();
  SELECT array_agg(a.epoch IS NOT NULL ORDER BY g.n), array_agg(g.epoch) FILTER (WHERE a.epoch IS NULL)
    INTO present, stale
    FROM unnest(g_epoch) WITH ORDINALITY AS g(epoch, n)
    LEFT JOIN attendances a ON a.sensor_id = g_sensor[g.n] AND a.epoch = g.epoch AND a.present
      AND a.node = p_node AND a.generation = p_generation;
  IF cardinality(s_k) > 0 THEN
    -- Nobody resends what has no number: it is kept whoever has the sensor now.
    INSERT INTO samples
      SELECT g_examination[x.k], g_sensor[x.k], CASE WHEN x.seq IS NULL THEN 0 ELSE g_stream[x.k] END,
        x.seq, x.sec, x.bpm, x.uterus, x.spasms, base + coalesce(x.place, x.n) * tick
      FROM unnest(s_k, s_seq, s_sec, s_bpm, s_uterus, s_spasms, s_place) WITH ORDINALITY
        AS x(k, seq, sec, bpm, uterus, spasms, place, n)
      WHERE present[x.k] OR x.seq IS NULL;
    GET DIAGNOSTICS stored = ROW_COUNT;
  END IF;
  FOR i IN 1 .. coalesce(cardinality(q_k), 0) LOOP
    k := q_k[i];
    IF NOT present[k] THEN answers := answers || 's'; CONTINUE; END IF;
    SELECT bool_or(s.sec_from_start = q_sec[i] AND s.bpm IS NOT DISTINCT FROM q_bpm[i]
        AND s.uterus IS NOT DISTINCT FROM q_uterus[i] AND s.spasms IS NOT DISTINCT FROM q_spasms[i]),
        bool_or(s.stream_id = g_stream[k])
      INTO same, taken
      FROM parts p JOIN samples s ON s.examination_id = p.examination_id
        AND s.sensor_id = p.sensor_id AND s.stream_id = p.stream_id AND s.seq = q_seq[i]
      WHERE p.sensor_id = g_sensor[k] AND p.named = g_named[k]
        AND (NOT g_named[k] OR p.stream_id = g_stream[k])
        AND (p.last_seq IS NULL OR q_seq[i] BETWEEN p.first_seq AND p.last_seq);
    IF same THEN answers := answers || 'a';
    ELSIF taken THEN answers := answers || 'c';
    ELSE
      INSERT INTO samples VALUES (g_examination[k], g_sensor[k], g_stream[k], q_seq[i], q_sec[i],
        q_bpm[i], q_uterus[i], q_spasms[i], base + q_place[i] * tick);
      answers := answers || 'n'; stored := stored + 1;
    END IF;
  END LOOP;
  IF cardinality(p_body) > 0 THEN
    INSERT INTO predictions
      SELECT x.examination, x.sensor, x.sec, x.status, x.body, base + x.n * tick, mine.no, x.repeated
      FROM unnest(p_examination, p_sensor, p_sec, p_status, p_body, p_repeated) WITH ORDINALITY
        AS x(examination, sensor, sec, status, body, repeated, n);
  END IF;
  UPDATE nodes SET seen = clock_timestamp(), group_no = p_group, stored = ctgkit_commit.stored,
    stale = ctgkit_commit.stale, answers = ctgkit_commit.answers WHERE id = p_node;
END $$;

-- Heartbeat of a node, and what it has to know. A commit that holds the row is a heartbeat itself.
CREATE FUNCTION ctgkit_beat(p_node text, p_generation bigint, OUT fenced bool, OUT gone bigint[])
LANGUAGE plpgsql AS $$
BEGIN
  SELECT NOT EXISTS (SELECT 1 FROM nodes WHERE id = p_node AND generation = p_generation)
    INTO fenced;
  IF fenced THEN RETURN; END IF;
  UPDATE nodes SET seen = clock_timestamp() WHERE id IN (SELECT id FROM nodes
    WHERE id = p_node AND generation = p_generation FOR UPDATE SKIP LOCKED);
  WITH taken AS (DELETE FROM displaced WHERE node = p_node RETURNING epoch)
    SELECT array_agg(epoch) INTO gone FROM taken;
END $$;

-- Let sensors in, many at a time. No row at all: the node is fenced.
CREATE FUNCTION ctgkit_claim(p_node text, p_generation bigint, p_sensors int[], p_beds text[],
  p_streams text[], p_numbered bool[])
RETURNS TABLE (place int, epoch bigint, examination bigint, opened bool, closed bigint,
  closed_interrupted bool, old_node text, old_epoch bigint, stream int, largest bigint)
LANGUAGE plpgsql AS $$
DECLARE
  bd beds; a attendances;
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
    old_epoch := NULL; stream := NULL; largest := NULL;
    SELECT * INTO bd FROM beds WHERE bed = p_beds[i];
    SELECT * INTO a FROM attendances x WHERE x.sensor_id = p_sensors[i];
    IF FOUND AND a.present THEN
      old_node := a.node; old_epoch := a.epoch;
      IF a.node <> p_node THEN INSERT INTO displaced VALUES (a.node, a.epoch); END IF;
      IF a.bed <> p_beds[i] THEN  -- it moved: its old bed may be left alone
        UPDATE attendances x SET present = false WHERE x.sensor_id = p_sensors[i];
        UPDATE beds b SET expires_at = clock_timestamp() WHERE b.bed = a.bed AND NOT EXISTS
          (SELECT 1 FROM attendances x WHERE x.bed = a.bed AND x.present);
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
      (p_sensors[i], p_beds[i], epoch, p_node, p_generation, examination, true)
    ON CONFLICT (sensor_id) DO UPDATE SET bed = excluded.bed, epoch = excluded.epoch,
      node = excluded.node, generation = excluded.generation,
      examination_id = excluded.examination_id, present = true;
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

-- Let sensors go; of a bed that none is left at, the examination stays open for p_waits seconds.
CREATE FUNCTION ctgkit_release(p_sensors int[], p_epochs bigint[], p_waits float8[])
RETURNS TABLE (examination bigint, of_bed text, interrupted bool) LANGUAGE plpgsql AS $$
DECLARE
  v_bed text;
BEGIN
  PERFORM 1 FROM beds b WHERE b.bed IN (SELECT a.bed FROM attendances a
    JOIN unnest(p_sensors, p_epochs) AS x(sensor, epoch)
      ON a.sensor_id = x.sensor AND a.epoch = x.epoch AND a.present) ORDER BY b.bed FOR UPDATE;
  FOR i IN 1 .. cardinality(p_sensors) LOOP
    UPDATE attendances a SET present = false
      WHERE a.sensor_id = p_sensors[i] AND a.epoch = p_epochs[i] AND a.present
      RETURNING a.bed INTO v_bed;
    IF FOUND AND NOT EXISTS (SELECT 1 FROM attendances a WHERE a.bed = v_bed AND a.present) THEN
      UPDATE beds b SET expires_at = clock_timestamp() + p_waits[i] * interval '1 second'
        WHERE b.bed = v_bed;
    END IF;
  END LOOP;
  RETURN QUERY SELECT * FROM ctgkit_close_expired();
END $$;

CREATE FUNCTION ctgkit_close_expired()
RETURNS TABLE (examination bigint, of_bed text, interrupted bool) LANGUAGE plpgsql AS $$
BEGIN
  FOR of_bed, examination, interrupted IN SELECT b.bed, b.examination_id, b.interrupted FROM beds b
      WHERE b.expires_at <= clock_timestamp() ORDER BY b.bed LIMIT 500 FOR UPDATE SKIP LOCKED LOOP
    PERFORM ctgkit_close(examination, interrupted);
    UPDATE beds b SET examination_id = NULL, expires_at = NULL, interrupted = false
      WHERE b.bed = of_bed;
    IF examination IS NOT NULL THEN RETURN NEXT; END IF;
  END LOOP;
END $$;

-- Anybody's housekeeping, in three transactions: first declare silent nodes dead …
CREATE FUNCTION ctgkit_fence(p_lease float8) RETURNS SETOF text LANGUAGE sql AS $$
  UPDATE nodes SET generation = generation + 1, alive = false WHERE id IN (SELECT id FROM nodes
    WHERE alive AND seen < clock_timestamp() - p_lease * interval '1 second'
    FOR UPDATE SKIP LOCKED)  -- who holds its row is alive
  RETURNING id;
$$;

-- … then let go their sensors, bed by bed, and close what is over.
CREATE FUNCTION ctgkit_tidy(p_handover float8)
RETURNS TABLE (examination bigint, of_bed text, interrupted bool) LANGUAGE plpgsql AS $$
DECLARE
  v_bed text;
BEGIN
  FOR v_bed IN SELECT b.bed FROM beds b WHERE b.bed IN (SELECT a.bed FROM attendances a
      JOIN nodes d ON d.id = a.node WHERE a.present AND a.generation < d.generation)
      ORDER BY b.bed LIMIT 500 FOR UPDATE SKIP LOCKED LOOP
    UPDATE attendances a SET present = false FROM nodes d
      WHERE a.bed = v_bed AND a.present AND d.id = a.node AND a.generation < d.generation;
    IF NOT EXISTS (SELECT 1 FROM attendances a WHERE a.bed = v_bed AND a.present) THEN
      UPDATE beds b SET expires_at = clock_timestamp() + p_handover * interval '1 second',
        interrupted = true WHERE b.bed = v_bed;
    END IF;
  END LOOP;
  DELETE FROM displaced WHERE node IN (SELECT id FROM nodes WHERE NOT alive);
  RETURN QUERY SELECT * FROM ctgkit_close_expired();
END $$;

-- Remove an examination that is over; returns how many samples it had, NULL if it isn't there.
CREATE FUNCTION ctgkit_remove(p_examination bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  gone bigint;
BEGIN
  PERFORM 1 FROM examinations WHERE id = p_examination AND end_time IS NOT NULL FOR UPDATE;
  IF NOT FOUND THEN RETURN NULL; END IF;
  DELETE FROM samples WHERE examination_id = p_examination;
  GET DIAGNOSTICS gone = ROW_COUNT;
  DELETE FROM predictions WHERE examination_id = p_examination;
  PERFORM ctgkit_forget(p_examination, p_examination + 1);
  RETURN gone;
END $$;

-- Forget examinations [p_from, p_to) whose rows are gone, and streams that nothing is left of.
CREATE FUNCTION ctgkit_forget(p_from bigint, p_to bigint) RETURNS void LANGUAGE sql AS $$
  WITH gone AS (
    DELETE FROM parts WHERE examination_id >= p_from AND examination_id < p_to RETURNING stream_id)
  DELETE FROM streams s WHERE s.id IN (SELECT stream_id FROM gone) AND NOT EXISTS (SELECT 1
    FROM parts p WHERE p.stream_id = s.id AND NOT (examination_id >= p_from AND examination_id < p_to));
  DELETE FROM examinations WHERE id >= p_from AND id < p_to;
$$;

-- Retention, one step: a whole partition if all of it is old, else one examination. 0: all is done.
CREATE FUNCTION ctgkit_prune(p_keep_days float8) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  before timestamptz := clock_timestamp() - p_keep_days * interval '1 day';
  n bigint; gone bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(17236, 4) THEN RETURN 0; END IF;  -- another node is at it
  SELECT id / 1000 INTO n FROM examinations GROUP BY id / 1000
    HAVING bool_and(end_time IS NOT NULL AND end_time < before)
      AND id / 1000 < (SELECT max(id) / 1000 FROM examinations) ORDER BY 1 LIMIT 1;
  IF FOUND THEN
    SELECT count(*) INTO gone FROM examinations WHERE id / 1000 = n;
    EXECUTE format('TRUNCATE %I, %I', 'samples_' || n, 'predictions_' || n);
    PERFORM ctgkit_forget(n * 1000, (n + 1) * 1000);
    RETURN gone;
  END IF;
  SELECT id INTO n FROM examinations WHERE end_time < before ORDER BY id LIMIT 1;
  IF NOT FOUND THEN RETURN 0; END IF;
  PERFORM ctgkit_remove(n);
  RETURN 1;
END $$;

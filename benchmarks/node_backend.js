// What somebody writes from PROTOCOL.md with Node.js in a few minutes, as a floor: a commit per
// turn of the event loop, WAL with full durability, then the acknowledgements. It checks a sample's
// types and that its sensor is known; it has no viewers, takeovers, limits or repeated samples.
//
//   node node_backend.js DATABASE SENSOR_ID,…     prints its URL; needs ws and better-sqlite3
const http = require("node:http");
const { WebSocketServer } = require("ws");
const Database = require("better-sqlite3");

const [path, ids] = process.argv.slice(2);
const known = new Set(ids.split(","));
const db = new Database(path);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec(`CREATE TABLE IF NOT EXISTS ctg (id INTEGER PRIMARY KEY, examination_id INTEGER NOT NULL,
  sec_from_start REAL NOT NULL, uuid TEXT NOT NULL, bpm REAL, uterus REAL, spasms REAL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), seq INTEGER);
  CREATE UNIQUE INDEX IF NOT EXISTS ctg_sample ON ctg (examination_id, uuid, seq);`);
const insert = db.prepare(`INSERT OR IGNORE INTO ctg
  (examination_id, sec_from_start, uuid, bpm, uterus, spasms, seq) VALUES (1, ?, ?, ?, ?, ?, ?)`);

let rows = [];
const owed = new Map();
const commit = db.transaction((group) => {
  for (const r of group) insert.run(r.sec, r.id, r.bpm, r.uterus, r.spasms, r.seq);
});
function write() {
  const group = rows;
  rows = [];
  commit(group);
  for (const [socket, seq] of owed) socket.send(`{"ack":${seq}}`);
  owed.clear();
}
const isNumber = (value) => value === null || value === undefined || typeof value === "number";

const server = http.createServer((_, response) => response.end("ok"));
const sockets = new WebSocketServer({
  server, perMessageDeflate: false, maxPayload: 16384, handleProtocols: () => "ctgkit.v1",
});
sockets.on("connection", (socket, request) => {
  const id = new URL(request.url, "http://localhost").searchParams.get("sensor_id");
  if (!known.has(id)) return socket.close(1008);
  socket.on("message", (data) => {
    let sample;
    try {
      sample = JSON.parse(data);
    } catch {
      return socket.send('{"error":"invalid JSON"}');
    }
    const { secFromStart: sec, seq, data: values } = sample;
    const bpm = values?.BPMChild, uterus = values?.uterus, spasms = values?.spasms;
    if (typeof sec !== "number" || !Number.isInteger(seq) || ![bpm, uterus, spasms].every(isNumber))
      return socket.send('{"error":"not a sample"}');
    if (!rows.length) setImmediate(write);
    rows.push({ sec, id, bpm: bpm ?? null, uterus: uterus ?? null, spasms: spasms ?? null, seq });
    owed.set(socket, seq);
  });
});
server.listen(0, "127.0.0.1", () =>
  console.log(JSON.stringify(`http://127.0.0.1:${server.address().port}`)));

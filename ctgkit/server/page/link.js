// The connection: the socket with what happens now, and beside it the past, newest first.
import { ASK_TOKEN } from "./access.js";
import { accessToken, askBytes, askJson, keepToken } from "./api.js";
import { unpack } from "./past.js";
import { decode } from "./state.js";

const PAST_S = [300, 3600]; // asked for one after the other
const BIN_S = 1; // less than a pixel at 3 cm/min
const TRIES = 3;
const TRY_AGAIN_MS = 1000;
const MARKS_MAX = 50; // requests for the marks of one examination

export class Link {
  #socket = null;

  // onChange is called when something is to be shown again, now_s() is a steady clock.
  constructor(state, now_s, onChange) {
    this.state = state;
    this.now_s = now_s;
    this.onChange = onChange;
    this.hasPast = null; // whether the backend answers for the past; null: nobody asked yet
    this.startHint = ""; // the command that waits to be started
    this.trouble = ""; // why the past couldn't be loaded
  }

  async connect() {
    if (ASK_TOKEN && !accessToken()) {
      this.#lost(4401, "access token required");
      return;
    }
    try {
      await this.#meet();
    } catch (error) {
      this.#lost(error.status === 401 ? 4401 : 0, error.message);
      return;
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const past = this.hasPast ? "" : `?backfill=${PAST_S.at(-1)}`;
    const socket = new WebSocket(`${scheme}://${location.host}/ws${past}`);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (accessToken()) socket.send(JSON.stringify({ token: accessToken() }));
      this.state.linked(this.now_s(), this.hasPast);
      this.onChange();
      if (this.hasPast) this.#load(socket);
    });
    socket.addEventListener("message", (message) => this.#take(message.data));
    socket.addEventListener("close", ({ code, reason }) => this.#lost(code, reason));
  }

  // Ask who is who. A replay, or somebody else's backend, doesn't know: it repeats the past itself.
  async #meet() {
    try {
      const { sensors, start_hint, past, paper } = await askJson("/api/page/ward");
      this.startHint = start_hint;
      this.state.ward = new Map(sensors.map((sensor) => [sensor.id, sensor]));
      this.hasPast = past;
      document.documentElement.dataset.paper = paper ? "yes" : "";
    } catch (error) {
      if (error.status !== 404) throw error;
      this.hasPast = false;
    }
  }

  #lost(code, reason) {
    const retry_s = this.state.lost(code, reason);
    if (retry_s === null) keepToken("");
    else setTimeout(() => this.connect(), 1000 * retry_s);
    this.onChange();
  }

  #take(text) {
    try {
      this.state.fold(decode(text), this.now_s());
    } catch (error) {
      this.state.unreadable += 1;
      console.warn("unreadable result", error);
    }
    this.onChange();
  }

  async #load(socket) {
    const gone = () => socket !== this.#socket || socket.readyState !== WebSocket.OPEN;
    this.trouble = "";
    for (const seconds of PAST_S) {
      const parts = await this.#past(seconds, gone);
      if (gone()) return;
      this.state.fill(parts);
      document.documentElement.dataset.loaded = "recent";
      this.onChange();
    }
    this.state.loaded(this.now_s());
    document.documentElement.dataset.loaded = "past";
    this.onChange();
    await this.#marks(gone).catch((error) => { this.trouble ||= error.message; });
    if (gone()) return;
    document.documentElement.dataset.loaded = "marks";
    this.onChange();
  }

  async #past(seconds, gone) {
    for (let n = 1; ; n++) {
      try {
        return unpack(await askBytes("/api/page/past", { seconds, bin: BIN_S }), BIN_S);
      } catch (error) {
        if (gone()) return [];
        if (n === TRIES) {
          this.trouble = error.message;
          return [];
        }
        await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
      }
    }
  }

  async #marks(gone) {
    const { examinations } = await askJson("/api/page/marks");
    this.state.mark(examinations);
    for (const { id, next } of examinations) {
      for (let n = 0, before = next; before !== null && n < MARKS_MAX && !gone(); n++) {
        const more = await askJson("/api/page/marks", { examination: id, before });
        this.state.mark(more.examinations);
        before = more.examinations[0].next;
      }
    }
  }
}

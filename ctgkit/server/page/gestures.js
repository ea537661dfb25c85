// Wheel, drag, swipe and pinch on a strip -> scroll, zoom, point.

const WHEEL_ZOOM = 0.002; // of the logarithm, per pixel
const PAGE_PX = 40; // a line of those wheels that count lines

export class Gestures {
  #pointers = new Map(); // id -> x
  #ended = new AbortController();

  // actor has scroll(seconds), zoom(factor, x), point(x or null), lastPlan.
  constructor(canvas, actor) {
    this.canvas = canvas;
    this.actor = actor;
    canvas.tabIndex = 0;
    canvas.classList.add("movable");
    const on = (kind, action) =>
      canvas.addEventListener(kind, action, { signal: this.#ended.signal, passive: false });
    on("wheel", (event) => this.#wheel(event));
    on("pointerdown", (event) => {
      this.#pointers.set(event.pointerId, this.#x(event));
      canvas.setPointerCapture(event.pointerId);
    });
    on("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      on(kind, (event) => this.#pointers.delete(event.pointerId));
    }
    on("pointerleave", () => { if (!this.#pointers.size) actor.point(null); });
  }

  leave() {
    this.#ended.abort();
    this.canvas.removeAttribute("tabindex");
    this.canvas.classList.remove("movable");
  }

  #x(event) {
    return event.clientX - this.canvas.getBoundingClientRect().left;
  }

  #seconds(px) {
    return px / (this.actor.lastPlan?.px_per_s ?? 1);
  }

  #wheel(event) {
    event.preventDefault();
    const unit = event.deltaMode === 0 ? 1 : PAGE_PX;
    if (event.ctrlKey || event.metaKey) {
      this.actor.zoom(Math.exp(-WHEEL_ZOOM * unit * event.deltaY), this.#x(event));
    } else {
      const moved = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
      this.actor.scroll(this.#seconds(unit * moved));
    }
  }

  #move(event) {
    const x = this.#x(event);
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) {
      this.actor.point(x);
      return;
    }
    if (this.#pointers.size === 2) {
      const [other] = [...this.#pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const [was, is] = [Math.abs(before - other), Math.abs(x - other)];
      if (was > 5 && is > 5) this.actor.zoom(is / was, (x + other) / 2);
    } else {
      this.actor.scroll(this.#seconds(before - x));
      this.actor.point(x);
    }
    this.#pointers.set(event.pointerId, x);
  }
}

// The box around the thing: dragged with a finger or a mouse, or moved by its edges with keys.
// It is kept in shares of the photo (0 to 1), so that it fits whatever size the photo is shown at.
// SPDX-License-Identifier: Apache-2.0

import { byId, element } from "/elements.js";
import { SAID } from "/texts.js";

const WHOLE = Object.freeze({ left: 0, top: 0, right: 1, bottom: 1 });
const LEAST = 0.1; // of a side
const TAPPED = 0.5; // of the shorter side: what a tap puts around itself
const STEP = 0.02;
const LEAP = 0.1;
const STILL_PX = 8; // a finger moves that much without meaning it
const OPPOSITE = { left: "right", right: "left", top: "bottom", bottom: "top" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Box {
  #at = WHOLE;
  #photo = null;

  /** @param {() => void} changed Called when somebody has put the box elsewhere. */
  constructor(changed) {
    this.changed = changed;
    this.stage = byId("stage");
    this.frame = byId("box");
    this.frame.setAttribute("aria-label", SAID.box);
    const edges = Object.keys(OPPOSITE);
    this.edges = Object.fromEntries(edges.map((each) => [each, this.#edge(each)]));
    const corners = ["left top", "right top", "left bottom", "right bottom"];
    this.frame.append(...corners.map((each) => element("span", { className: `corner ${each}` })));
    this.frame.append(...Object.values(this.edges));
    this.stage.addEventListener("pointerdown", (event) => this.#press(event));
    byId("whole").addEventListener("click", () => {
      this.#put(WHOLE);
      this.changed();
      this.edges.left.focus();
    });
  }

  /** Goes around all of another photo. */
  begin(photo) {
    this.#photo = photo;
    this.stage.style.setProperty("--ratio", photo.width / photo.height);
    this.#put(WHOLE);
  }

  /** Left, top, right and bottom in pixels of the photo; null for all of it. */
  get pixels() {
    if (this.#isWhole) return null;
    const { width, height } = this.#photo;
    const { left, top, right, bottom } = this.#at;
    return [left * width, top * height, right * width, bottom * height].map(Math.round);
  }

  get #isWhole() {
    return Object.keys(WHOLE).every((each) => this.#at[each] === WHOLE[each]);
  }

  #edge(name) {
    const edge = element("span", {
      className: `edge ${name}`,
      role: "slider",
      tabIndex: 0,
      "aria-label": SAID.edges[name],
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-orientation": isUpright(name) ? "horizontal" : "vertical",
      "aria-describedby": "box-keys",
    });
    edge.addEventListener("keydown", (event) => this.#key(name, event));
    return edge;
  }

  #key(name, event) {
    const arrow = ARROWS[event.key];
    const way = isUpright(name) ? 0 : 1;
    const before = this.#at;
    if (arrow && event.shiftKey) this.#put(moved(before, arrow[0] * STEP, arrow[1] * STEP));
    else if (arrow) this.#put(withEdge(before, name, before[name] + arrow[way] * STEP));
    else if (event.key === "PageUp") this.#put(withEdge(before, name, before[name] - LEAP));
    else if (event.key === "PageDown") this.#put(withEdge(before, name, before[name] + LEAP));
    else if (event.key === "Home") this.#put(withEdge(before, name, 0));
    else if (event.key === "End") this.#put(withEdge(before, name, 1));
    else return;
    event.preventDefault();
    if (this.#at !== before) this.changed();
  }

  /** What a press begins: an edge or corner is pulled, the box is moved, or another is drawn. */
  #press(event) {
    if (!event.isPrimary || event.button !== 0) return;
    const start = this.#share(event);
    const pulled = Object.keys(OPPOSITE).filter((each) => event.target.classList.contains(each));
    const isInside = !this.#isWhole && event.target === this.frame;
    const isFinger = event.pointerType === "touch";
    const tapped = () => this.#around(start);
    // A finger may scroll the page from here; only where it stays, it means the thing under it.
    if (isFinger && !pulled.length && !isInside) return this.#follow(event, null, tapped);
    if (isInside) this.frame.classList.add("moving");
    event.preventDefault();
    if (event.target.tabIndex === 0) event.target.focus({ focusVisible: false });
    const before = this.#at;
    const drag = (now) => {
      const [x, y] = [now.x - start.x, now.y - start.y];
      const pull = (box, each) => withEdge(box, each, before[each] + (isUpright(each) ? x : y));
      if (pulled.length) return pulled.reduce(pull, before);
      return isInside ? moved(before, x, y) : drawn(start, now);
    };
    this.#follow(event, drag, isInside || pulled.length ? null : tapped);
  }

  /** Puts the box where the pointer drags it, or where it was pressed without a drag. */
  #follow(event, drag, tapped) {
    const ended = new AbortController();
    const listen = (name, does) => this.stage.addEventListener(name, does, { signal: ended.signal });
    let isDragged = false;
    if (drag) this.stage.setPointerCapture(event.pointerId);
    listen("pointermove", (move) => {
      isDragged ||= Math.hypot(move.clientX - event.clientX, move.clientY - event.clientY) > STILL_PX;
      if (drag && isDragged) this.#put(drag(this.#share(move)));
    });
    const end = (isMeant) => {
      ended.abort();
      this.frame.classList.remove("moving");
      if (isMeant && !isDragged && tapped) this.#put(tapped());
      if (isMeant && (isDragged ? drag : tapped)) this.changed();
    };
    listen("pointerup", () => end(true));
    listen("pointercancel", () => end(isDragged && drag !== null));
  }

  #share(event) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    return { x: clamped((event.clientX - left) / width), y: clamped((event.clientY - top) / height) };
  }

  #around({ x, y }) {
    const { width, height } = this.#photo;
    const half = (TAPPED * Math.min(width, height)) / 2;
    const [x0, y0] = [half / width, half / height];
    return moved({ left: 0, top: 0, right: 2 * x0, bottom: 2 * y0 }, x - x0, y - y0);
  }

  #put(box) {
    this.#at = box;
    for (const [name, edge] of Object.entries(this.edges)) {
      this.stage.style.setProperty(`--${name}`, box[name]);
      edge.setAttribute("aria-valuenow", Math.round(100 * box[name]));
      edge.setAttribute("aria-valuetext", SAID.edgeAt(box[name]));
    }
    this.frame.classList.toggle("part", !this.#isWhole);
    byId("whole").disabled = this.#isWhole;
  }
}

const isUpright = (edge) => edge === "left" || edge === "right";
const clamped = (share, least = 0, most = 1) => Math.min(most, Math.max(least, share));

/** The box with one edge elsewhere, as far as it may go; itself where nothing changes. */
function withEdge(box, name, share) {
  const other = box[OPPOSITE[name]];
  const isFirst = name === "left" || name === "top";
  const put = isFirst ? clamped(share, 0, other - LEAST) : clamped(share, other + LEAST, 1);
  return put === box[name] ? box : { ...box, [name]: put };
}

/** The box of the same size elsewhere, inside the photo. */
function moved(box, x, y) {
  const right = clamped(x, -box.left, 1 - box.right);
  const down = clamped(y, -box.top, 1 - box.bottom);
  if (!right && !down) return box;
  return { left: box.left + right, top: box.top + down, right: box.right + right, bottom: box.bottom + down };
}

/** A box between two points, not smaller than the least. */
function drawn(one, other) {
  const [left, right] = spread(one.x, other.x);
  const [top, bottom] = spread(one.y, other.y);
  return { left, top, right, bottom };
}

function spread(one, other) {
  const [least, most] = [Math.min(one, other), Math.max(one, other)];
  const first = clamped(least, 0, 1 - LEAST);
  return [first, Math.max(most, first + LEAST)];
}

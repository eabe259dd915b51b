// Zoom and pan of a drawing: by mouse, wheel, two fingers and keyboard. While it moves only one
// attribute changes; what is inside is drawn anew when another part of it comes into sight.

import { useEffect, useRef, useState } from "../../vendor/preact.js";

const SCALE_MIN = 0.02;
const SCALE_MAX = 3;
const CELL = 200; // pixels: what is drawn grows and shrinks in such steps
const BORDER = 100; // pixels that are drawn beyond what is in sight
const REDRAW_MS = 90; // while it moves it is drawn anew no more often
const STEP = 60; // pixels that an arrow key moves
const DRAG_PIXELS = 4; // less is a click

const limited = (scale) => Math.min(SCALE_MAX, Math.max(SCALE_MIN, scale));

/** The part of the drawing that is to be drawn: what is in sight with a border, in whole cells. */
function partOf(view, size) {
  const border = BORDER / view.k;
  const cell = CELL / 2 ** Math.floor(Math.log2(view.k)); // the same over a stretch of scales
  const down = (value) => Math.floor((value - border) / cell) * cell;
  const up = (value) => Math.ceil((value + border) / cell) * cell;
  return {
    left: down(-view.x / view.k), top: down(-view.y / view.k),
    right: up((size.width - view.x) / view.k), bottom: up((size.height - view.y) / view.k),
  };
}

/** How far details are drawn: "far" only boxes, "middle" with names, "near" all. */
const detailOf = (scale) => (scale < 0.33 ? "far" : scale < 0.8 ? "middle" : "near");

const same = (one, other) => one && one.left === other.left && one.top === other.top && one.right === other.right && one.bottom === other.bottom && one.detail === other.detail;

/**
 * Returns { frame, layer, part, fit, zoom, show, key, at }: `frame` and `layer` are refs for the
 * outer `svg` and the group that moves. `width` and `height` are those of the drawing. It begins
 * with all of it, or around the box `first` where all of it would be smaller than `least`.
 */
export function useViewport(width, height, { least = 0, first = null } = {}) {
  const frame = useRef(null);
  const layer = useRef(null);
  const view = useRef({ x: 0, y: 0, k: 1, fitted: true });
  const pending = useRef(0);
  const [part, setPart] = useState(null);
  const shown = useRef(null);
  const drawnAt = useRef(-REDRAW_MS);
  const later = useRef(0);

  const size = () => ({ width: frame.current.clientWidth || 600, height: frame.current.clientHeight || 400 });
  const paint = () => {
    pending.current = 0;
    if (!frame.current || !layer.current) {
      return;
    }
    const { x, y, k } = view.current;
    layer.current.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${k.toFixed(4)})`);
    redraw();
  };
  const redraw = () => {
    const next = { ...partOf(view.current, size()), detail: detailOf(view.current.k) };
    if (same(shown.current, next) || later.current) {
      return;
    }
    const wait = drawnAt.current + REDRAW_MS - performance.now();
    if (wait > 0) {
      later.current = setTimeout(() => { later.current = 0; if (frame.current) { redraw(); } }, wait);
      return;
    }
    shown.current = next;
    drawnAt.current = performance.now();
    setPart(next);
  };
  const move = (next) => {
    view.current = { ...view.current, fitted: false, ...next };
    if (!pending.current) {
      pending.current = requestAnimationFrame(paint);
    }
  };
  const zoomAt = (factor, x, y) => {
    const old = view.current;
    const k = limited(old.k * factor);
    move({ k, x: x - ((x - old.x) * k) / old.k, y: y - ((y - old.y) * k) / old.k });
  };
  const zoom = (factor) => { const { width: w, height: h } = size(); zoomAt(factor, w / 2, h / 2); };
  const fit = () => {
    const { width: w, height: h } = size();
    const k = limited(Math.min(1, (w - 32) / Math.max(1, width), (h - 32) / Math.max(1, height)));
    move({ k, x: (w - width * k) / 2, y: (h - height * k) / 2, fitted: true });
  };
  /** Bring a box into sight, at a scale that can be read. */
  const show = (box, least = 0.7) => {
    const { width: w, height: h } = size();
    const old = view.current;
    const k = old.k < least ? least : old.k;
    let [x, y] = [old.x, old.y];
    if (k !== old.k) {
      [x, y] = [w / 2 - (box.x + box.w / 2) * k, h / 2 - (box.y + box.h / 2) * k];
    }
    const border = 30;
    x += Math.max(0, border - (box.x * k + x)) - Math.max(0, (box.x + box.w) * k + x - (w - border));
    y += Math.max(0, border - (box.y * k + y)) - Math.max(0, (box.y + box.h) * k + y - (h - border));
    if (x !== old.x || y !== old.y || k !== old.k) {
      move({ x, y, k });
    }
  };

  const begin = () => {
    fit();
    if (first && view.current.k < least) {
      const { width: w, height: h } = size();
      const inside = (wanted, room, whole) => (whole * least <= room - 32 ? (room - whole * least) / 2 : Math.max(room - 16 - whole * least, Math.min(16, wanted)));
      move({ k: least, x: inside(w / 2 - (first.x + first.w / 2) * least, w, width), y: inside(h / 2 - (first.y + first.h / 2) * least, h, height) });
    }
  };
  useEffect(() => {
    begin();
    const observer = new ResizeObserver(() => (view.current.fitted ? fit() : move({})));
    observer.observe(frame.current);
    return () => { observer.disconnect(); cancelAnimationFrame(pending.current); pending.current = 0; clearTimeout(later.current); later.current = 0; };
  }, [width, height]);

  useEffect(() => {
    const box = frame.current;
    const fingers = new Map();
    let dragged = false;
    const place = (event) => { const rect = box.getBoundingClientRect(); return [event.clientX - rect.left, event.clientY - rect.top]; };
    const wheel = (event) => {
      if (!event.ctrlKey && !event.metaKey && !box.contains(document.activeElement)) {
        return; // the page scrolls, unless the drawing has been chosen
      }
      event.preventDefault();
      zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016) * (event.ctrlKey ? 4 : 1)), ...place(event));
    };
    const down = (event) => {
      if (event.button === 0 && fingers.size < 2) {
        fingers.set(event.pointerId, place(event));
        dragged = false;
      }
    };
    const moved = (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) {
        return;
      }
      const now = place(event);
      const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      if (!dragged && !others.length && Math.hypot(now[0] - before[0], now[1] - before[1]) < DRAG_PIXELS) {
        return;
      }
      if (!dragged) {
        dragged = true;
        box.setPointerCapture(event.pointerId);
      }
      fingers.set(event.pointerId, now);
      if (others.length) {
        const [other] = others;
        const apart = (at) => Math.max(1, Math.hypot(at[0] - other[0], at[1] - other[1]));
        zoomAt(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      }
      const share = others.length ? 0.5 : 1;
      move({ x: view.current.x + (now[0] - before[0]) * share, y: view.current.y + (now[1] - before[1]) * share });
    };
    const up = (event) => fingers.delete(event.pointerId);
    const click = (event) => {
      if (dragged) {
        event.preventDefault();
        event.stopPropagation();
        dragged = false;
      }
    };
    const options = { passive: false };
    box.addEventListener("wheel", wheel, options);
    box.addEventListener("pointerdown", down);
    box.addEventListener("pointermove", moved);
    box.addEventListener("pointerup", up);
    box.addEventListener("pointercancel", up);
    box.addEventListener("click", click, true);
    box.addEventListener("dragstart", (event) => event.preventDefault());
    return () => {
      box.removeEventListener("wheel", wheel, options);
      box.removeEventListener("pointerdown", down);
      box.removeEventListener("pointermove", moved);
      box.removeEventListener("pointerup", up);
      box.removeEventListener("pointercancel", up);
      box.removeEventListener("click", click, true);
    };
  }, []);

  /** Keys of the drawing itself; says whether it was one. */
  const key = (event) => {
    const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    if (event.key === "+" || event.key === "=") {
      zoom(1.25);
    } else if (event.key === "-") {
      zoom(0.8);
    } else if (event.key === "0") {
      fit();
    } else if (event.shiftKey && moves[event.key]) {
      const [x, y] = moves[event.key];
      move({ x: view.current.x + x, y: view.current.y + y });
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  };
  /** Where a mouse event is, in the units of the drawing. */
  const at = (event) => {
    const rect = frame.current.getBoundingClientRect();
    const { x, y, k } = view.current;
    return { x: (event.clientX - rect.left - x) / k, y: (event.clientY - rect.top - y) / k };
  };
  return { frame, layer, part, fit, zoom, show, key, at };
}

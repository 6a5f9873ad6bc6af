// A map of crops: those that look alike lie near each other, and what is drawn around is chosen in the contact sheet.
import { call, may, off, on, thumbnail } from "./api.js";
import { image } from "./crop.js";
import { fill, fresh, h, notice } from "./dom.js";
import { words } from "./words.js";

const w = words.map;
const MARGIN = 34; // pixels between the outermost crops and the edge
const MOST_PICTURES = 90; // other crops are dots
const FEW = 24; // crops whose pictures are drawn larger
const MOST_POINTS = 2000; // of one map, by the server
const NEAR = 14; // pixels from a dot that still mean it
const MANY = 300; // crops whose dots are smaller
const CLICK = 6; // pixels of way that are no drawing yet

/**
 * The map of the crops in a sheet, folded away until it is asked for.
 *
 * who: {identity} or {cluster}, as GET /people/map takes it; sheet: whose entries are chosen; begin(): called before
 * something is chosen. Returns {element, refresh, end}.
 */
export function mapOf(site, who, sheet, begin) {
  const write = may("write");
  const how = h("p.hint", { id: fresh("how") }, write ? w.how : w.howRead);
  const facts = h("p.hint", { role: "status" });
  const canvas = h("canvas", { role: "img", "aria-describedby": how.id });
  const preview = h("div.preview", { "aria-hidden": "true", hidden: true });
  const none = write && h("button.small", { type: "button", hidden: true, onclick: () => sheet.choose([...sheet.chosen()], false) }, w.none);
  const plane = h(`div.plane${write ? ".drawable" : ""}`, {}, canvas, preview);
  const element = h("details.map", { ontoggle: () => refresh() }, h("summary", {}, w.title), how, plane,
    h("div.bar", {}, facts, none));
  const pictures = new Map(); // id -> Image
  let points = []; // with left, top: pixels
  let shown = []; // points whose pictures are drawn
  let size = [0, 0]; // of a picture
  let lasso = null; // [left, top] of each place that the pointer passed
  let round = 0;
  let waits = false; // for the connection

  /** The map anew, where it is open. */
  async function refresh() {
    if (!element.open) return;
    const mine = ++round;
    waits = false;
    if (!points.length) facts.textContent = w.drawing;
    try {
      const made = await call(`people/map?${new URLSearchParams({ site, ...who() })}`);
      if (mine !== round) return;
      points = made.points;
      canvas.setAttribute("aria-label", w.label(points.length));
      facts.textContent = factsOf(made);
      draw();
    } catch (error) {
      if (mine !== round) return;
      waits = error.code === "lost";
      if (!points.length) facts.textContent = "";
      if (error.status !== 404) notice(error.message, "bad"); // the page says that nobody is there any more
    }
  }

  function place() {
    const [width, height] = [plane.clientWidth, plane.clientHeight];
    const dense = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    const [left, right] = ends(points.map((point) => point.x));
    const [bottom, top] = ends(points.map((point) => point.y));
    size = points.length <= FEW ? [36, 72] : [22, 44];
    const room = [width - 2 * MARGIN - size[0], height - 2 * MARGIN - size[1] / 2];
    const scale = Math.min(room[0] / (right - left || 1e-9), room[1] / (top - bottom || 1e-9)); // both axes alike
    for (const point of points) {
      point.left = width / 2 + scale * (point.x - (left + right) / 2);
      point.top = height / 2 - scale * (point.y - (top + bottom) / 2);
    }
    shown = apart(points, size);
    return dense;
  }

  /** All of it; places are computed anew, since the window may have another size. */
  function draw() {
    if (!element.open || !points.length) return;
    const dense = place();
    for (const { item } of shown) {
      if (pictures.has(item)) continue;
      const picture = new Image();
      picture.addEventListener("load", paint);
      picture.addEventListener("error", () => pictures.delete(item)); // it is asked for again when the map is drawn
      picture.src = thumbnail(item);
      pictures.set(item, picture);
    }
    canvas.getContext("2d").setTransform(dense, 0, 0, dense, 0, 0);
    paint();
  }

  function paint() {
    const brush = canvas.getContext("2d");
    const colours = getComputedStyle(element);
    const [card, strong, accent, frame] = ["--card", "--strong", "--accent", "--frame"].map((name) => colours.getPropertyValue(name));
    const chosen = sheet.chosen();
    const [wide, high] = size;
    brush.clearRect(0, 0, plane.clientWidth, plane.clientHeight);
    for (const { item, left, top } of shown) {
      const picture = pictures.get(item);
      const box = [left - wide / 2, top - high / 2, wide, high];
      brush.fillStyle = frame;
      brush.fillRect(...box);
      if (picture?.naturalWidth) brush.drawImage(picture, ...cut(picture), ...box);
      brush.lineWidth = chosen.has(item) ? 3 : 1;
      brush.strokeStyle = chosen.has(item) ? accent : strong;
      brush.strokeRect(...box);
      if (chosen.has(item)) tick(brush, left + wide / 2, top - high / 2, accent, card);
    }
    const pictured = new Set(shown);
    const dot = points.length > MANY ? 3 : 4;
    for (const point of points) {
      if (pictured.has(point)) continue;
      const on = chosen.has(point.item);
      brush.beginPath();
      brush.arc(point.left, point.top, on ? dot + 1.5 : dot, 0, 2 * Math.PI);
      brush.fillStyle = on ? accent : card;
      brush.fill();
      brush.lineWidth = 1.5;
      brush.strokeStyle = on ? card : strong;
      brush.stroke();
    }
    if (lasso) {
      brush.beginPath();
      lasso.forEach(([left, top], step) => (step ? brush.lineTo(left, top) : brush.moveTo(left, top)));
      brush.closePath();
      brush.globalAlpha = 0.14;
      brush.fillStyle = accent;
      brush.fill();
      brush.globalAlpha = 1;
      brush.lineWidth = 2;
      brush.strokeStyle = accent;
      brush.stroke();
    }
    if (none) none.hidden = !chosen.size;
  }

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  /** The crop at a place: the nearest dot, or the picture that covers it. */
  function crop([left, top]) {
    const far = (point) => Math.hypot(point.left - left, point.top - top);
    const covers = shown.find((point) => Math.abs(point.left - left) <= size[0] / 2 && Math.abs(point.top - top) <= size[1] / 2);
    const pictured = new Set(shown);
    const dots = points.filter((point) => !pictured.has(point) && far(point) <= NEAR);
    return dots.sort((one, other) => far(one) - far(other))[0] ?? covers ?? null;
  }

  function began(event) {
    if (!write || event.button !== 0) return;
    event.preventDefault(); // no text is selected by it
    canvas.setPointerCapture(event.pointerId);
    preview.hidden = true;
    lasso = [at(event)];
  }

  function moved(event) {
    if (!lasso) {
      look(event);
      return;
    }
    lasso.push(at(event));
    paint();
  }

  function ended(event) {
    if (!lasso) return;
    const drawn = lasso;
    lasso = null;
    const way = Math.max(...drawn.map(([left, top]) => Math.hypot(left - drawn[0][0], top - drawn[0][1])));
    const one = way < CLICK ? crop(at(event)) : null;
    const inside = way < CLICK ? [] : points.filter((point) => within(point, drawn)).map((point) => point.item);
    const on = one === null || !sheet.chosen().has(one.item);
    const keys = one ? [one.item] : inside;
    if (keys.length) {
      begin();
      sheet.choose(keys, on);
    }
    paint();
  }

  function gaveUp() {
    lasso = null;
    paint();
  }

  function look(event) {
    const [left, top] = at(event);
    const point = crop([left, top]);
    preview.hidden = !point;
    if (!point) return;
    if (preview.dataset.item !== point.item) {
      preview.dataset.item = point.item;
      fill(preview, h("span.frame", {}, image(thumbnail(point.item), "")), h("span", {}, point.camera ?? words.noCamera));
    }
    preview.style.left = `${Math.min(left + 16, plane.clientWidth - 108)}px`;
    preview.style.top = `${Math.max(0, Math.min(top - 90, plane.clientHeight - 210))}px`;
  }

  const escaped = (event) => { if (event.key === "Escape" && lasso) gaveUp(); };
  canvas.addEventListener("pointerdown", began);
  canvas.addEventListener("pointermove", moved);
  canvas.addEventListener("pointerup", ended);
  canvas.addEventListener("pointercancel", gaveUp);
  canvas.addEventListener("pointerleave", () => { preview.hidden = true; });
  const back = () => { if (waits) refresh(); };
  on("back", back);
  addEventListener("keydown", escaped);
  addEventListener("resize", draw);
  sheet.follow(() => { if (element.open && points.length) paint(); });
  // other colours: by the choice in the menu, or by the system
  const watch = new MutationObserver(draw);
  watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", draw);
  const end = () => {
    round += 1;
    off("back", back);
    removeEventListener("keydown", escaped);
    removeEventListener("resize", draw);
    watch.disconnect();
    dark.removeEventListener("change", draw);
  };
  return { element, refresh, end };
}

function factsOf({ points, items, shown }) {
  const share = shown.reduce((sum, each) => sum + each, 0);
  const fewer = points.length < items;
  return [points.length > 1 && (share ? w.shown(share) : w.one), fewer && (items > MOST_POINTS ? w.some(points.length, items) : w.without(items - points.length))]
    .filter(Boolean).join(" ");
}

const ends = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

/** Points whose pictures do not cover each other's. */
function apart(points, [wide, high]) {
  const shown = [];
  for (const point of points) {
    if (shown.length === MOST_PICTURES) break;
    if (shown.every((other) => Math.abs(other.left - point.left) > wide + 2 || Math.abs(other.top - point.top) > high + 2)) shown.push(point);
  }
  return shown;
}

/** The middle of a picture that is as high to its width as it is drawn: left, top, width, height. */
function cut({ naturalWidth, naturalHeight }) {
  const wide = Math.min(naturalWidth, naturalHeight / 2);
  const high = 2 * wide;
  return [(naturalWidth - wide) / 2, (naturalHeight - high) / 2, wide, high];
}

function tick(brush, left, top, accent, card) {
  brush.beginPath();
  brush.arc(left, top, 7, 0, 2 * Math.PI);
  brush.fillStyle = accent;
  brush.fill();
  brush.beginPath();
  brush.moveTo(left - 3.5, top);
  brush.lineTo(left - 1, top + 2.8);
  brush.lineTo(left + 3.5, top - 2.8);
  brush.lineWidth = 2;
  brush.strokeStyle = card;
  brush.stroke();
}

/** Whether a point lies inside what was drawn: a ray from it crosses the line an odd number of times. */
function within(point, line) {
  let inside = false;
  for (let step = 0, before = line.length - 1; step < line.length; before = step, step += 1) {
    const [[left, top], [last, above]] = [line[step], line[before]];
    if (top > point.top !== above > point.top && point.left < ((last - left) * (point.top - top)) / (above - top) + left) inside = !inside;
  }
  return inside;
}

// Marks of an adaptation: no text in them, numbers stand beside them.
import { h, s } from "../dom.js";
import { words } from "../words.js";

const WIDTH = 300;
const HEIGHT = 18;
const EDGE = 6;

/** From the lowest to the highest value and always over 0. */
export function rangeOf(values) {
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  return high > low ? [low, high] : [0, 1];
}

/** A gain as a dot on the bar of its interval, beside the line of no change. */
export function interval(gain, low, high, [from, to], accepted) {
  const across = (value) => EDGE + ((value - from) / (to - from)) * (WIDTH - 2 * EDGE);
  const kind = accepted ? "taken" : "refused";
  const zero = across(0);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", class: "interval" },
    s("rect", { x: across(low), y: 6, width: across(high) - across(low), height: 6, rx: 3, class: `range ${kind}` }),
    s("line", { x1: zero, x2: zero, y1: 0, y2: HEIGHT, class: "zero" }),
    s("circle", { cx: across(gain), cy: HEIGHT / 2, r: 4.5, class: kind }));
}

/** A table of how alike the crops of two cameras are, darker where they are more so. */
export function matrix(title, cameras, rows, [low, high]) {
  const named = (camera) => camera || words.noCamera;
  const cell = (value) => {
    const element = h("td", {}, value.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−"));
    element.style.setProperty("--share", `${Math.round((100 * (value - low)) / (high > low ? high - low : 1))}%`);
    return element;
  };
  return h("table.matrix", {}, h("caption", {}, title),
    h("thead", {}, h("tr", {}, h("td", {}), cameras.map((camera) => h("th", { scope: "col" }, named(camera))))),
    h("tbody", {}, cameras.map((camera, place) => h("tr", {}, h("th", { scope: "row" }, named(camera)), rows[place].map(cell)))));
}

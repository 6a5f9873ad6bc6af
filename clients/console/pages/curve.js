// Whom each rate of false alarms misses, as a curve; rates that labels do not reach are grey.
import { s } from "../dom.js";
import { words } from "../words.js";

const WIDTH = 720;
const HEIGHT = 280;
const [LEFT, RIGHT, TOP, BOTTOM] = [48, 12, 12, 46]; // of what is around the curve
const ROOM = 90; // for a few words
const w = words.calibration;

/** points: of the server, by rising rate; chosen: the place of one. */
export function curve(points, chosen) {
  const rates = points.map((point) => Math.log10(point.false_alarms_per_1000));
  const [low, high] = [rates[0], rates.at(-1)];
  const across = (rate) => LEFT + ((Math.log10(rate) - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const up = (share) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
  const reached = points.filter((point) => point.missed !== null);
  const edge = reached.length ? across(reached[0].false_alarms_per_1000) : across(points.at(-1).false_alarms_per_1000);
  const here = points[chosen];
  const floor = up(0);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": w.chart, class: "curve" },
    edge > LEFT && s("rect", { x: LEFT, y: TOP, width: edge - LEFT, height: floor - TOP, class: "unreached" }),
    [0, 0.25, 0.5, 0.75, 1].map((share) => [
      s("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: up(share), y2: up(share), class: "grid" }),
      text(LEFT - 8, up(share) + 4, "end", words.percent(share))]),
    edge > LEFT + ROOM && text((LEFT + edge) / 2, up(0.6), "middle", w.tooFew),
    points.map((point) => point.false_alarms_per_1000).filter((rate) => Number.isInteger(Math.log10(rate)))
      .map((rate) => text(across(rate), floor + 18, "middle", rate.toLocaleString("en"))),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle", w.across),
    s("polyline", { points: reached.map((point) => `${across(point.false_alarms_per_1000)},${up(point.missed)}`).join(" "), class: "line" }),
    s("line", { x1: across(here.false_alarms_per_1000), x2: across(here.false_alarms_per_1000), y1: TOP, y2: floor, class: "here" }),
    here.missed !== null && s("circle", { cx: across(here.false_alarms_per_1000), cy: up(here.missed), r: 7, class: "dot" }));
}

const text = (x, y, anchor, shown) => s("text", { x, y, "text-anchor": anchor }, shown);

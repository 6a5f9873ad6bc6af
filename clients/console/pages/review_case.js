// One doubtful case as it is shown: why it is asked, how likely, and the crops of both sides.
import { cropButton } from "../crop.js";
import { h } from "../dom.js";
import { shortTime, words } from "../words.js";
import { figureOf } from "./figure.js";

const w = words.review;

/** A case as an element. `guess`: whether no labels of the site stand behind the probability; `erased` is called after a crop was. */
export function caseView(site, shown, guess, erased) {
  const { probability, score, reason, skipped, sides } = shown;
  const known = probability !== null;
  return [
    h("header", {},
      h("div", {}, h("h2", {}, reason), skipped && h("span.tag", {}, w.skippedBefore)),
      h("p.probability", {},
        known ? figureOf(probability) : h("b", {}, score.toFixed(2)),
        h("span", {}, known ? w.probability : w.noProbability, known && guess && `, ${w.guess}`))),
    h("div.sides", {}, sides.map((side) => sideView(site, side, erased))),
  ];
}

function sideView(site, { identity, items, evidence }, erased) {
  const crop = (item) => cropButton(item, site, erased,
    [h("b", {}, item.camera ?? words.noCamera), item.captured_at && h("span", {}, shortTime(item.captured_at))]);
  return h("section.card", { "aria-label": w.side(identity) },
    h("div", {}, h("h3", {}, w.side(identity)), h("p.soft", {}, words.crops(items))),
    h("div.strip", {}, evidence.map(crop)));
}

/** Whether an answer to one case may change what another one asks. */
export function touches(one, other) {
  const names = (each) => each.sides.map((side) => side.identity).filter((name) => name !== null);
  const items = (each) => each.sides.flatMap((side) => side.evidence.map((item) => item.id));
  return names(one).some((name) => names(other).includes(name)) || items(one).some((id) => items(other).includes(id));
}

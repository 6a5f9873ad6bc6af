// A probability as a large figure.
import { h } from "../dom.js";
import { rounded } from "../words.js";

/** Read as one: "over 99 %". */
export function figureOf(probability) {
  const [bound, hundredths] = rounded(probability);
  return [bound && h("small", {}, bound), h("b", {}, String(hundredths)), h("small", {}, " %")];
}

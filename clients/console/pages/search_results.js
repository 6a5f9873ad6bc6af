// The answer of a query: what it means in a sentence, then people with the crops that speak for them.
import { cropButton } from "../crop.js";
import { h } from "../dom.js";
import { address } from "../main.js";
import { likely, words } from "../words.js";
import { figureOf } from "./figure.js";

/**
 * Everything of an answer. `erased` is called when a crop of it was erased or lost its name; `more` where there may be
 * more people; `deny(name)` where the query can be said not to show a person.
 */
export function results(answer, milliseconds, { site, more, erased, deny }) {
  if (!answer.people.length) {
    return h("div.verdict", {}, h("h2", {}, words.search.empty), h("p", {}, words.search.emptyText));
  }
  return [
    verdict(answer),
    h("p.soft.small", {}, words.search.answered(answer.people.length, milliseconds)),
    h("ol.people", {}, answer.people.map((person) => row(person, answer, site, erased, deny))),
    more && h("button", { type: "button", onclick: more }, words.search.moreOf),
  ];
}

/** Grey shapes where results will be. */
export const waiting = () => h("div.waiting", { "aria-label": words.search.searching },
  Array.from({ length: 3 }, () => h("div.row", {}, Array.from({ length: 4 }, () => h("i")))));

function verdict(answer) {
  const first = answer.people[0];
  const who = first.identity ?? words.search.unnamedWho;
  const probability = answer.probability === null ? "" : likely(answer.probability);
  const s = words.search;
  const [kind, title, text] = {
    match: ["yes", s.match(who), s.matchText(probability)],
    ambiguous: ["maybe", s.ambiguous(who), s.ambiguousText(probability)],
    nobody: ["no", s.nobody, s.nobodyText(who, probability)],
  }[answer.decision] ?? ["open", s.nearest(who), answer.probability === null ? s.unknownText : s.guessText(probability)];
  return h(`div.verdict.${kind}`, {},
    h("div", {}, h("h2", {}, title), h("p", {}, text)),
    probability && h("p.probability", { "aria-hidden": "true" }, figureOf(answer.probability),
      answer.guess && h("span", {}, words.search.guess)));
}

function row(person, answer, site, erased, deny) {
  const who = person.identity ?? (person.cluster ? words.search.unknownPerson : words.unnamed);
  const group = person.cluster && address("unknown", site, `?cluster=${encodeURIComponent(person.cluster)}`);
  const cameras = [...new Set(person.items.map((item) => item.camera ?? words.noCamera))].sort();
  const first = person.rank === 1 && answer.decision === "match";
  return h(`li.person${first ? ".first" : ""}`, {},
    h("div.about", {},
      h("span.rank", { "aria-hidden": "true" }, String(person.rank)),
      h("div", {},
        h(`h3${person.identity === null ? ".soft" : ""}`, {}, group ? h("a", { href: group }, who) : who),
        h("p.score", {}, h("meter", { min: 0, max: 1, value: Math.max(0, person.score), "aria-label": words.search.score }),
          h("span", {}, `${words.search.score} ${person.score.toFixed(2)}`)),
        person.margin !== null && person.rank === 1 && h("p.soft.small", {}, words.search.ahead(person.margin.toFixed(2))),
        h("p.soft.small", {}, `${words.search.seen} ${cameras.join(", ")}`),
        deny && person.identity !== null && h("button.small", { type: "button", title: words.search.denyText(who), onclick: () => deny(who) }, words.crop.deny(who)))),
    h("div.strip", { role: "group", "aria-label": words.search.evidence(who, person.rank) },
      person.items.map((item) => cropButton(item, site, erased))));
}

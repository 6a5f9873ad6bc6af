// People who have a name: a sheet of all of them. The page of one is person.js.
import { call, thumbnail } from "../api.js";
import { image } from "../crop.js";
import { fill, h } from "../dom.js";
import { lastChanges } from "../journal.js";
import { address } from "../main.js";
import { sheetOf } from "../sheet.js";
import { words } from "../words.js";
import { renderPerson } from "./person.js";

const w = words.people;
const PAGE = 1000; // people of one request
const TYPED_MS = 200; // without another letter: what is typed is looked for

export async function render(main, { site, query }) {
  const name = query.get("person");
  if (name !== null) return renderPerson(main, site, name);
  const shown = { text: "", hidden: false };
  const sheet = sheetOf({
    label: w.sheet,
    caption: 60,
    empty: w.none,
    pageOf: (cursor) => peopleOf(site, shown, cursor),
    keyOf: (person) => person.identity,
    cellOf: (person) => personCell(person, site),
  });
  let typing = null;
  const find = h("input", { type: "text", spellcheck: false, autocomplete: "off", "aria-label": w.find, placeholder: w.find, oninput: () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      shown.text = find.value.trim().toLowerCase();
      sheet.reload();
    }, TYPED_MS);
  } });
  const hidden = h("input", { type: "checkbox", onchange: () => { shown.hidden = hidden.checked; sheet.reload(); } });
  const changes = lastChanges(site, sheet.reload);
  fill(main,
    h("h1", {}, w.title),
    h("p.lead", {}, w.text(site)),
    h("div.bar", {}, h("div.finder", {}, find), h("label.check", {}, hidden, w.withHidden)),
    changes.element,
    sheet.element);
  await sheet.reload();
  return () => { clearTimeout(typing); sheet.end(); };
}

/** A page of people whose names hold the text that is looked for. */
async function peopleOf(site, { text, hidden }, cursor) {
  const terms = new URLSearchParams({ site, limit: String(PAGE), include_hidden: String(hidden) });
  if (cursor) terms.set("cursor", cursor);
  const page = await call(`people?${terms}`);
  return { entries: page.people.filter((person) => person.identity.toLowerCase().includes(text)), cursor: page.cursor };
}

function personCell(person, site) {
  return h(`a.crop${person.hidden ? ".hidden" : ""}`, { href: addressOf(site, person.identity) },
    h("span.frame", {}, image(thumbnail(person.feature), "")),
    h("span.caption", {}, h("b", {}, person.identity),
      h("span", {}, [words.crops(person.items), person.hidden && w.hidden].filter(Boolean).join(" · ")),
      h("span", {}, person.cameras.join(", "))));
}

const addressOf = (site, name) => address("people", site, `?person=${encodeURIComponent(name)}`);

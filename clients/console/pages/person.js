// One person: the crops that bear the name, and what can be corrected.
import { call, json, may, off, on } from "../api.js";
import { cropButton, deny } from "../crop.js";
import { fill, h, notice, unfocused } from "../dom.js";
import { lastChanges } from "../journal.js";
import { address, go } from "../main.js";
import { mapOf } from "../map.js";
import { chooser, sheetOf } from "../sheet.js";
import { time, words } from "../words.js";
import { itemsOf } from "./gallery.js";
import { askName, askWhose, personNamed } from "./person_names.js";

const w = words.people;

export async function renderPerson(main, site, name) {
  let person = null;
  let round = 0; // what an earlier question is answered is not shown after a later one
  let waits = false; // for the connection
  const heading = h("div", {});
  const actions = h("div.bar", {});
  const hiding = h("button", { type: "button", onclick: hide });
  const sheet = sheetOf({
    label: w.cropsOf(name),
    least: 132,
    empty: w.noCrops,
    pageOf: (cursor) => itemsOf(site, { identity: name }, cursor),
    keyOf: (item) => item.id,
    cellOf: (item) => cropButton(item, site, anew, captionOf(item, person)),
  });
  const changes = lastChanges(site, refresh);
  const choose = may("write") && chooser(sheet, [
    { label: w.split, go: split },
    { label: () => w.feature, most: 1, go: feature },
    { label: (count) => words.crop.denyAll(name, count), go: notThese },
  ]);
  const chosen = h("div.bar.end", {}, choose && choose.element);
  const map = mapOf(site, () => ({ identity: name }), sheet, () => choose.begin());

  /** Everything anew, as it is by now; what was chosen stays chosen. */
  async function refresh() {
    const mine = ++round;
    const found = await personNamed(site, name);
    if (mine !== round) return;
    const first = !person;
    person = found;
    waits = false;
    // before the heading: nobody is to choose crops that are there no more by a count that is new
    if (person && !first) await sheet.reload();
    if (mine !== round) return;
    fill(heading, person ? headingOf(person, site) : gone(site, name));
    fill(actions, person && may("write") && h("div.chooser", {},
      h("button", { type: "button", onclick: rename }, w.rename),
      fill(hiding, person.hidden ? w.show : w.hide)));
    sheet.element.hidden = map.element.hidden = chosen.hidden = !person;
    if (!person) changes.show();
    await Promise.all([person && first && sheet.reload(), changes.refresh(), person && map.refresh()]);
  }

  const anew = () => refresh().catch((error) => {
    waits = error.code === "lost";
    notice(error.message, "bad");
  });
  const back = () => { if (waits) anew(); };

  async function rename() {
    const { to, refused } = await askName(site, person);
    if (to) go("people", site, `?person=${encodeURIComponent(to)}`);
    else if (refused) await anew(); // somebody was faster
  }

  async function split() {
    const { to, refused } = await askWhose(site, sheet.picked(), person);
    if (to || refused) await anew();
  }

  async function feature() {
    const [item] = sheet.picked();
    await change("people/feature", { item: item.id }, w.featured(name));
  }

  async function notThese() {
    await deny(site, name, ...sheet.picked().map((item) => item.id));
    await anew();
  }

  async function hide() {
    await change("people/hide", { hidden: !person.hidden }, person.hidden ? w.shown(name) : w.wasHidden(name));
    if (unfocused()) hiding.focus({ preventScroll: true }); // it was put in its place anew
  }

  async function change(path, values, said) {
    try {
      await call(path, json("POST", { site, identity: name, ...values }));
      notice(said);
    } catch (error) {
      notice(error.message, "bad");
    }
    await anew();
  }

  fill(main, heading, actions, changes.element, chosen, map.element, sheet.element);
  await refresh();
  on("back", back);
  return () => { off("back", back); sheet.end(); map.end(); };
}

function headingOf(person, site) {
  const seen = person.first_seen && w.seen(time(person.first_seen), time(person.last_seen));
  return [
    h("p.back", {}, h("a", { href: address("people", site) }, w.all)),
    h("h1", {}, person.identity, person.hidden && [" ", h("span.tag", {}, w.hidden)]),
    h("p.lead", {}, [words.crops(person.items), person.cameras.join(", "), seen].filter(Boolean).join(" · ")),
  ];
}

const gone = (site, name) => [
  h("p.back", {}, h("a", { href: address("people", site) }, w.all)),
  h("h1", {}, name),
  h("p.lead", { role: "status" }, w.gone(name, site)),
];

const captionOf = (item, person) => [
  h("b", {}, item.camera ?? words.noCamera),
  h("span", {}, item.id === person?.feature ? w.stands : item.captured_at ? time(item.captured_at) : ""),
];

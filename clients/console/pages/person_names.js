// Dialogs that give a person, or some crops of one, another name; where somebody bears it, both are compared first.
import { call, Failure, json, thumbnail } from "../api.js";
import { image } from "../crop.js";
import { open } from "../dialogs.js";
import { field, fill, h, notice } from "../dom.js";
import { words } from "../words.js";

const w = words.people;
const ALIKE = 5; // people that are suggested

/** The person of a name; null where nobody at the site bears it. */
export async function personNamed(site, identity) {
  const terms = new URLSearchParams({ site, identity, include_hidden: "true" });
  return (await call(`people?${terms}`)).people[0] ?? null;
}

/**
 * Asks for another name of a person. Where somebody bears it, the dialog shows how alike both are and offers to
 * merge them. Returns {to}, the name that the person has then, null where nothing was changed, and {refused}:
 * whether the server refused something that the page had offered.
 */
export async function askName(site, person) {
  const name = person.identity;
  const result = await asking(w.renameTitle(name), person.identity, w.renameGo, {
    async take(to, { say }) {
      try {
        await call("people/rename", json("POST", { site, identity: name, to }));
        notice(w.renamed(name, to));
        return { to };
      } catch (error) {
        if (error.status !== 409 || error.facts.items === undefined) throw error;
        const other = await personNamed(site, to);
        if (!other) throw error;
        say(comparison(person, other, error.facts), w.merge(name, to), async () => {
          await call("people/merge", json("POST", { site, identity: name, into: to }));
          notice(w.merged(name, to));
          return { to };
        });
        return null;
      }
    },
    below: (choose) => lookAlikes(site, person, choose),
  });
  return { to: null, refused: false, ...result };
}

/**
 * Asks whom some crops show, of a person or without a name: somebody new, or somebody known. Returns {to}, the name
 * that they have then, null where nothing was changed, and {refused} as above.
 */
export async function askWhose(site, items, person = null) {
  const title = person ? w.splitTitle(items.length, person.identity) : w.whoseTitle(items.length);
  const go = person ? w.split(items.length) : words.unknown.nameSome(items.length);
  const give = async (to) => {
    const revisions = Object.fromEntries(items.map((item) => [item.id, item.revision]));
    const body = { site, items: Object.keys(revisions), values: { identity: to }, revisions };
    await call("gallery/update", json("POST", body));
    notice(w.wasSplit(items.length, to));
    return { to };
  };
  const result = await asking(title, "", go, {
    async take(to, { say }) {
      const known = to === person?.identity ? null : await personNamed(site, to);
      if (known) {
        say(h("p", {}, w.splitKnown(to, known.items)), w.give(items.length, to), () => give(to));
        return null;
      }
      if (!person) return give(to);
      const body = { site, identity: person.identity, items: items.map((item) => item.id), to };
      await call("people/split", json("POST", body));
      notice(w.wasSplit(items.length, to));
      return { to };
    },
  });
  return { to: null, refused: false, ...result };
}

/**
 * A dialog with a box for a name. `take(name, {say})` gives it and returns what the dialog ends with; or it calls
 * `say(text, button, go)`, which offers something else, and returns null. What the server refuses is said in the
 * dialog, where what was typed stays.
 */
async function asking(title, value, label, { take, below }) {
  let refused = false;
  const result = await open(title, (close) => {
    const input = h("input", { type: "text", value, required: true, autofocus: true, spellcheck: false, autocomplete: "off", oninput: () => offer(null) });
    const error = h("p.error", { role: "alert" });
    const place = h("div.offer", { role: "status" });
    const buttons = () => form.querySelectorAll("button");

    async function run(work) {
      error.textContent = "";
      buttons().forEach((button) => { button.disabled = true; });
      try {
        const ended = await work();
        if (ended) close(ended);
      } catch (failure) {
        if (!(failure instanceof Failure)) throw failure;
        refused ||= [404, 409].includes(failure.status);
        error.textContent = failure.message;
      } finally {
        buttons().forEach((button) => { button.disabled = false; });
      }
    }

    const go = h("button.main", { type: "submit" }, label);
    const offer = (...shown) => {
      fill(place, shown);
      go.classList.toggle("main", !place.hasChildNodes());
    };
    const say = (text, name, work) => offer(text, h("button.main", { type: "button", onclick: () => run(work) }, name));
    const submit = async () => {
      offer(null);
      const name = input.value.trim();
      if (name) await run(() => take(name, { say }));
    };
    const form = h("form", { onsubmit: (event) => { event.preventDefault(); submit(); } },
      field(w.name, input),
      error,
      place,
      h("div.actions", {}, go, h("button", { type: "button", onclick: () => close(null) }, words.cancel)),
      below?.((name) => { input.value = name; submit(); }));
    return form;
  }, { wide: Boolean(below) });
  return { refused, ...result };
}

/** Two people beside each other, and how alike they are. */
function comparison(person, other, alike) {
  const side = ({ identity, feature, items }) => h("figure", {},
    h("span.frame", {}, image(thumbnail(feature), "")),
    h("figcaption.caption", {}, h("b", {}, identity), h("span", {}, words.crops(items))));
  return h("div.versus", {}, side(person), side(other),
    h("div", {}, h("p", {}, w.taken(other.identity)), h("p", {}, alike.mean === undefined ? w.alikeUnknown : w.alike(alike.mean, alike.best)), h("p.soft.small", {}, w.mergeText(other.identity))));
}

/** People who look most like the picture of a person, each as a button; filled when the server has answered. */
function lookAlikes(site, person, choose) {
  const place = h("div.alikes", {});
  const draw = async () => {
    const form = new FormData();
    const asked = { site, item_id: person.feature, group_by: "identity", top_k: String(ALIKE), include_hidden: "true", without_metadata: "true",
      filter: JSON.stringify({ identity: { not: [person.identity, null] } }) };
    for (const [name, value] of Object.entries(asked)) form.append(name, value);
    const { people } = await call("query", { method: "POST", body: form });
    fill(place, people.length && [h("h3", {}, w.looksLike), h("div.strip", {}, people.map((each) => h("button.crop", { type: "button", onclick: () => choose(each.identity) },
      h("span.frame", {}, image(thumbnail(each.items[0].id), "")),
      h("span.caption", {}, h("b", {}, each.identity), h("span", {}, w.score(each.score))))))]);
  };
  draw().catch(() => {}); // suggestions only: a name can be typed all the same
  return place;
}

// An enrolled crop: as a picture in a row, and looked at closely.
import { call, json, may, picture, thumbnail } from "./api.js";
import { open, sure } from "./dialogs.js";
import { h, notice } from "./dom.js";
import { go } from "./main.js";
import { time, words } from "./words.js";

/** The person of an item, in words. */
export const personOf = (item) => item.identity ?? words.unnamed;
const cameraOf = (item) => item.camera ?? words.noCamera;

/** An image that says so where it cannot be had; `instead` is tried first, for what this browser cannot show. */
export function image(source, alt, instead = null) {
  const failed = (event) => {
    if (instead) {
      event.target.src = instead;
      instead = null;
      return;
    }
    event.target.dataset.failed = "";
    event.target.hidden = true;
  };
  return [h("img", { src: source, alt, loading: "lazy", decoding: "async", onerror: failed }), h("span.none", { "aria-hidden": "true" }, words.noPicture)];
}

/**
 * A crop as a button with its camera and time below it. `erased` is called once it is, `renamed` after somebody said
 * here that it is not the person whose name it bears.
 */
export function cropButton(item, site, erased, caption = null, renamed = erased) {
  return h("button.crop", { type: "button", onclick: () => look(item, site, erased, renamed) },
    h("span.frame", {}, image(thumbnail(item.id), "")),
    h("span.caption", {}, caption ?? [h("span.unseen", {}, `${personOf(item)}, `), h("b", {}, cameraOf(item)), item.captured_at && h("span", {}, time(item.captured_at))]));
}

let looks = 0;

async function look({ id }, site, erased, renamed) {
  const mine = ++looks;
  const here = location.hash;
  const late = () => mine !== looks || here !== location.hash; // another crop or page was asked for meanwhile
  let item;
  try {
    item = await call(`gallery/${id}`); // as it is by now: another tab may have changed or erased it
    if (late()) return;
  } catch (error) {
    if (late()) return;
    notice(error.message, "bad");
    if (error.status === 404) erased?.({ id });
    return;
  }
  const facts = words.crop.facts;
  const rows = [
    [facts.person, personOf(item)],
    [facts.camera, cameraOf(item)],
    [facts.captured, item.captured_at ? time(item.captured_at, true) : words.noTime],
    item.enrolled_at && [facts.enrolled, time(item.enrolled_at, true)],
    ...Object.entries(item.metadata ?? {}).map(([name, value]) => [name, String(value)]),
    [facts.id, h("code", {}, item.id)],
  ].filter(Boolean);
  const chosen = await open(words.crop.title, (close) => h("div.closer", {},
    h("div.frame.large", {}, image(picture(item.id), words.crop.picture(personOf(item), cameraOf(item)), thumbnail(item.id))),
    h("div", {},
      h("dl", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      h("div.actions", {},
        h("button.main", { type: "button", onclick: () => close("search") }, words.crop.search),
        may("write") && item.identity !== null && h("button", { type: "button", onclick: () => close("deny") }, words.crop.deny(item.identity)),
        may("write") && h("button.bad", { type: "button", onclick: () => close("erase") }, words.crop.erase)))),
  { wide: true });
  if (chosen === "search") go("search", site, `?item=${item.id}`);
  if (chosen === "deny") {
    await deny(site, item.identity, item.id);
    renamed?.(item);
  }
  if (chosen === "erase") await erase(item, site, erased);
}

/**
 * Remembers that items do not show a person, whose name they lose if they bear it. Says so; or why not, of how many
 * it is noted all the same, and leaves the others as they are.
 */
export async function deny(site, identity, ...items) {
  let done = 0;
  try {
    for (const item of items) {
      await call("people/different", json("POST", { site, identity, item }));
      done += 1;
    }
  } catch (error) {
    notice(error.message, "bad");
  }
  if (done) notice(items.length === 1 ? words.crop.denied(identity) : words.crop.deniedAll(identity, done));
}

async function erase(item, site, erased) {
  if (!(await sure(words.crop.eraseTitle, words.crop.eraseText, words.crop.erase))) return;
  try {
    const answer = await call(`gallery/${item.id}?site=${encodeURIComponent(site)}`, { method: "DELETE" });
    notice(words.crop.erased(answer.purged));
  } catch (error) {
    notice(error.message, "bad");
    if (error.status !== 404) return; // another tab has erased it: it is gone all the same
  }
  erased?.(item);
}

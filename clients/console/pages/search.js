// Search: crops of one person, or an enrolled item, against a site's people.
import { call, may, off, on, thumbnail } from "../api.js";
import { deny } from "../crop.js";
import { open, copyable } from "../dialogs.js";
import { announce, fill, h, notice } from "../dom.js";
import { filterChips } from "../filters.js";
import { lastChanges } from "../journal.js";
import { go } from "../main.js";
import { words } from "../words.js";
import { pythonOf, curlOf } from "./search_code.js";
import { results, waiting } from "./search_results.js";

const MOST_CROPS = 16;
const FIRST_PEOPLE = 8;

export async function render(main, { site, query }) {
  const overview = await call(`console/sites/${encodeURIComponent(site)}`);
  const cameras = overview.cameras.map((each) => each.camera);
  const asked = { crops: [], item: query.get("item"), camera: "", notThere: false, filter: {}, people: FIRST_PEOPLE };
  let running = null;
  let latest = null;
  let waits = false; // for the connection

  const shown = h("div.results", {}, h("p.soft.idle", {}, words.search.none));
  const well = h("section.well", { "aria-label": words.search.crops(2) });
  const code = h("button.quiet", { type: "button", hidden: true, onclick: () => showCode(asked, site) }, words.search.code);
  const changes = lastChanges(site, () => again());
  const again = () => (asked.crops.length || asked.item ? search() : undefined);

  async function search() {
    running?.abort();
    const mine = running = new AbortController();
    waits = false;
    if (!latest) fill(shown, waiting());
    shown.setAttribute("aria-busy", "true");
    const began = performance.now();
    try {
      const answer = await call("query", { method: "POST", body: formOf(asked, site), signal: mine.signal });
      if (running !== mine) return;
      latest = answer;
      code.hidden = false;
      const more = answer.people.length >= asked.people ? () => { asked.people *= 2; search(); } : null;
      fill(shown, results(answer, performance.now() - began, { site, more, erased: corrected, deny: asked.item && may("write") ? notThis : null }));
      announce(shown.querySelector("h2").textContent);
    } catch (error) {
      if (error.name === "AbortError" || running !== mine) return;
      latest = null;
      waits = error.code === "lost";
      fill(shown, h("div.verdict", {}, h("p.error", { role: "alert" }, error.message),
        h("button", { type: "button", onclick: search }, words.again)));
    } finally {
      if (running === mine) shown.removeAttribute("aria-busy");
    }
  }

  /** The answer as it is after a correction, and what undoes that. */
  async function corrected() {
    await Promise.all([again(), changes.refresh()]);
  }

  /** The enrolled crop that is the query does not show this person. */
  async function notThis(name) {
    await deny(site, name, asked.item);
    changes.show();
    await corrected();
  }

  function take(files) {
    const pictures = [...files].filter((file) => file.type.startsWith("image/") || /\.(heic|heif|avif)$/i.test(file.name));
    const other = [...files].find((file) => !pictures.includes(file));
    if (other) notice(words.search.notPicture(other.name), "bad");
    if (!pictures.length) return;
    asked.item = null;
    asked.crops.push(...pictures);
    if (asked.crops.length > MOST_CROPS) notice(words.search.tooMany(MOST_CROPS), "bad");
    asked.crops.length = Math.min(asked.crops.length, MOST_CROPS);
    asked.people = FIRST_PEOPLE;
    draw();
    search();
  }

  function clear() {
    running?.abort();
    waits = false;
    Object.assign(asked, { crops: [], item: null, people: FIRST_PEOPLE });
    latest = null;
    code.hidden = true;
    fill(shown, h("p.soft.idle", {}, words.search.none));
    draw();
    if (query.get("item")) go("search", site);
  }

  const urls = [];
  function draw() {
    urls.splice(0).forEach(URL.revokeObjectURL);
    const chooser = h("input.unseen", { type: "file", accept: "image/*,.heic,.avif", multiple: true, tabIndex: -1, "aria-hidden": "true",
      onchange: () => take(chooser.files) });
    const pick = h("button.link", { type: "button", onclick: () => chooser.click() },
      asked.crops.length ? words.search.add : words.search.pick);
    const prompt = h("p.prompt", {}, h("b", {}, words.search.drop), " ", words.search.or, " ", pick, ".", chooser);
    if (!asked.crops.length && !asked.item) {
      well.classList.remove("filled");
      fill(well, h("div.ghosts", { "aria-hidden": "true" }, h("i"), h("i"), h("i")), prompt, h("p.hint", {}, words.search.hint));
      return;
    }
    well.classList.add("filled");
    const heroes = asked.item ? [itemHero(asked.item)] : asked.crops.map((file, place) => {
      urls.push(URL.createObjectURL(file));
      const remove = () => { asked.crops.splice(place, 1); if (asked.crops.length) { draw(); search(); } else clear(); };
      return h("figure.hero", {}, h("img", { src: urls.at(-1), alt: file.name }),
        h("button.quiet.icon.remove", { type: "button", "aria-label": words.search.remove(file.name), onclick: remove }, "×"));
    });
    const title = asked.item ? words.search.item : words.search.crops(asked.crops.length);
    fill(well, h("div.heroes", {}, heroes), h("p", {}, h("b", {}, title)), h("p.prompt.soft", {}, pick, chooser),
      h("button.quiet", { type: "button", onclick: clear }, words.search.clear));
  }

  const back = () => { if (waits) search(); };
  on("back", back);
  const stop = dropping(main, well, take);
  fill(main,
    h("h1", {}, words.search.title),
    h("div.search", {},
      h("div.ask", {}, well, seenAt(cameras, asked, again)),
      h("div.answer", {},
        h("div.bar", {}, filterChips(cameras, (filter) => { asked.filter = filter; again(); }), code),
        shown,
        changes.element)));
  draw();
  if (asked.item) search();
  return () => { running?.abort(); off("back", back); stop(); urls.forEach(URL.revokeObjectURL); };
}

const itemHero = (id) => h("figure.hero", {}, h("img", { src: thumbnail(id), alt: words.search.item }));

/** Where the query was seen, which is no filter: it chooses how the crop is read. */
function seenAt(cameras, asked, again) {
  const named = cameras.filter((camera) => camera !== null);
  if (!named.length) return null;
  const box = h("input", { type: "checkbox", disabled: true, onchange: () => { asked.notThere = box.checked; again(); } });
  const choose = h("select", { id: "seen-at", onchange: () => {
    asked.camera = choose.value;
    box.disabled = !choose.value;
    if (!choose.value) box.checked = asked.notThere = false;
    again();
  } }, h("option", { value: "" }, words.search.anyCamera), named.map((name) => h("option", { value: name }, name)));
  return h("div.seen", {}, h("label", { htmlFor: "seen-at" }, words.search.seenAt), choose,
    h("label.check", {}, box, words.search.notThere));
}

function formOf(asked, site) {
  const form = new FormData();
  for (const [name, value] of fieldsOf(asked, site)) form.append(name, value);
  asked.crops.forEach((file) => form.append("images", file, file.name || "crop"));
  return form;
}

/** What is sent beside the crops. */
function fieldsOf(asked, site) {
  const fields = [["site", site], ["group_by", "identity"], ["top_k", String(asked.people)]];
  if (asked.item) fields.push(["item_id", asked.item]);
  if (asked.camera && !asked.item) fields.push(["query_camera", asked.camera]);
  if (asked.notThere && (asked.camera || asked.item)) fields.push(["exclude_same_camera", "true"]);
  if (Object.keys(asked.filter).length) fields.push(["filter", JSON.stringify(asked.filter)]);
  return fields;
}

function showCode(asked, site) {
  const names = asked.crops.map((file) => file.name || "crop.png");
  const fields = fieldsOf(asked, site);
  const base = new URL(".", document.baseURI).href.replace(/\/$/, "");
  return open(words.search.codeTitle, () => [
    copyable("curl", curlOf(base, fields, names)),
    copyable("Python", pythonOf(base, fields, names)),
  ], { wide: true });
}

/** Files that are dropped anywhere on the page, or pasted. Returns what ends it. */
function dropping(main, well, take) {
  const over = (event) => { event.preventDefault(); well.classList.add("over"); };
  const out = () => well.classList.remove("over");
  const drop = (event) => { event.preventDefault(); out(); take(event.dataTransfer.files); };
  const paste = (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); };
  const listeners = { dragover: over, dragleave: out, drop };
  for (const [name, listener] of Object.entries(listeners)) main.addEventListener(name, listener);
  document.addEventListener("paste", paste);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) main.removeEventListener(name, listener);
    document.removeEventListener("paste", paste);
  };
}

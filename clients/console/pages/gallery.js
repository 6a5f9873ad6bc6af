// The gallery as a contact sheet: only what is in sight is in the page, however many items there are.
import { call, may } from "../api.js";
import { cropButton, personOf } from "../crop.js";
import { sure } from "../dialogs.js";
import { announce, fill, h, notice } from "../dom.js";
import { filterChips } from "../filters.js";
import { time, words } from "../words.js";

const CELL = { least: 104, caption: 44, gap: 12 }; // pixels; a crop is twice as high as wide
const PAGE = 500; // items of one request

export async function render(main, { site }) {
  const overview = await call(`console/sites/${encodeURIComponent(site)}`);
  const sheet = contactSheet(site);
  const choose = may("write") ? chooser(site, sheet) : null;
  const cameras = overview.cameras.map((each) => each.camera);
  fill(main,
    h("h1", {}, words.gallery.title),
    h("p.lead", {}, words.gallery.text(overview.site.items, site)),
    h("div.bar", {}, filterChips(cameras, (filter) => sheet.filter(filter)), choose),
    sheet.element);
  await sheet.filter({});
  return sheet.end;
}

/** A grid whose cells are made for the rows in sight alone. */
function contactSheet(site) {
  const canvas = h("div.canvas", {});
  const empty = h("p.soft", { hidden: true }, words.gallery.empty);
  const element = h("section.sheet", { "aria-label": words.gallery.sheet }, canvas, empty);
  const cells = new Map(); // place -> element
  const chosen = new Set();
  let items = [];
  let cursor = null;
  let where = {};
  let loading = null;
  let round = 0;
  let columns = 1;
  let choosing = null;
  let width = CELL.least;
  let rowHeight = 0;

  async function filter(wanted) {
    where = wanted;
    round += 1;
    [items, cursor, loading] = [[], null, null];
    chosen.clear();
    redraw();
    await load();
    empty.hidden = items.length > 0;
  }

  async function load() {
    if (loading) return loading;
    const mine = round;
    loading = (async () => {
      const terms = new URLSearchParams({ site, limit: String(PAGE), without_metadata: "true" });
      if (Object.keys(where).length) terms.set("filter", JSON.stringify(where));
      if (cursor) terms.set("cursor", cursor);
      try {
        const page = await call(`gallery?${terms}`);
        if (mine !== round) return;
        items = items.concat(page.items);
        cursor = page.cursor;
        layout();
      } catch (error) {
        if (error.name !== "AbortError") notice(error.message, "bad");
      } finally {
        if (mine === round) loading = null;
      }
    })();
    return loading;
  }

  function layout() {
    const room = canvas.clientWidth + CELL.gap;
    columns = Math.max(1, Math.floor(room / (CELL.least + CELL.gap)));
    width = Math.floor(room / columns) - CELL.gap;
    rowHeight = 2 * width + CELL.caption + CELL.gap;
    canvas.style.height = `${Math.ceil(items.length / columns) * rowHeight}px`;
    draw();
  }

  function redraw() {
    cells.forEach((cell) => cell.remove());
    cells.clear();
    layout();
  }

  function draw() {
    const top = -canvas.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / rowHeight) - 1) * columns;
    const last = Math.min(items.length, (Math.ceil((top + innerHeight) / rowHeight) + 1) * columns);
    for (const [place, cell] of cells) {
      if ((place < first || place >= last) && !cell.contains(document.activeElement)) {
        cell.remove();
        cells.delete(place);
      }
    }
    for (let place = first; place < last; place += 1) if (!cells.has(place)) put(place);
    if (cursor && last > items.length - 3 * columns) load();
  }

  function put(place) {
    const item = items[place];
    const caption = [h("b", {}, personOf(item)), h("span", {}, `${item.camera ?? words.noCamera}${item.captured_at ? ` · ${time(item.captured_at)}` : ""}`)];
    const cell = cropButton(item, site, () => drop([item.id]), caption);
    cell.addEventListener("click", (event) => {
      if (!choosing) return;
      event.stopImmediatePropagation();
      if (chosen.has(item.id)) chosen.delete(item.id); else chosen.add(item.id);
      cell.setAttribute("aria-pressed", String(chosen.has(item.id)));
      choosing();
    }, { capture: true });
    if (choosing) cell.setAttribute("aria-pressed", String(chosen.has(item.id)));
    cell.style.width = `${width}px`;
    cell.style.left = `${(place % columns) * (width + CELL.gap)}px`;
    cell.style.top = `${Math.floor(place / columns) * rowHeight}px`;
    canvas.append(cell);
    cells.set(place, cell);
  }

  /** Takes erased items out of the sheet. */
  function drop(ids) {
    const gone = new Set(ids);
    items = items.filter((item) => !gone.has(item.id));
    ids.forEach((id) => chosen.delete(id));
    redraw();
  }

  /** Whether a click chooses; `told` is called after each. */
  function choosingWith(told) {
    choosing = told;
    if (!told) chosen.clear();
    redraw();
  }

  const resized = () => redraw();
  addEventListener("scroll", draw, { passive: true });
  addEventListener("resize", resized);
  const end = () => { round += 1; removeEventListener("scroll", draw); removeEventListener("resize", resized); };
  return { element, filter, drop, chosen, choosingWith, end };
}

/** Choosing several crops and erasing them. */
function chooser(site, sheet) {
  const count = h("span.soft", { role: "status" });
  const erase = h("button.bad", { type: "button", hidden: true, onclick: () => eraseChosen(site, sheet, erase) });
  const told = () => {
    count.textContent = sheet.chosen.size ? words.gallery.chosen(sheet.chosen.size) : "";
    erase.hidden = !sheet.chosen.size;
    erase.textContent = words.gallery.erase(sheet.chosen.size);
  };
  const toggle = h("button.quiet", { type: "button", "aria-pressed": "false", onclick: () => {
    const on = toggle.getAttribute("aria-pressed") === "false";
    toggle.setAttribute("aria-pressed", String(on));
    toggle.textContent = on ? words.gallery.done : words.gallery.choose;
    sheet.choosingWith(on ? told : null);
    told();
  } }, words.gallery.choose);
  return h("div.chooser", {}, count, erase, toggle);
}

async function eraseChosen(site, sheet, button) {
  const ids = [...sheet.chosen];
  const go = words.gallery.erase(ids.length);
  if (!(await sure(words.gallery.eraseTitle(ids.length), words.gallery.eraseText, go))) return;
  button.disabled = true;
  const erased = [];
  try {
    for (const id of ids) {
      try {
        await call(`gallery/${id}?site=${encodeURIComponent(site)}`, { method: "DELETE" });
      } catch (error) {
        if (error.status !== 404) throw error; // it was erased elsewhere
      }
      erased.push(id);
    }
    announce(words.gallery.erased(erased.length));
    notice(words.gallery.erased(erased.length));
  } catch (error) {
    notice(error.message, "bad");
  } finally {
    button.disabled = false;
    button.hidden = true;
    sheet.drop(erased);
  }
}

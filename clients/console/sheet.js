// A contact sheet: only the rows in sight are in the page, however many entries there are.
import { off, on } from "./api.js";
import { fill, h, notice } from "./dom.js";
import { words } from "./words.js";

const GAP = 12; // pixels between cells; a picture is twice as high as wide

/**
 * A grid of pictures with a caption below each.
 *
 * label: what the sheet is called; empty: said where it has no entry; caption: pixels below a picture.
 * pageOf(cursor): a page as {entries, cursor}, cursor null on the last; keyOf(entry): what tells entries apart;
 * cellOf(entry): its element.
 */
export function sheetOf({ label, empty, pageOf, keyOf, cellOf, least = 104, caption = 44 }) {
  const canvas = h("div.canvas", {});
  const none = h("p.soft", { hidden: true }, empty);
  const element = h("section.sheet", { "aria-label": label }, canvas, none);
  const cells = new Map(); // place -> element
  const chosen = new Set(); // keys
  let entries = [];
  let cursor = null;
  let loading = null;
  let begun = false;
  let round = 0;
  let waits = false; // for the connection
  let columns = 1;
  let choosing = null;
  const followers = new Set(); // called when other entries are chosen
  let width = least;
  let rowHeight = 0;

  /** Begins anew: what is shown stays until the first page is there, what was chosen stays chosen. */
  async function reload() {
    round += 1;
    [cursor, loading, begun] = [null, null, false];
    await load();
  }

  async function load() {
    if (loading) return loading;
    const mine = round;
    loading = (async () => {
      try {
        const page = await pageOf(cursor);
        if (mine !== round) return;
        waits = false;
        entries = begun ? entries.concat(page.entries) : page.entries;
        [cursor, loading] = [page.cursor, null];
        none.hidden = entries.length > 0 || cursor !== null;
        const first = !begun;
        begun = true;
        if (first) redraw();
        else layout();
        tell();
      } catch (error) {
        if (mine !== round) return;
        loading = null;
        waits = error.code === "lost";
        notice(error.message, "bad");
      }
    })();
    return loading;
  }

  function layout() {
    const room = canvas.clientWidth + GAP;
    columns = Math.max(1, Math.floor(room / (least + GAP)));
    width = Math.floor(room / columns) - GAP;
    rowHeight = 2 * width + caption + GAP;
    canvas.style.height = `${Math.ceil(entries.length / columns) * rowHeight}px`;
    draw();
  }

  function redraw() {
    const held = [...cells].find(([, cell]) => cell.contains(document.activeElement))?.[0];
    fill(canvas);
    cells.clear();
    layout();
    if (held !== undefined && entries.length) moveTo(Math.min(held, entries.length - 1), { preventScroll: true });
  }

  /** The focus on an entry, which is scrolled into sight unless the options say otherwise. */
  function moveTo(place, options = {}) {
    if (!cells.has(place)) put(place);
    cells.get(place).focus(options);
    draw();
  }

  /** Arrow keys go from entry to entry; Space and Enter are the buttons' own. */
  function pressed(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const from = [...cells].find(([, cell]) => cell.contains(event.target))?.[0];
    if (from === undefined || !(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const to = from + steps[event.key];
    if (to >= 0 && to < entries.length) moveTo(to);
  }

  function tell() {
    choosing?.();
    followers.forEach((told) => told());
  }

  function draw() {
    const top = -canvas.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / rowHeight) - 1) * columns;
    const last = Math.min(entries.length, (Math.ceil((top + innerHeight) / rowHeight) + 1) * columns);
    for (const [place, cell] of cells) {
      if ((place < first || place >= last) && !cell.contains(document.activeElement)) {
        cell.remove();
        cells.delete(place);
      }
    }
    for (let place = first; place < last; place += 1) if (!cells.has(place)) put(place);
    if (cursor && last > entries.length - 3 * columns) load();
  }

  function put(place) {
    const entry = entries[place];
    const key = keyOf(entry);
    const cell = cellOf(entry);
    cell.addEventListener("click", (event) => {
      if (!choosing) return;
      event.stopImmediatePropagation();
      if (chosen.has(key)) chosen.delete(key); else chosen.add(key);
      cell.setAttribute("aria-pressed", String(chosen.has(key)));
      tell();
    }, { capture: true });
    if (choosing) cell.setAttribute("aria-pressed", String(chosen.has(key)));
    cell.style.width = `${width}px`;
    cell.style.left = `${(place % columns) * (width + GAP)}px`;
    cell.style.top = `${Math.floor(place / columns) * rowHeight}px`;
    const behind = Math.min(...[...cells.keys()].filter((each) => each > place)); // Tab goes by this order
    canvas.insertBefore(cell, cells.get(behind) ?? null);
    cells.set(place, cell);
  }

  /** Takes entries out of the sheet. */
  function drop(keys) {
    const gone = new Set(keys);
    entries = entries.filter((entry) => !gone.has(keyOf(entry)));
    keys.forEach((key) => chosen.delete(key));
    none.hidden = entries.length > 0 || cursor !== null;
    redraw();
    tell();
  }

  /** Chooses entries by their keys, or gives them up; pages that were not asked for yet are, until all are there. */
  async function choose(keys, on = true) {
    keys.forEach((key) => (on ? chosen.add(key) : chosen.delete(key)));
    for (const [place, cell] of cells) cell.setAttribute("aria-pressed", String(chosen.has(keyOf(entries[place]))));
    tell();
    const missing = () => {
      const there = new Set(entries.map(keyOf));
      return keys.some((key) => !there.has(key));
    };
    while (on && cursor !== null && missing()) {
      const before = cursor;
      await load();
      if (cursor === before) return; // it was said why
    }
  }

  /** The entries that are chosen and still there. */
  const picked = () => entries.filter((entry) => chosen.has(keyOf(entry)));

  /** Whether a click chooses; `told` is called after each. Without it nothing is chosen any more. */
  function choosingWith(told) {
    choosing = told;
    if (!told) chosen.clear();
    redraw();
    followers.forEach((follow) => follow());
  }

  const back = () => { if (waits) load(); };

  canvas.addEventListener("keydown", pressed);
  addEventListener("scroll", draw, { passive: true });
  addEventListener("resize", redraw);
  on("back", back);
  const end = () => {
    round += 1;
    removeEventListener("scroll", draw);
    removeEventListener("resize", redraw);
    off("back", back);
  };
  return { element, reload, drop, picked, choose, chosen: () => chosen, others: () => entries.filter((entry) => !chosen.has(keyOf(entry))),
    follow: (told) => followers.add(told), choosingWith, end };
}

/**
 * Choosing several entries of a sheet, and what can be done with them.
 *
 * actions: each with label(count), kind ("bad" where something goes for good), go(), which is waited for, and
 * most: how many it takes at most. Returns {element, begin}; begin() has a click choose from now on.
 */
export function chooser(sheet, actions) {
  const count = h("span.soft", { role: "status" });
  const buttons = actions.map(({ kind, go }) => {
    const button = h(`button${kind ? `.${kind}` : ""}`, { type: "button", hidden: true, onclick: async () => {
      button.disabled = true;
      try {
        await go();
      } finally {
        button.disabled = false;
      }
    } });
    return button;
  });
  const told = () => {
    const { length } = sheet.picked();
    count.textContent = length ? words.gallery.chosen(length) : "";
    actions.forEach(({ label, most = Infinity }, place) => {
      buttons[place].hidden = !length || length > most;
      buttons[place].textContent = label(length);
    });
  };
  const isOn = () => toggle.getAttribute("aria-pressed") === "true";
  const turn = (on) => {
    toggle.setAttribute("aria-pressed", String(on));
    toggle.textContent = on ? words.gallery.done : words.gallery.choose;
    sheet.choosingWith(on ? told : null);
    told();
  };
  const toggle = h("button.quiet", { type: "button", "aria-pressed": "false", onclick: () => turn(!isOn()) }, words.gallery.choose);
  return { element: h("div.chooser", {}, count, buttons, toggle), begin: () => isOn() || turn(true) };
}

// The last corrections of a site, each with the button that undoes it.
import { call, may } from "./api.js";
import { fill, h, notice, unfocused } from "./dom.js";
import { time, words } from "./words.js";

const LINES = 8; // entries that are shown at once
const w = words.journal;

/**
 * What was changed last, folded away. `undone` is called after an undo; `refresh()` reads it anew where it is open,
 * `show()` opens it.
 */
export function lastChanges(site, undone) {
  const list = h("ol.lines", {});
  const more = h("button.small", { type: "button", onclick: () => load() }, words.more);
  const summary = h("summary", {}, w.title);
  const element = h("details.changes", { ontoggle: () => refresh() }, summary, list, more);
  let cursor = null;
  let round = 0; // an answer to an earlier one is no longer wanted

  async function load() {
    const mine = ++round;
    try {
      const page = await call(`journal?${new URLSearchParams({ site, limit: String(LINES), ...(cursor && { cursor }) })}`);
      if (mine !== round) return;
      if (!cursor) fill(list, !page.entries.length && h("li.soft", {}, w.none));
      list.append(...page.entries.map((entry) => line(entry, () => undo(entry))));
      cursor = page.cursor;
      more.hidden = cursor === null;
    } catch (error) {
      notice(error.message, "bad");
    }
  }

  async function refresh() {
    if (!element.open) return;
    cursor = null;
    await load();
  }

  async function undo({ entry }) {
    try {
      await undoEntry(entry);
      await undone();
    } catch (error) {
      notice(error.message, "bad"); // it names the entry that has to be undone first
    }
    await refresh();
    if (unfocused()) summary.focus(); // the button that had it is a new one
  }

  return { element, refresh, show: () => { element.open = true; } };
}

/** Undoes a correction and says so. Throws Failure. */
export async function undoEntry(entry) {
  await call(`journal/${entry}/undo`, { method: "POST" });
  notice(w.undone(entry));
}

function line(entry, undo) {
  return h("li.change", {},
    h("div", {},
      h("p", {}, h("span.soft", {}, `${entry.entry} `), w.what(entry)),
      h("p.soft.small", {}, w.by(entry.actor, time(entry.at)))),
    entry.undone_by !== null ? h("span.tag", {}, w.wasUndone(entry.undone_by))
      : may("write") && h("button.small", { type: "button", "aria-label": w.undoThis(entry.entry), onclick: undo }, w.undo));
}

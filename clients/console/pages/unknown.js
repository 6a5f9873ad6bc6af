// People without a name: clusters of crops that look like one person, the largest first.
import { call, off, on } from "../api.js";
import { fill, h, notice } from "../dom.js";
import { lastChanges } from "../journal.js";
import { words } from "../words.js";
import { clusterRow } from "./unknown_cluster.js";

const w = words.unknown;
const ROWS = 5; // clusters of one request

export async function render(main, { site, query }) {
  const lead = h("div", {});
  const linked = h("div", {}); // the cluster that a link leads to
  const list = h("ol.clusters", {});
  const more = h("button", { type: "button", onclick: () => load().catch(failed) }, words.more);
  const changes = lastChanges(site, begin);
  let rows = [];
  let first = null; // its row
  let found = null; // what the server said last of all groups
  let round = 0; // what an earlier question is answered is not shown after a later one
  let again = null; // what failed for lack of a connection

  /** All anew, as after an undo of something that is not on this page. */
  async function begin() {
    try {
      await load(true);
    } catch (error) {
      failed(error, begin);
    }
  }

  async function load(anew = false) {
    const mine = ++round;
    again = null;
    const page = await (anew ? clustersOf(site) : following());
    if (mine !== round) return;
    if (anew) {
      rows.forEach((row) => row.end());
      rows = [];
      fill(list);
    }
    for (const cluster of page.clusters) {
      if (first?.waits() && first.id() === cluster.cluster) continue;
      if (rows.some((row) => row.waits() && row.id() === cluster.cluster)) continue;
      const row = clusterRow(site, cluster, { named, changed });
      rows.push(row);
      list.append(row.element);
    }
    found = page;
    drawLead();
    more.hidden = page.cursor === null;
  }

  /** The clusters behind the last one that still waits for a name; from the first where none does. */
  async function following() {
    const last = rows.findLast((row) => row.waits());
    try {
      return await clustersOf(site, last?.id());
    } catch (error) {
      if (error.status !== 400 && error.status !== 404) throw error;
      return clustersOf(site); // somebody else has named or erased that one
    }
  }

  /** Puts the cluster of an item above the others. */
  async function showFirst(item) {
    try {
      const { cluster } = await call(`clusters/${encodeURIComponent(item)}?${new URLSearchParams({ site, limit: "1" })}`);
      first = clusterRow(site, cluster, { named, changed });
      fill(linked, h("ol.clusters", {}, first.element), h("h2", {}, w.others));
    } catch (error) {
      if (error.status !== 404) throw error;
      notice(w.fallen); // nobody's any more, or somebody's by now
    }
  }

  /** Says why there are not more; once the connection is back they are asked for again. */
  function failed(error, work = () => load().catch(failed)) {
    if (error.code === "lost") again = work;
    notice(error.message, "bad");
  }

  const back = () => again?.();

  const drawLead = () => fill(lead, leadOf(found, rows.length > 0));

  /** So many more crops are without a name. */
  function changed(count) {
    if (found) {
      found.unnamed += count;
      drawLead();
    } else {
      begin(); // the cluster that a link led to was named before the others were there
    }
    changes.refresh();
  }

  /** Goes on to the next row that waits, unless somebody has gone elsewhere meanwhile. */
  function named(row, count, here) {
    const next = rows.slice(rows.indexOf(row) + 1).find((each) => each.waits()) ?? rows.find((each) => each.waits());
    if (here && next) next.focus();
    else if (here && !more.hidden) more.focus();
    changed(-count);
  }

  more.hidden = true;
  fill(lead, h("p.lead", { role: "status" }, w.grouping)); // the first time takes seconds
  fill(main, h("h1", {}, w.title), lead, changes.element, linked, list, more);
  if (query.has("cluster")) await showFirst(query.get("cluster"));
  await (first ? begin() : load()); // a name that is typed already does not go where the others cannot be had
  on("back", back);
  return () => {
    round += 1;
    off("back", back);
    [first, ...rows].forEach((row) => row?.end());
  };
}

function clustersOf(site, cursor = null) {
  return call(`clusters?${new URLSearchParams({ site, limit: String(ROWS), ...(cursor && { cursor }) })}`);
}

function leadOf({ unnamed, looked_at: lookedAt, threshold, guess }, some) {
  return [
    h("p.lead", {}, some ? w.text(unnamed) : w.none(unnamed)),
    lookedAt < unnamed && h("p.soft", {}, w.newest(lookedAt)),
    some && h("p.soft.how", {}, guess ? w.guess(threshold) : w.measured(threshold)),
  ];
}

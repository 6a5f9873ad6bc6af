// One cluster: its crops, whom it looks most like, and the box for its name.
import { call, Failure, json, may, off, on, thumbnail } from "../api.js";
import { cropButton, image } from "../crop.js";
import { announce, field, fill, h, notice, unfocused } from "../dom.js";
import { undoEntry } from "../journal.js";
import { address } from "../main.js";
import { mapOf } from "../map.js";
import { chooser, sheetOf } from "../sheet.js";
import { shortTime, time, words } from "../words.js";
import { askWhose, personNamed } from "./person_names.js";

const w = words.unknown;
const SHOWN = 7; // crops of a row, before all are asked for

/**
 * A row that waits for a name. `named(row, count, here)` is called when its crops got one, `here` being whether
 * the focus was at it still; `changed(count)` when so many lost it by an undo; fewer than none where somebody else gave it.
 */
export function clusterRow(site, first, { named, changed }) {
  let cluster = first;
  let sheet = null;
  let map = null;
  let waits = true;
  let round = 0; // crops that were asked for earlier are not shown after later ones
  let undrawn = false; // for lack of a connection
  const title = h("h2", {});
  const facts = h("p.soft", {});
  const crops = h("div.crops", {});
  const nearest = h("div.nearest", {});
  const error = h("p.error", { role: "alert" });
  const input = h("input", { type: "text", spellcheck: false, autocomplete: "off", onkeydown: (event) => {
    if (event.key === "Escape") input.value = "";
  } });
  const go = h("button.main", { type: "submit" });
  const form = may("write") && h("form", { onsubmit: submit }, field(w.name, input), go);
  const asked = h("div.asked", {}, h("header", {}, title, facts), crops, h("div.side-by", {}, nearest, form), error);
  const element = h("li.cluster", {}, asked);
  const row = { element, id: () => cluster.cluster, waits: () => waits, focus: () => input.focus(), end: () => { off("back", back); fold(); } };

  function draw() {
    title.textContent = words.crops(cluster.items);
    facts.textContent = [cluster.cameras.join(", "), cluster.first_seen && words.people.seen(time(cluster.first_seen), time(cluster.last_seen))].filter(Boolean).join(" · ");
    go.textContent = w.go(cluster.items);
    drawCrops().catch((failure) => {
      undrawn = failure.code === "lost";
      if (!undrawn) error.textContent = failure.message; // the frame says it, and `back` draws again
    });
    drawNearest().catch(() => {}); // a suggestion only
  }

  const crop = (item) => cropButton(item, site, () => reread().catch(said),
    [h("b", {}, item.camera ?? words.noCamera), item.captured_at && h("span", {}, shortTime(item.captured_at))]);

  const back = () => { if (undrawn) draw(); };
  on("back", back);

  async function drawCrops() {
    const mine = ++round;
    undrawn = false;
    const { items } = await membersOf(site, cluster.cluster, null, SHOWN);
    if (mine !== round) return;
    fold();
    const hidden = cluster.items > items.length;
    fill(crops, h("div.strip", {}, items.map(crop)),
      (hidden || form) && h("button.small", { type: "button", onclick: showAll }, hidden ? w.all(cluster.items) : w.some));
  }

  /** Ends the sheet of all crops, and its map. */
  function fold() {
    sheet?.end();
    map?.end();
    sheet = map = null;
  }

  async function showAll() {
    round += 1;
    sheet = sheetOf({
      label: words.crops(cluster.items),
      empty: words.people.noCrops,
      pageOf: async (cursor) => {
        const page = await membersOf(site, cluster.cluster, cursor, 200);
        return { entries: page.items, cursor: page.cursor };
      },
      keyOf: (item) => item.id,
      cellOf: crop,
    });
    const choose = form && chooser(sheet, [{ label: w.nameSome, go: nameSome }]);
    map = mapOf(site, () => ({ cluster: cluster.cluster }), sheet, () => choose.begin());
    const fewer = h("button.small", { type: "button", onclick: () => { drawCrops().catch(said); } }, w.fewer);
    fill(crops, h("div.bar", {}, fewer, choose && choose.element), map.element, sheet.element);
    fewer.focus();
    await sheet.reload();
  }

  /** Gives some of the crops a name; the others go on waiting, as the clusters that they are then. */
  async function nameSome() {
    const items = sheet.picked();
    const rest = sheet.others()[0];
    const { to, refused } = await askWhose(site, items);
    if (refused) await reread().catch(said);
    if (!to) return;
    announce(w.named(items.length, to));
    try {
      if (!rest) throw new Failure("", "none", 404);
      cluster = (await membersOf(site, rest.id, null, 1)).cluster;
      draw();
      input.focus();
    } catch (failure) {
      if (failure.status !== 404) said(failure); // else what is left stands alone, or is nothing
      end(h("p", { role: "status" }, w.named(items.length, to), " ", personLink(to)));
    }
    changed(-items.length);
  }

  async function drawNearest() {
    fill(nearest);
    const like = cluster.nearest;
    if (!like) return;
    const { identity, score } = like;
    const person = await personNamed(site, identity);
    if (!person || cluster.nearest !== like) return;
    const about = [h("span.frame", {}, image(thumbnail(person.feature), "")),
      h("span.caption", {}, h("span", {}, w.looksLike), h("b", {}, identity), h("span", {}, words.people.score(score)))];
    const take = () => { input.value = identity; input.focus(); };
    fill(nearest, form ? h("button.crop", { type: "button", onclick: take }, about) : h("div.crop", {}, about));
  }

  async function submit(event) {
    event.preventDefault();
    const name = input.value.trim();
    error.textContent = "";
    if (!name) {
      error.textContent = w.noName;
      return;
    }
    go.disabled = true;
    try {
      const known = await personNamed(site, name);
      const body = { site, item: cluster.cluster, identity: name, items: cluster.items };
      const { entry, items } = await call("clusters/name", json("POST", body));
      const here = unfocused() || element.contains(document.activeElement); // else somebody has gone on already
      end(h("p", { role: "status" }, (known ? w.joined : w.named)(items, name), " ", personLink(name)), undoButton(entry));
      announce((known ? w.joined : w.named)(items, name));
      named(row, items, here);
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      error.textContent = failure.message;
      if ([404, 409].includes(failure.status)) await reread(name).catch(said);
    } finally {
      go.disabled = false;
    }
  }

  /** The cluster as it is by now: somebody else may have named it, or other crops have come. */
  async function reread(wanted = null) {
    try {
      cluster = (await membersOf(site, cluster.cluster, null, 1)).cluster;
      draw();
    } catch (failure) {
      if (failure.status !== 404) throw failure;
      const identity = await nameOf(cluster.feature);
      end(h("p", { role: "alert" }, identity ? w.taken(identity) : w.fallen, " ", wanted && w.notGiven(wanted), " ", identity && personLink(identity)));
      changed(-cluster.items);
    }
  }

  function undoButton(entry) {
    const undo = async () => {
      try {
        await undoEntry(entry);
        cluster = (await membersOf(site, cluster.cluster, null, 1)).cluster;
        waits = true;
        const here = element.contains(document.activeElement);
        fill(element, asked);
        draw();
        if (here) input.focus();
        changed(cluster.items);
      } catch (failure) {
        said(failure);
      }
    };
    return h("button.small", { type: "button", onclick: undo }, words.journal.undo);
  }

  function end(...shown) {
    waits = false;
    fold();
    fill(element, h("div.change", {}, shown));
  }

  const personLink = (name) => h("a", { href: address("people", site, `?person=${encodeURIComponent(name)}`) }, w.look(name));

  draw();
  return row;
}

const said = (error) => notice(error.message, "bad");

function membersOf(site, item, cursor, limit) {
  return call(`clusters/${item}?${new URLSearchParams({ site, limit: String(limit), ...(cursor && { cursor }) })}`);
}

/** Who an item is by now; null for nobody, also where it was erased. */
async function nameOf(item) {
  try {
    return (await call(`gallery/${item}`)).identity;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

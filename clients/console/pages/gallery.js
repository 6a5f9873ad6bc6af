// The gallery as a contact sheet, filtered, from which crops are erased.
import { call, may } from "../api.js";
import { cropButton, personOf } from "../crop.js";
import { sure } from "../dialogs.js";
import { announce, fill, h, notice } from "../dom.js";
import { filterChips } from "../filters.js";
import { lastChanges } from "../journal.js";
import { chooser, sheetOf } from "../sheet.js";
import { time, words } from "../words.js";

const PAGE = 500; // items of one request

export async function render(main, { site }) {
  const overview = await call(`console/sites/${encodeURIComponent(site)}`);
  let where = {};
  const sheet = sheetOf({
    label: words.gallery.sheet,
    empty: words.gallery.empty,
    pageOf: (cursor) => itemsOf(site, where, cursor),
    keyOf: (item) => item.id,
    cellOf: (item) => cropButton(item, site, () => sheet.drop([item.id]), captionOf(item), corrected),
  });
  const changes = lastChanges(site, sheet.reload);
  const corrected = () => Promise.all([sheet.reload(), changes.refresh()]);
  const filter = (wanted) => { where = wanted; return sheet.reload(); };
  const choose = may("write") && chooser(sheet, [{ label: words.gallery.erase, kind: "bad", go: () => eraseChosen(site, sheet) }]);
  const cameras = overview.cameras.map((each) => each.camera);
  fill(main,
    h("h1", {}, words.gallery.title),
    h("p.lead", {}, words.gallery.text(overview.site.items, site)),
    h("div.bar", {}, filterChips(cameras, filter), choose && choose.element),
    changes.element,
    sheet.element);
  await sheet.reload();
  return sheet.end;
}

/** A page of the items that meet a filter, as a contact sheet takes it. */
export async function itemsOf(site, where, cursor) {
  const terms = new URLSearchParams({ site, limit: String(PAGE), without_metadata: "true" });
  if (Object.keys(where).length) terms.set("filter", JSON.stringify(where));
  if (cursor) terms.set("cursor", cursor);
  const page = await call(`gallery?${terms}`);
  return { entries: page.items, cursor: page.cursor };
}

const captionOf = (item) => [h("b", {}, personOf(item)),
  h("span", {}, `${item.camera ?? words.noCamera}${item.captured_at ? ` · ${time(item.captured_at)}` : ""}`)];

async function eraseChosen(site, sheet) {
  const ids = sheet.picked().map((item) => item.id);
  const go = words.gallery.erase(ids.length);
  if (!(await sure(words.gallery.eraseTitle(ids.length), words.gallery.eraseText, go))) return;
  const erased = [];
  let elsewhere = 0;
  try {
    for (const id of ids) {
      try {
        await call(`gallery/${id}?site=${encodeURIComponent(site)}`, { method: "DELETE" });
      } catch (error) {
        if (error.status !== 404) throw error;
        elsewhere += 1;
      }
      erased.push(id);
    }
    const said = [erased.length > elsewhere && words.gallery.erased(erased.length - elsewhere), elsewhere && words.gallery.elsewhere(elsewhere)];
    notice(said.filter(Boolean).join(" "));
  } catch (error) {
    notice(error.message, "bad");
  } finally {
    sheet.drop(erased);
  }
}

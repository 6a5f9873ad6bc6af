// Keys and the audit log.
import { call, json, off, on, session } from "../api.js";
import { copyable, sure } from "../dialogs.js";
import { field, fill, h, notice } from "../dom.js";
import { time, words } from "../words.js";

const w = words.keys;
const LINES = 50;

export async function render(main) {
  const keys = h("div", {});
  const made = h("div", { role: "status" });
  const audit = h("section", {});
  let round = 0; // an answer to an earlier question is not shown after a later one
  let waits = false; // for the connection

  async function draw() {
    const mine = ++round;
    const list = await call("console/keys");
    if (mine !== round) return;
    waits = false;
    fill(keys, keyTable(list, anew));
  }

  const anew = () => draw().catch((error) => {
    waits = error.code === "lost";
    notice(error.message, "bad");
  });
  let unread = false; // the audit log, for lack of a connection
  const readAudit = async () => { unread = await drawAudit(audit); };
  const back = () => {
    if (waits) anew();
    if (unread) readAudit();
  };
  await draw(); // before there is a form: where this fails the page goes, and a new key's text would go with it
  fill(main, h("h1", {}, w.title), h("p.lead", {}, w.text), !session.required && h("p.soft", {}, w.local),
    keys, makeForm(made, anew), made, audit);
  on("back", back);
  await readAudit();
  return () => off("back", back);
}

function keyTable(keys, anew) {
  if (!keys.length) return h("p.soft", {}, w.none);
  const row = (key) => h("tr", {},
    h("td", {}, h("code", {}, key.id), key.id === session.key && [" ", h("span.tag.taken", {}, w.yours)]),
    h("td", {}, h("b", {}, key.scope), h("p.soft.small", {}, words.scopes[key.scope])),
    h("td", {}, time(key.created_at)),
    h("td.end", {}, h("button.bad", { type: "button", "aria-label": `${w.revoke} ${key.id}`, onclick: () => revoke(key, anew) }, w.revoke)));
  return h("div.scroll", { tabIndex: 0, role: "group", "aria-label": w.title }, h("table", {}, h("thead", {}, h("tr", {}, w.columns.map((name) => (name ? h("th", { scope: "col" }, name) : h("td", {}))))),
    h("tbody", {}, keys.map(row))));
}

async function revoke(key, anew) {
  const text = key.id === session.key ? `${w.revokeText} ${w.revokeYours}` : w.revokeText;
  if (!(await sure(w.revokeTitle(key.id), text, w.revoke))) return;
  try {
    await call(`console/keys/${key.id}`, { method: "DELETE" });
    notice(w.revoked(key.id));
  } catch (error) {
    notice(error.message, "bad");
  }
  await anew();
}

function makeForm(made, anew) {
  const scope = h("select", {}, Object.entries(words.scopes).map(([name, text]) => h("option", { value: name }, `${name}: ${text}`)));
  const submit = async (event) => {
    event.preventDefault();
    try {
      const key = await call("console/keys", json("POST", { scope: scope.value }));
      fill(made, copyable(w.made(key.id), key.key, "h2"));
    } catch (error) {
      notice(error.code === "lost" ? w.lost : error.message, "bad");
    }
    await anew();
  };
  return h("form.inline", { onsubmit: submit }, field(w.scope, scope), h("button.main", { type: "submit" }, w.make));
}

/** Fills the audit log; returns whether it could not be read for lack of a connection. */
async function drawAudit(place) {
  const body = h("tbody", {});
  const more = h("button", { type: "button", onclick: () => load() }, words.more);
  let cursor = null;
  let lost = false;
  const load = async () => {
    try {
      const page = await call(`console/audit?limit=${LINES}${cursor ? `&cursor=${cursor}` : ""}`);
      lost = false;
      body.append(...inRows(page.lines).map(line));
      cursor = page.cursor;
      more.hidden = cursor === null;
    } catch (error) {
      lost = error.code === "lost";
      notice(error.message, "bad");
    }
  };
  await load();
  if (lost) return true;
  fill(place, h("h2", {}, w.audit), h("p.soft", {}, w.auditText),
    body.childElementCount
      ? h("div.scroll", { tabIndex: 0, role: "group", "aria-label": w.audit }, h("table", {}, h("thead", {}, h("tr", {}, w.auditColumns.map((name) => h("th", { scope: "col" }, name)))), body))
      : h("p.soft", {}, w.auditNone), more);
  return false;
}

/** Looks in a row, of one actor at one site, as one line each: a page shows many thumbnails at once. */
function inRows(lines) {
  const rows = [];
  for (const each of lines) {
    const last = rows.at(-1);
    const same = last && ["actor", "action", "site"].every((name) => last[name] === each[name]);
    if (same && each.action === "read-thumbnail") last.count += 1;
    else rows.push({ ...each, count: 1 });
  }
  return rows;
}

function line({ at, actor, action, site, detail, count }) {
  const facts = count > 1 ? w.auditMore(count) : Object.entries(detail).map(([name, value]) => `${name} ${value}`).join(", ");
  return h("tr", {}, h("td", {}, time(at, true)), h("td", {}, h("code", {}, actor)), h("td", {}, w.actions[action] ?? action), h("td", {}, site ?? ""), h("td.soft.small", {}, facts));
}

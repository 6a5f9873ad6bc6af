// The frame around every page: sites, navigation, colours, session, connection; and which page is shown.
import { ask, call, may, off, on, refreshSession, session, signOut, Failure } from "./api.js";
import { askForKey, closeDialogs } from "./dialogs.js";
import { announce, fill, h, notice } from "./dom.js";
import { lettersOn, switchLetters } from "./letters.js";
import { words } from "./words.js";

// A page is loaded when it is first shown. `scope`: what a session needs to see it.
const PAGES = {
  search: { load: () => import("./pages/search.js"), site: true },
  gallery: { load: () => import("./pages/gallery.js"), site: true },
  people: { load: () => import("./pages/people.js"), site: true },
  unknown: { load: () => import("./pages/unknown.js"), site: true },
  review: { load: () => import("./pages/review.js"), site: true },
  enroll: { load: () => import("./pages/enroll.js"), scope: "write" },
  site: { load: () => import("./pages/site.js"), site: true },
  calibration: { load: () => import("./pages/calibration.js"), site: true },
  system: { load: () => import("./pages/system.js") },
  keys: { load: () => import("./pages/keys.js"), scope: "admin" },
};

const state = { sites: [], site: null, leave: null, shown: 0, waits: false };
// Each page gets an element of its own: what an earlier page still draws when its answers come late is not seen.
const place = () => h("main", { id: "page", tabIndex: -1 });
let main = place();
const nav = h("nav", { "aria-label": words.nav });
const picker = h("select", { "aria-label": words.site, onchange: () => go(route().page, picker.value) });
const who = h("div.who");
const lost = h("div.lost", { role: "alert", hidden: true }, words.connection.lost);
const deleted = h("div.gone", { role: "alert", hidden: true });

/** What the address says: #/PAGE/SITE?item=ID, or ?person=NAME */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, site] = path.split("/");
  return { page: page in PAGES ? page : "search", site: site ? decodeURIComponent(site) : null, query: new URLSearchParams(query) };
}

/** Where a page is: the address within the console. */
export const address = (page, site, query = "") => `#/${page}${site ? `/${encodeURIComponent(site)}` : ""}${query}`;

/** Shows another page. */
export function go(page, site, query = "") {
  location.hash = address(page, site, query);
}

function remembered() {
  try {
    return localStorage.getItem("resight-site");
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // a browser that keeps nothing begins anew each time
  }
}

/** The sites, anew. */
export async function loadSites() {
  state.sites = (await call("sites")).map((each) => each.site);
  return state.sites;
}

async function show() {
  const number = ++state.shown;
  const { page, site: named, query } = route();
  const here = PAGES[page];
  state.leave?.();
  state.leave = null;
  state.waits = false;
  state.site = null;
  deleted.hidden = true;
  const late = () => number !== state.shown; // another page was asked for meanwhile
  try {
    await loadSites();
    if (late()) return;
    const site = named ?? (state.sites.includes(remembered()) ? remembered() : state.sites[0] ?? null);
    if (site && state.sites.includes(site)) remember("resight-site", site);
    frame(page, site);
    const refused = here.scope && !may(here.scope);
    const module = refused ? null : await loaded(here);
    if (late()) return;
    document.title = `${words.pages[page]} · ${words.name}`;
    // before the page is complete: afterwards it would take the focus from somebody who already uses the page
    turn(number > 1);
    if (refused) fill(main, h("h1", {}, words.pages[page]), h("p", {}, words.enroll.readOnly));
    else if (here.site && !site) fill(main, nothingYet());
    else if (here.site && !state.sites.includes(site)) fill(main, gone(site));
    else {
      state.site = here.site ? site : null;
      const leave = (await module.render(main, { site, sites: state.sites, query })) ?? null;
      if (late()) {
        leave?.();
        return;
      }
      state.leave = leave;
    }
    announce(words.pages[page]);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (late()) return;
    state.waits = error.code === "lost";
    turn(number > 1);
    fill(main, h("h1", {}, words.pages[page]), h("p.error", { role: "alert" }, error.message),
      h("button", { type: "button", onclick: show }, words.again));
  }
}

/** A page's file. Throws Failure where it cannot be had. */
async function loaded(here) {
  try {
    return await here.load();
  } catch {
    await loadSites(); // which says so, where the connection is lost
    throw new Failure(words.connection.incomplete, "strange");
  }
}

/** An empty page in the place of the last one; it takes the focus, unless that is on a list of the frame. */
function turn(focus) {
  const at = document.activeElement;
  const kept = at.matches("select") && !main.contains(at);
  const next = place();
  main.replaceWith(next);
  main = next;
  if (focus && !kept) main.focus({ preventScroll: true });
}

const nothingYet = () => h("section.empty", {},
  h("h1", {}, words.firstSite.title),
  h("p", {}, words.firstSite.text, " ", may("write") ? "" : words.firstSite.ask),
  may("write") && h("a.button.main", { href: address("enroll") }, words.firstSite.go));

const gone = (site) => h("section.empty", {}, h("h1", {}, site), h("p", {}, words.siteView.gone(site)));

function frame(page, site) {
  const names = site && !state.sites.includes(site) ? [site, ...state.sites] : state.sites;
  fill(picker, names.map((name) => h("option", { value: name, selected: name === site }, name)));
  if (!names.length) fill(picker, h("option", { value: "" }, words.noSite));
  picker.disabled = !names.length;
  const shown = Object.entries(PAGES).filter(([, each]) => !each.scope || may(each.scope));
  fill(nav, shown.map(([name]) => h("a", {
    href: address(name, site), "aria-current": name === page ? "page" : null,
  }, words.pages[name])));
  fill(who, session.required && session.scope
    ? [h("span", { title: words.scopes[session.scope] }, words.signIn.as(session.key, session.scope)),
      h("button.link", { type: "button", onclick: leaveSession }, words.signIn.out)]
    : session.required ? null : h("span", {}, words.signIn.local));
}

async function leaveSession() {
  try {
    await signOut();
  } catch (error) {
    notice(error.message, "bad"); // still signed in: the page stays as it is
    return;
  }
  turn(true); // nothing of it is for whoever comes next
  await show();
}

function themes() {
  const chosen = document.documentElement.dataset.theme ?? "";
  const choose = (event) => {
    const value = event.target.value;
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
    remember("resight-theme", value);
  };
  return h("select.theme", { "aria-label": words.theme.label, onchange: choose },
    ["", "light", "dark"].map((value) => h("option", { value, selected: value === chosen }, words.theme[value || "system"])));
}

function letters() {
  const box = h("input", { type: "checkbox", checked: lettersOn(), onchange: () => {
    switchLetters(box.checked);
    remember("resight-letters", box.checked ? "on" : "off");
  } });
  return h("label.check", {}, box, words.letters.label);
}

function build() {
  const skip = (event) => { event.preventDefault(); main.focus(); };
  fill(document.getElementById("app"),
    h("a.skip", { href: "#page", onclick: skip }, words.skip),
    h("header.side", {},
      h("a.brand", { href: "#/search" }, h("img", { src: "console-files/icon.svg", alt: "", width: 26, height: 26 }), words.name),
      h("div.pick", {}, picker),
      nav,
      h("div.foot", {}, who, themes(), letters())),
    h("div.stage", {}, lost, deleted, main));
}

ask.signIn = askForKey;
on("session", () => {
  if (state.shown) frame(route().page, picker.value || null); // another key may do more or less
});
on("missing", async () => {
  const { site } = state;
  if (!site || !deleted.hidden) return;
  await loadSites().catch(() => {});
  if (site !== state.site || state.sites.includes(site)) return; // it was something else that is missing
  deleted.textContent = words.siteView.gone(site);
  deleted.hidden = false;
});
on("lost", () => { lost.hidden = false; });
on("back", () => {
  lost.hidden = true;
  notice(words.connection.back);
  if (state.waits) show();
});
// pictures that were refused meanwhile are asked for again
for (const event of ["session", "back"]) {
  on(event, () => {
    for (const image of document.querySelectorAll("img[data-failed]")) {
      delete image.dataset.failed;
      image.hidden = false;
      image.src = image.src;
    }
  });
}

async function start() {
  build();
  try {
    await refreshSession();
    if (session.required && !session.scope) await askForKey();
  } catch (error) {
    fill(main, h("p.error", {}, error.message));
    const again = () => { off("back", again); start(); };
    on("back", again);
    return;
  }
  addEventListener("hashchange", () => {
    closeDialogs(); // they belong to the page that is left
    show();
  });
  await show();
}

start();

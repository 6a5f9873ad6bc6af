// A site: what is live, its cameras, adapting it, and the way back.
import { call, ENDED, may, off, on } from "../api.js";
import { cropButton } from "../crop.js";
import { sure } from "../dialogs.js";
import { announce, field, fill, h, notice, unfocused } from "../dom.js";
import { tiers, time, words } from "../words.js";
import { matrix } from "./drawings.js";
import { begin, followJob, outcome, rungList } from "./site_job.js";

const w = words.siteView;
const MATRIX_FROM = 5; // newest jobs among which one that compared cameras is looked for

export async function render(main, { site }) {
  // round: an answer to an earlier question is not drawn after a later one; waits: for the connection
  const page = { stop: null, left: false, round: 0, waits: false, tier: "auto", gate: true };
  await draw(main, site, page);
  const back = () => { if (page.waits) again(main, site, page); };
  on("back", back);
  return () => { page.left = true; off("back", back); page.stop?.(); };
}

/** The page anew; where that fails it stays as it is, and is drawn once the connection is back. */
async function again(main, site, page) {
  try {
    await draw(main, site, page);
    if (!page.left && unfocused()) main.focus({ preventScroll: true }); // the button that had it is a new one
  } catch (error) {
    page.waits = error.code === "lost";
    notice(error.message, "bad");
  }
}

async function draw(main, site, page) {
  const mine = ++page.round;
  const overview = await call(`console/sites/${encodeURIComponent(site)}`);
  const { tiers: known } = await call("info");
  const details = await lastReport(overview.jobs);
  if (page.left || mine !== page.round) return;
  page.waits = false;
  const live = overview.site;
  const jobPlace = h("div.job", {});
  const anew = () => again(main, site, page);
  const start = async (path, body) => {
    const { job, lost } = await begin(path, body);
    page.waits ||= lost; // whether it was begun is not known: the page shows it once it is drawn anew
    if (!job) return;
    Object.assign(page, { tier: "auto", gate: true }); // the next one is not sent past the gate unasked
    begun(job);
  };
  fill(main,
    h("h1", {}, site),
    h("p.lead", {}, h("b", {}, w.live(live.version, tiers(live.tiers))), ". ", w.items(live.items, overview.cameras.filter((c) => c.camera).length)),
    h("p.soft", {}, calibration(live.calibration), live.fitted_on ? ` ${w.fitted(live.fitted_on, live.fitted_on_erased)}` : ""),
    h("div.columns", {},
      h("section.card", {}, h("h2", {}, w.adapt), h("p.soft", {}, w.adaptText), adaptForm(site, choicesOf(known), page, start), jobPlace),
      h("div.stack", {},
        h("section.card", {}, h("h2", {}, w.cameras), cameraBars(overview.cameras)),
        h("section.card", {}, h("h2", {}, w.matrix), similarity(details?.report.similarity)))),
    places(details?.report.ranks, site, anew),
    h("div.columns", {},
      h("section", {}, h("h2", {}, w.versions), versionList(overview, () => rollBack(site, start))),
      h("section", {}, h("h2", {}, w.jobs), jobList(overview.jobs))));

  function begun(id) {
    for (const button of main.querySelectorAll("button[data-job]")) button.disabled = true;
    page.stop?.();
    page.stop = followJob(jobPlace, id, async (job) => {
      announce(outcome(job));
      await anew();
    });
  }

  const running = overview.jobs.find((job) => !ENDED.includes(job.state));
  if (running) begun(running.job);
  else if (details) fill(jobPlace, h("p.outcome", {}, outcome(details)), notes(details.report.notes), rungList(details.report.rungs ?? []));
}

/** The newest jobs' reports until one says how alike cameras are; the newest of all where none does. */
async function lastReport(jobs) {
  let newest = null;
  for (const line of jobs.filter((job) => ENDED.includes(job.state)).slice(0, MATRIX_FROM)) {
    const job = await call(`adapt/${line.job}`);
    newest ??= job;
    if (job.report.similarity) {
      return newest === job ? job : { ...newest, report: { ...newest.report, similarity: job.report.similarity } };
    }
  }
  return newest;
}

function calibration(known) {
  if (!known) return w.calibration.none;
  return known.guess ? w.calibration.guess(known.measured_on) : w.calibration.measured(known.people);
}

const notes = (list) => (list?.length ? h("p.soft.small", {}, `${w.notes}: ${list.join(". ")}`) : null);

/** What can be tried, of the tiers that this server knows: each alone and over centring. */
function choicesOf(known) {
  const single = known.filter((name) => name !== "auto" && name !== "none");
  const above = single.filter((name) => name !== "0").flatMap((name) => [name, `${name}+0`]);
  const names = [...single.filter((name) => name === "0"), ...above, "none"];
  return [["auto", w.auto], ...names.map((name) => [name, tiers(name)])];
}

/** What to try. `page` keeps what is chosen while the page is drawn anew. */
function adaptForm(site, choices, page, start) {
  if (!may("admin")) return h("p.hint", {}, w.readOnly);
  const tier = h("select", { onchange: () => { page.tier = tier.value; } },
    choices.map(([value, text]) => h("option", { value, selected: value === page.tier }, text)));
  const gate = h("input", { type: "checkbox", checked: page.gate, onchange: () => { page.gate = gate.checked; } });
  const submit = async (event) => {
    event.preventDefault();
    await start("adapt", { site, tier: tier.value, gate: gate.checked });
  };
  return h("form.adapt", { onsubmit: submit },
    field(w.tier, tier),
    h("label.check", {}, gate, w.gate),
    h("p.hint", {}, w.gateHint),
    h("button.main", { type: "submit", "data-job": "" }, w.go));
}

function cameraBars(cameras) {
  const most = Math.max(1, ...cameras.map((each) => each.items));
  return h("ul.cameras", {}, cameras.map(({ camera, items, identities }) => {
    const bar = h("i", { "aria-hidden": "true" });
    bar.style.setProperty("--share", `${(100 * items) / most}%`);
    return h("li", {}, h("b", {}, camera ?? words.noCamera), bar, h("span.soft", {}, w.cameraItems(items, identities)));
  }));
}

function similarity(facts) {
  if (!facts || facts.cameras.length < 2) return h("p.soft", {}, w.matrixNone);
  const values = [...facts.before, ...facts.after].flat();
  const shown = [Math.min(...values), Math.max(...values)];
  return [h("p.soft", {}, w.matrixText),
    h("div.matrices", { tabIndex: 0, role: "group", "aria-label": w.matrix }, matrix(w.before, facts.cameras, facts.before, shown), matrix(w.after, facts.cameras, facts.after, shown))];
}

/** Where held-out crops stood before and after what was tried, with the crops themselves. */
function places(ranks, site, erased) {
  if (!ranks?.queries.length) return null;
  const crop = ({ item, camera, before, after }) => {
    const last = after.at(-1) ?? before;
    const change = last < before ? "up" : last > before ? "down" : "soft";
    return cropButton({ id: item, camera, identity: null }, site, erased,
      [h(`b.${change}`, {}, w.place(before, last)), h("span", {}, camera ?? words.noCamera)]);
  };
  return h("section", {}, h("h2", {}, w.places), h("p.soft", {}, w.placesText(ranks.by, ranks.among)),
    h("div.places", {}, ranks.queries.map(crop)));
}

function versionList(overview, rollBackNow) {
  return h("ol.versions", {}, overview.versions.map((each) => h("li", {},
    h("span.number", {}, String(each.version)),
    h("div", {},
      h("p", {}, h("b", {}, w.causes[each.cause] ?? each.cause), each.live && [" ", h("span.tag.taken", {}, w.liveNow)]),
      h("p.soft.small", {}, `${tiers(each.tiers)} · ${time(each.created_at)}`)),
    each.live && overview.site.can_roll_back && may("admin")
      && h("button", { type: "button", "data-job": "", onclick: rollBackNow }, w.rollBack))));
}

async function rollBack(site, start) {
  if (!(await sure(w.rollBackTitle, w.rollBackText, w.rollBack))) return;
  await start(`sites/${encodeURIComponent(site)}/rollback`);
}

function jobList(jobs) {
  if (!jobs.length) return h("p.soft", {}, w.noJobs);
  return h("ul.lines", {}, jobs.map((job) => h("li", {},
    h("b", {}, words.system.job[job.kind] ?? job.kind), " ", h(`span.tag.${job.state}`, {}, job.state),
    h("p.soft.small", {}, [time(job.created_at), job.why].filter(Boolean).join(" · ")))));
}

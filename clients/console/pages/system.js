// The server: what really runs and how busy it is.
import { call } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes, span, time, words } from "../words.js";

const w = words.system;
const EVERY_MS = 5000;

export async function render(main) {
  const place = h("div", {});
  const list = jobList();
  let round = 0;
  fill(main, h("h1", {}, w.title), place);

  async function draw() {
    const mine = ++round;
    const system = await call("console/system");
    if (mine !== round) return; // a later answer was faster
    fill(place, overview(system));
    list.show(system.jobs);
  }

  await draw();
  main.append(h("section", {}, h("h2", {}, w.jobs), list.element), h("p", {}, h("a", { href: "docs" }, w.docs)));
  const timer = setInterval(() => {
    if (!document.hidden) draw().catch(() => {}); // the frame says that the connection is lost
  }, EVERY_MS);
  return () => clearInterval(timer);
}

function overview(system) {
  const { info } = system;
  return [
    h("div.figures", {},
      figure(w.latency, span(system.query_seconds_p50), w.queries(system.queries)),
      figure(w.slow, span(system.query_seconds_p99)),
      figure(w.queue, words.number(system.queued_crops), w.queueText(system.queued_crops, system.max_queued_crops)),
      figure(w.memory, bytes(system.resident_bytes)),
      figure(w.index, words.number(system.items), w.indexText(system.items, system.sites, bytes(system.index_bytes)))),
    h("div.columns", {},
      h("section.card", {}, h("h2", {}, w.engine), facts([
        [w.runs, w.engineText(info.engine)],
        [w.tried, tried(info)],
        [w.bundle, [h("b", {}, info.bundle.name), h("br", {}), w.bundleText(info.bundle)]],
        [w.licence, info.bundle.weights_licence],
        [w.search, info.search],
        [w.batch, String(info.max_batch)],
        [w.lanes, w.lanesText(info.lanes)],
        [w.uptime, span(info.uptime_s)],
      ])),
      h("section.card", {}, h("h2", {}, w.store), facts([
        [w.store, w.storeText(system.store, bytes(system.store_bytes))],
        [w.free, bytes(system.free_bytes)],
        [w.images, w.imagesText(info.keep_images)],
      ]), h("p.soft", {}, w.purged[system.purged]),
      h("h2", {}, w.fallbacks), fallbacks(info))),
  ];
}

const figure = (name, value, more = null) => h("div.figure", {}, h("p.soft", {}, name), h("p.big", {}, value), more && h("p.soft.small", {}, more));

const facts = (rows) => h("dl", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

// Engines that were tried before one was taken: how fast each was, or why it was not taken.
function tried(info) {
  const names = new Set([...Object.keys(info.engine_trials), ...Object.keys(info.refused_engines)]);
  const lines = [...names].map((name) => w.trial(name, info.engine_trials[name], info.refused_engines[name]));
  return lines.length ? h("ul", {}, lines.map((line) => h("li", {}, line))) : w.noTrials;
}

// int8 that is no faster than float here is a choice, and nothing that went wrong.
function fallbacks(info) {
  const refused = Object.entries(info.refused_engines).filter(([name]) => name !== "openvino-int8").map(([name, why]) => w.refused(name, why));
  const lines = [...info.fallbacks.map(w.fallback), ...refused];
  return lines.length ? h("ul.errors", {}, lines.map((line) => h("li", {}, line))) : h("p.soft", {}, w.noFallbacks);
}

/** The jobs, in an element that stays while they are shown anew: whoever scrolls it by keyboard keeps the focus. */
function jobList() {
  const none = h("p.soft", {}, w.noJobs);
  const body = h("tbody", {});
  const table = h("div.scroll", { tabIndex: 0, role: "group", "aria-label": w.jobs },
    h("table", {}, h("thead", {}, h("tr", {}, w.columns.map((name) => h("th", { scope: "col" }, name)))), body));
  const row = (job) => h("tr", {}, h("td", {}, w.job[job.kind] ?? job.kind), h("td", {}, job.site), h("td", {}, time(job.created_at)),
    h("td", {}, h(`span.tag.${job.state}`, {}, job.state), job.why && h("p.soft.small", {}, job.why)));

  function show(jobs) {
    none.hidden = jobs.length > 0;
    table.hidden = !jobs.length;
    fill(body, jobs.map(row));
  }

  return { element: h("div", {}, none, table), show };
}

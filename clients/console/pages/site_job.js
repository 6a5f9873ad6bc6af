// A job of a site while it runs and when it has ended: stage, rungs, verdicts.
import { call, ENDED, json, may, watchJob } from "../api.js";
import { fill, h, notice } from "../dom.js";
import { tiers, words } from "../words.js";
import { interval, rangeOf } from "./drawings.js";

/** Shows a job and follows it; `ended` is called once, when it has. Returns what stops following. */
export function followJob(place, id, ended) {
  const bar = h("progress", { max: 1, "aria-label": words.siteView.adapt });
  const stage = h("p", { role: "status" });
  const cancel = may("admin") && h("button", { type: "button", onclick: () => cancelJob(id) }, words.siteView.cancel);
  const rungs = h("div.rungs", {});
  const running = h("div.running", {}, bar, h("div.bar", {}, stage, cancel));
  fill(place, running, rungs);
  let count = -1;
  return watchJob(id, (job, error) => {
    if (error) {
      fill(stage, error.message);
      return;
    }
    bar.value = job.progress;
    stage.textContent = (job.kind === "rollback" ? words.siteView.rollingBack : words.siteView.running)(job.stage);
    const tried = job.report.rungs ?? [];
    if (tried.length !== count) {
      count = tried.length;
      fill(rungs, rungList(tried));
    }
    if (ENDED.includes(job.state)) {
      running.remove();
      ended(job);
    }
  });
}

async function cancelJob(id) {
  try {
    await call(`adapt/${id}`, { method: "DELETE" });
  } catch (error) {
    notice(error.message, "bad");
  }
}

/** How a job ended, as a sentence. */
export function outcome(job) {
  const ends = words.siteView.ends;
  if (job.state === "succeeded") {
    return job.kind === "rollback" ? ends.rolledBack(job.version) : ends.succeeded(tiers(job.report.tiers), job.version);
  }
  const why = job.report.reason ?? job.report.error;
  return `${ends[job.state] ?? job.state}${why ? `: ${why}` : "."}`;
}

/** What was tried, in this order, with gains on one scale. */
export function rungList(rungs) {
  if (!rungs.length) return null;
  const shown = rangeOf(rungs.flatMap((rung) => [rung.low, rung.gain, rung.high]).filter((value) => value !== null));
  return [h("h3", {}, words.siteView.rungs), h("ol", {}, rungs.map((rung) => rungItem(rung, shown)))];
}

function rungItem(rung, shown) {
  const verdict = rung.accepted ? "taken" : "refused";
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const measured = rung.gain !== null && rung.low !== null && rung.high !== null;
  return h("li.rung", {},
    h("p", {}, h("b", {}, words.siteView.rung(tiers(rung.tiers), tiers(rung.below))), " ", h(`span.tag.${verdict}`, {}, words.siteView[verdict])),
    h("p.soft.small", {}, words.siteView.judges[rung.by] ?? rung.by),
    measured && interval(rung.gain, rung.low, rung.high, shown, rung.accepted),
    measured && h("p.small", {}, words.siteView.gain(rung.by, signed(rung.gain), signed(rung.low), signed(rung.high))),
    h("p.soft.small", {}, rung.reason));
}

/** Begins an adaptation or a rollback: {job, lost}, its id, null where the server refused, which is said. */
export async function begin(path, body) {
  try {
    const { job } = await call(path, body ? json("POST", body) : { method: "POST" });
    return { job, lost: false };
  } catch (error) {
    const lost = error.code === "lost";
    notice(lost ? words.siteView.lost : error.message, "bad");
    return { job: null, lost };
  }
}

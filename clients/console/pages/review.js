// The review queue: one doubtful case at a time, one key a decision, and the next case.
import { call, Failure, json, may, off, on, session } from "../api.js";
import { announce, fill, h } from "../dom.js";
import { lastChanges, undoEntry } from "../journal.js";
import { lettersOn, onLetters } from "../letters.js";
import { words } from "../words.js";
import { caseView, touches } from "./review_case.js";

const w = words.review;
const AHEAD = 4; // cases that wait behind the one that is shown
const MOST = 200; // cases of one request

export async function render(main, { site }) {
  const lead = h("p.lead", {});
  const told = h("p.told", { role: "alert" });
  const place = h("section.case", { "aria-label": w.case });
  const outcome = h("p.soft", {});
  const changes = lastChanges(site, () => read(true));
  const passed = new Set(); // cases that were skipped here, by id
  const decided = []; // what U takes back, the last one last
  let queue = []; // the first one is shown
  let open = 0;
  let guess = true;
  let busy = false;
  let round = 0;
  const unsure = new Set(); // cases to which an answer was sent that may have arrived

  const write = may("write");
  const actions = {
    ...(write && { s: [w.same, () => decide("same")], d: [w.different, () => decide("different")] }),
    k: [write ? w.skip : w.next, () => decide("skip")],
    u: [write ? w.undo : w.back, () => undo()],
  };
  const lettersOff = h("p.hint", {}, words.letters.off);
  const buttons = Object.fromEntries(Object.entries(actions).map(([key, [label, go]]) => [key, h(`button${"sd".includes(key) ? "" : ".quiet"}`,
    { type: "button", onclick: go }, label, h("kbd", { "aria-hidden": "true" }, key.toUpperCase()))]));
  const bar = h("div.decide", { role: "group", "aria-label": w.keys }, Object.values(buttons));
  const again = h("button", { type: "button", hidden: true, onclick: () => { passed.clear(); read(true); } }, w.again);

  /** The queue anew. The case that is shown stays, lest another one gets its answer, except with `replace`. */
  async function read(replace = false) {
    const mine = ++round;
    // cases that were skipped come last, so that among so many one is new, where there is one
    const limit = Math.min(MOST, passed.size + 1 + AHEAD);
    try {
      const page = await call(`sites/${encodeURIComponent(site)}/review?limit=${limit}`);
      if (mine !== round) return;
      const shown = replace ? null : queue[0];
      const waiting = page.cases.filter((each) => !passed.has(each.case) && each.case !== shown?.case);
      [open, guess] = [page.open, page.guess];
      queue = shown ? [shown, ...waiting] : waiting;
      if (shown) drawLead();
      else draw();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (mine === round && error.code !== "lost") say(error.message); // the frame says it, and `back` reads again
    }
  }

  function drawLead() {
    fill(lead, queue.length ? w.text(open) : open ? w.onlySkipped(open) : w.none);
    again.hidden = queue.length > 0 || !open;
  }

  function draw() {
    drawLead();
    const [shown] = queue;
    fill(place, shown && caseView(site, shown, guess, () => read(true)));
    outcome.textContent = !shown ? "" : write ? w.outcome(shown) : w.readOnly;
    for (const key of ["s", "d", "k"]) if (buttons[key]) buttons[key].hidden = !shown;
    buttons.u.hidden = !decided.length;
    if (bar.contains(document.activeElement) && document.activeElement.hidden) main.focus({ preventScroll: true });
    announce(shown ? shown.reason : lead.textContent);
  }

  function say(text, kind = "") {
    told.className = `told${kind ? ` ${kind}` : ""}`;
    told.textContent = text;
  }

  /** Does one thing at a time: a second key meanwhile counts for nothing, since its case is not known yet. */
  async function alone(work) {
    if (busy) return;
    busy = true;
    bar.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      say(error.message);
    } finally {
      busy = false;
      bar.removeAttribute("aria-busy");
    }
  }

  const decide = (answer) => alone(async () => {
    const [shown] = queue;
    if (!shown) return;
    try {
      const sent = write ? await call(`sites/${encodeURIComponent(site)}/review/${shown.case}`, json("POST", { answer })) : { entry: null };
      unsure.delete(shown.case);
      const sentences = { same: w.wasSame(shown.sides[1].identity), different: w.wasDifferent, skip: write ? w.wasSkipped : "" };
      say(sentences[answer], "done");
      await goOn(shown, answer, sent.entry);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.code === "lost") {
        unsure.add(shown.case);
        say(w.lost);
      } else if ([404, 409].includes(error.status)) {
        await closed(shown, answer, error);
      } else {
        throw error;
      }
    }
  });

  /** Somebody has answered the case, or it has changed: says so and goes on. */
  async function closed(shown, answer, error) {
    const entry = error.facts.entry ? await call(`journal/${error.facts.entry}`) : null;
    const mine = entry !== null && unsure.has(shown.case) && entry.actor === (session.key ?? entry.actor);
    unsure.delete(shown.case);
    if (mine) decided.push({ shown, answer, entry: entry.entry });
    say(mine ? w.arrived : entry ? w.faster(entry) : w.changed, mine ? "done" : "");
    changes.refresh();
    await anew();
  }

  /** The next case at once, where the answer does not bear on it; else as it is by now. */
  async function goOn(shown, answer, entry) {
    decided.push({ shown, answer, entry });
    if (answer === "skip") passed.add(shown.case);
    queue.shift();
    const next = queue[0] && (answer === "skip" || !touches(shown, queue[0]));
    if (next) {
      draw();
      read();
    } else {
      await anew();
    }
    if (entry !== null) changes.refresh();
  }

  /** Shows no case until the queue was read: what is shown no more cannot be answered. */
  async function anew() {
    queue = [];
    draw();
    fill(lead, w.looking);
    again.hidden = true;
    await read(true);
  }

  const undo = () => alone(async () => {
    const last = decided.at(-1);
    if (!last) {
      say(w.nothingToUndo);
      return;
    }
    try {
      if (last.entry !== null) await undoEntry(last.entry);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.code !== "lost") decided.pop(); // it says what has to be undone first, under Last changes
      say(error.code === "lost" ? w.lostUndo : error.message);
      return;
    }
    decided.pop();
    passed.delete(last.shown.case);
    round += 1; // what is being read meanwhile is of before
    queue = [last.shown, ...queue.filter((each) => each.case !== last.shown.case)];
    draw();
    say(last.entry === null ? w.shownAgain : w.askedAgain, "done");
    read();
    changes.refresh();
  });

  function pressed(event) {
    const action = actions[event.key.toLowerCase()];
    if (!lettersOn() || !action || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, select, textarea, dialog") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    action[1]();
  }

  /** What was not read while the connection was lost is read now; the case that is shown stays. */
  const back = () => {
    if (busy) return;
    say(unsure.has(queue[0]?.case) ? w.answerAgain : "");
    read();
  };

  /** What the buttons say of their keys. */
  function drawKeys() {
    const on = lettersOn();
    lettersOff.hidden = on;
    for (const [key, button] of Object.entries(buttons)) {
      button.querySelector("kbd").hidden = !on;
      if (on) button.setAttribute("aria-keyshortcuts", key);
      else button.removeAttribute("aria-keyshortcuts");
    }
  }

  const letters = onLetters(drawKeys);
  drawKeys();
  addEventListener("keydown", pressed);
  on("back", back);
  for (const button of Object.values(buttons)) button.hidden = true;
  fill(lead, w.looking); // the first time takes seconds
  fill(main, h("h1", {}, w.title), lead, place, h("div.desk", {}, told, outcome, bar, lettersOff), again, changes.element);
  await read();
  return () => {
    round += 1;
    removeEventListener("keydown", pressed);
    off("back", back);
    letters();
  };
}

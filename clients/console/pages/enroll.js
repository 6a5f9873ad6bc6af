// Enroll: folders or files of crops, what their names say, progress, and which were refused.
import { announce, field, fill, h, notice } from "../dom.js";
import { loadSites } from "../main.js";
import { words } from "../words.js";
import { ofDrop, ofInput, sorted } from "./enroll_files.js";
import { sender } from "./enroll_send.js";
import { expressionOf, labelsOf, PATTERNS } from "./names.js";

const SHOWN_ERRORS = 100;
const SAMPLE = 5;

export async function render(main, { site, sites }) {
  const chosen = { pictures: [], left: 0 };
  let sending = null;

  const siteInput = h("input", { type: "text", required: true, value: site ?? "", list: "sites", spellcheck: false, maxLength: 64, oninput: () => draw() });
  const cameraInput = h("input", { type: "text", spellcheck: false, oninput: () => draw() });
  const pattern = h("select", { onchange: () => { own.hidden = pattern.value !== "own"; draw(); } },
    Object.entries(words.enroll.patterns).map(([name, text]) => h("option", { value: name }, text)));
  const ownInput = h("input.mono", { type: "text", spellcheck: false, placeholder: PATTERNS.market, oninput: () => draw() });
  const own = h("div", { hidden: true }, field(words.enroll.expression, ownInput, words.enroll.expressionHint));
  const sample = h("div.sample", {});
  const actions = h("div.actions", {});
  const progress = h("section.progress", { "aria-label": words.enroll.title });
  const well = h("section.well.wide", { "aria-label": words.enroll.drop });

  async function take(promised) {
    if (sending) return;
    const { pictures, left } = sorted(await promised);
    if (!pictures.length) {
      notice(words.enroll.noneFound, "bad");
      return;
    }
    Object.assign(chosen, { pictures, left });
    fill(progress);
    draw();
    announce(words.enroll.ready(pictures.length));
  }

  function expression() {
    if (pattern.value === "none") return undefined;
    return expressionOf(pattern.value === "own" ? ownInput.value : PATTERNS[pattern.value]);
  }

  function draw() {
    fill(sample);
    fill(actions);
    if (!chosen.pictures.length || sending) return;
    const names = expression();
    const labelled = chosen.pictures.map((each) => ({ ...each, labels: names === null ? null : labelsOf(each.path, names, cameraInput.value.trim()) }));
    fill(sample, chosen.left > 0 && h("p.soft", {}, words.enroll.left(chosen.left)),
      names === null ? h("p.error", { role: "alert" }, words.enroll.badExpression) : sampleTable(labelled));
    const fit = labelled.filter((each) => each.labels);
    fill(actions,
      h("button.main", { type: "button", disabled: !fit.length, onclick: () => send(labelled) }, words.enroll.go(fit.length)),
      h("button.quiet", { type: "button", onclick: clear }, words.enroll.clear));
  }

  function clear() {
    Object.assign(chosen, { pictures: [], left: 0 });
    draw();
  }

  async function send(labelled) {
    const name = siteInput.value.trim();
    if (!name) {
      notice(words.enroll.needsSite, "bad");
      siteInput.focus();
      return;
    }
    const fit = labelled.filter((each) => each.labels);
    const unfit = labelled.filter((each) => !each.labels).map(({ path }) => ({ path, why: words.enroll.unfit }));
    const view = progressView(fit.length, () => sending.stop());
    fill(progress, view.element);
    sending = sender(name, fit, view.show);
    draw();
    const state = await sending.finished;
    sending = null;
    view.end(state, name, unfit);
    Object.assign(chosen, state.stopped ? {} : { pictures: [], left: 0 });
    draw();
    await loadSites().catch(() => {});
  }

  const folderInput = h("input.unseen", { type: "file", webkitdirectory: true, multiple: true, tabIndex: -1, "aria-hidden": "true", onchange: () => take(ofInput(folderInput.files)) });
  const filesInput = h("input.unseen", { type: "file", multiple: true, tabIndex: -1, "aria-hidden": "true", onchange: () => take(ofInput(filesInput.files)) });
  fill(well, h("p.prompt", {}, h("b", {}, words.enroll.drop), " ", words.enroll.or, " ",
    h("button.link", { type: "button", onclick: () => folderInput.click() }, words.enroll.folder), " ", words.enroll.or, " ",
    h("button.link", { type: "button", onclick: () => filesInput.click() }, words.enroll.files), "."), folderInput, filesInput);
  const over = (event) => { event.preventDefault(); well.classList.add("over"); };
  const out = () => well.classList.remove("over");
  const drop = (event) => { event.preventDefault(); out(); take(ofDrop(event.dataTransfer)); };
  main.addEventListener("dragover", over);
  main.addEventListener("dragleave", out);
  main.addEventListener("drop", drop);

  fill(main,
    h("h1", {}, words.enroll.title),
    h("p.lead", {}, words.enroll.text),
    well,
    h("datalist", { id: "sites" }, sites.map((name) => h("option", { value: name }))),
    h("div.fields", {}, field(words.enroll.site, siteInput, words.enroll.siteHint),
      field(words.enroll.camera, cameraInput, words.enroll.cameraHint),
      field(words.enroll.names, pattern)),
    own, sample, actions, progress);
  return () => {
    sending?.stop();
    main.removeEventListener("dragover", over);
    main.removeEventListener("dragleave", out);
    main.removeEventListener("drop", drop);
  };
}

function sampleTable(labelled) {
  const [file, person, camera] = words.enroll.columns;
  const row = ({ path, labels }) => h("tr", {}, h("td.mono", {}, path),
    labels ? [h("td", {}, labels.identity ?? ""), h("td", {}, labels.camera ?? "")] : h("td.error", { colSpan: 2 }, words.enroll.unfit));
  return [
    h("h2", {}, words.enroll.ready(labelled.length)),
    h("table", {}, h("caption.unseen", {}, words.enroll.sample), h("thead", {}, h("tr", {}, [file, person, camera].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, labelled.slice(0, SAMPLE).map(row))),
  ];
}

/** A bar with its words, and the errors below it. */
function progressView(all, stop) {
  const bar = h("progress", { max: all, value: 0, "aria-label": words.enroll.title });
  const text = h("p", {}, words.enroll.progress(0, all));
  const waits = h("p.error", { role: "alert" });
  const errors = h("div", {});
  const stopping = h("button", { type: "button", onclick: stop }, words.enroll.stop);
  const element = h("div", {}, bar, h("div.bar", {}, text, stopping), waits, errors);
  let shownErrors = -1;

  function show(state) {
    bar.value = state.done;
    text.textContent = words.enroll.progress(state.done, all);
    waits.textContent = state.waits ?? "";
    if (state.errors.length !== shownErrors && shownErrors < SHOWN_ERRORS) fill(errors, errorList(state.errors));
    shownErrors = state.errors.length;
  }

  function end(state, site, unfit) {
    state.waits = null;
    shownErrors = -1;
    state.errors.push(...unfit);
    show(state);
    stopping.remove();
    const copies = state.enrolled - state.ids.size;
    waits.textContent = state.refused ?? "";
    const sentence = state.stopped ? words.enroll.stopped(state.done) : words.enroll.done(state.ids.size, site);
    fill(text, h("b", {}, sentence), copies > 0 && ` ${words.enroll.copies(copies)}`);
    announce(sentence);
  }

  return { element, show, end };
}

function errorList(errors) {
  if (!errors.length) return null;
  return [
    h("h2", {}, words.enroll.errors(errors.length)),
    h("ul.errors", {}, errors.slice(0, SHOWN_ERRORS).map(({ path, why }) => h("li", {}, h("b.mono", {}, path), ` ${why}`)),
      errors.length > SHOWN_ERRORS && h("li.soft", {}, words.enroll.moreErrors(errors.length - SHOWN_ERRORS))),
  ];
}

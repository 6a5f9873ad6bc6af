// What scores mean at a site: which cosine keeps how many false alarms, and whom that misses.
import { call, may, off, on } from "../api.js";
import { copyable } from "../dialogs.js";
import { field, fill, fresh, h, notice, unfocused } from "../dom.js";
import { words } from "../words.js";
import { curve } from "./curve.js";

const w = words.calibration;
const WISHED = 10; // false alarms in 1,000: where the slider stands first, where labels reach that

export async function render(main, { site }) {
  const place = h("div", {});
  const error = h("p.error", { role: "alert" });
  const button = h("button.main", { type: "button", onclick: measure });
  const kindText = h("p.hint", { id: fresh("kind"), role: "status" });
  const kind = h("select", { "aria-describedby": kindText.id, onchange: drawKind },
    Object.entries(w.kinds).map(([value, name]) => h("option", { value }, name)));
  let fewest = null; // of each kind of label, as the server says
  let label = w.measureFirst;
  let rate = null; // that the slider was moved to
  let waits = false; // for the connection
  const path = encodeURIComponent(site);

  async function draw() {
    const overview = await call(`console/sites/${path}/calibration`);
    const known = overview.calibration;
    waits = false;
    fewest = overview;
    drawKind();
    label = known?.measured ? w.measure : w.measureFirst;
    fill(button, label);
    fill(place,
      overview.curve.length ? tuner(overview, rate ?? WISHED, (chosen) => { rate = chosen; }) : h("p.none", {}, known ? w.guess(known.measured_on) : w.none),
      h("div.columns", {},
        known?.measured && h("section.card", {}, h("h2", {}, w.behind), facts(overview)),
        h("section.card", {}, h("h2", {}, label), h("p.soft", {}, w.measureText),
          may("admin") ? [h("div.kind", {}, field(w.labels, kind), kindText), h("div.actions", {}, button)] : h("p.hint", {}, w.readOnly), error)));
  }

  function drawKind() {
    kindText.textContent = w.kindText[kind.value](fewest);
  }

  async function measure() {
    button.disabled = true;
    button.textContent = w.measuring;
    error.textContent = "";
    try {
      const measured = await call(`sites/${path}/calibrate${kind.value === "auto" ? "" : `?labels=${kind.value}`}`, { method: "POST" });
      notice(measured.people === null ? w.measuredOn(measured.measured_on) : w.measured(measured.people));
      await draw();
    } catch (failure) {
      waits = failure.code === "lost";
      error.textContent = failure.message; // what stood before still stands
    } finally {
      button.disabled = false;
      button.textContent = label;
      if (unfocused()) button.focus({ preventScroll: true }); // a disabled button does not keep it
    }
  }

  fill(main, h("h1", {}, w.title), h("p.lead", {}, w.text), place);
  await draw();
  // whether measuring had begun before the connection was lost is not known: what there is by now is shown
  const back = () => { if (waits) draw().then(() => { error.textContent = ""; }, () => {}); };
  on("back", back);
  return () => off("back", back);
}

/** The slider, what it costs, and the curve that it moves along. It stands at a rate first, and `moved(rate)` is told where it goes. */
function tuner({ curve: points, compared }, first, moved) {
  const reached = points.findIndex((point) => point.missed !== null);
  const wished = points.findIndex((point) => point.false_alarms_per_1000 === first);
  const slider = h("input", { type: "range", id: fresh("slider"), min: 0, max: points.length - 1, oninput: () => moved(draw()) });
  slider.value = Math.max(wished, reached);
  const figures = h("div.figures", {});
  const said = h("p", {});
  const drawing = h("div.plot", { tabIndex: 0, role: "group", "aria-label": w.chart });
  const use = h("div", {});

  function draw() {
    const chosen = Number(slider.value);
    const { false_alarms_per_1000: rate, threshold, missed, people_needed: needed } = points[chosen];
    slider.setAttribute("aria-valuetext", w.spoken(rate, missed));
    fill(figures,
      figure(w.slider, w.alarms(rate)),
      figure(w.threshold, threshold === null ? w.tooFew : threshold.toFixed(3)),
      figure(w.missed, missed === null ? w.tooFew : words.percent(missed)));
    fill(said, missed === null ? w.needed(needed, compared) : w.missedText(missed));
    said.className = missed === null ? "error" : "soft";
    fill(drawing, curve(points, chosen));
    fill(use, missed !== null && copyable(w.use, `threshold={"false_alarms_per_1000": ${rate}}`));
    return rate;
  }

  draw();
  return h("section.card.tuner", {},
    h("h2", {}, w.costs), figures, said,
    h("div.field", {}, h("label", { htmlFor: slider.id }, w.slider), slider),
    drawing, use);
}

const figure = (name, value) => h("div", {}, h("p.soft", {}, name), h("p.big", {}, value));

function facts({ calibration: known }) {
  const { measured } = known;
  const rows = [
    [w.facts.labels, w.kinds[measured.labels]],
    known.people !== null && [w.facts.people, w.facts.peopleText(known.people)],
    [w.facts.now, w.facts.nowText(measured.people_now)],
    [w.facts.then, w.facts.thenText(measured.gallery_people, measured.gallery_items)],
    known.error !== null && [w.facts.error, words.percent(known.error)],
    measured.cllr !== null && [w.facts.cllr, w.facts.cllrText(measured.cllr)],
    measured.torn_tracks > 0 && [w.facts.torn, w.facts.tornText(measured.torn_tracks)],
    measured.notes?.length > 0 && [w.facts.notes, measured.notes.join(". ")],
  ].filter(Boolean);
  return h("dl", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

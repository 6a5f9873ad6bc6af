// Filters as chips: cameras, person, time; each opens with what can be chosen.
import { field, fill, h } from "./dom.js";
import { words } from "./words.js";

/** Chips that call `changed(filter)`, the API's filter object, {} for none. `cameras`: names, null for none. */
export function filterChips(cameras, changed) {
  const chosen = { cameras: new Set(), identity: "", after: "", before: "" };
  const holder = h("div.chips", { role: "group", "aria-label": words.filters.label });
  const tell = () => changed(filterOf(chosen));

  const cameraChip = chip(words.filters.camera, () => {
    const box = (name) => h("label.check", {}, h("input", {
      type: "checkbox", checked: chosen.cameras.has(name),
      onchange: (event) => {
        if (event.target.checked) chosen.cameras.add(name); else chosen.cameras.delete(name);
        cameraChip.refresh();
        tell();
      },
    }), name ?? words.noCamera);
    return h("div.choices", {}, cameras.map(box));
  }, () => [...chosen.cameras].map((name) => name ?? words.noCamera).join(", "), () => { chosen.cameras.clear(); tell(); });

  const personChip = chip(words.filters.person, () => field(words.filters.person, h("input", {
    type: "text", value: chosen.identity, spellcheck: false,
    onchange: (event) => { chosen.identity = event.target.value.trim(); personChip.refresh(); tell(); },
  }), words.filters.personHint), () => chosen.identity, () => { chosen.identity = ""; tell(); });

  const moment = (key) => field(words.filters[key], h("input", {
    type: "datetime-local", value: chosen[key],
    onchange: (event) => { chosen[key] = event.target.value; timeChip.refresh(); tell(); },
  }));
  const timeChip = chip(words.filters.time, () => [moment("after"), moment("before")],
    () => [chosen.after, chosen.before].some(Boolean) ? `${chosen.after.replace("T", " ") || "…"} – ${chosen.before.replace("T", " ") || "…"}` : "",
    () => { chosen.after = chosen.before = ""; tell(); });

  return fill(holder, cameras.length > 1 && cameraChip.element, personChip.element, timeChip.element);
}

/** What the chips say, as the API's filter. */
function filterOf(chosen) {
  const filter = {};
  if (chosen.cameras.size) filter.camera = [...chosen.cameras];
  if (chosen.identity) filter.identity = chosen.identity;
  if (chosen.after) filter.captured_after = new Date(chosen.after).toISOString();
  if (chosen.before) filter.captured_before = new Date(chosen.before).toISOString();
  return filter;
}

function chip(name, build, value, clear) {
  const summary = h("summary", {});
  const body = h("div.pop", {});
  const remove = h("button.quiet.icon", { type: "button", "aria-label": words.filters.clear(name) }, "×");
  const details = h("details", {}, summary, body);
  const element = h("div.chip", {}, details, remove);
  const refresh = () => {
    const text = value();
    fill(summary, text ? [h("span.soft", {}, `${name}: `), text] : name);
    element.classList.toggle("on", Boolean(text));
    remove.hidden = !text;
  };
  const close = (event) => {
    if (event.type === "keydown" ? event.key === "Escape" : !details.contains(event.target)) {
      details.open = false;
      if (event.type === "keydown") summary.focus();
    }
  };
  details.addEventListener("toggle", () => {
    if (details.open) fill(body, build());
    for (const kind of ["pointerdown", "keydown"]) {
      document[details.open ? "addEventListener" : "removeEventListener"](kind, close);
    }
  });
  remove.addEventListener("click", () => { clear(); details.open = false; refresh(); summary.focus(); });
  refresh();
  return { element, refresh };
}

// Elements, and what screen readers are told.

/** An element: h("p.soft", {title: "…", onclick}, child, …). Children are nodes or text; null and false are none. */
export function h(kind, props = {}, ...children) {
  const [name, ...classes] = kind.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !key.includes("-") && key !== "list" && key !== "form") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

/** The same for drawings, which are elements of another namespace. */
export function s(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== false && child !== "") element.append(child);
  }
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Says something to screen readers, without showing it. */
export function announce(text) {
  const place = document.getElementById("status");
  place.textContent = "";
  setTimeout(() => { place.textContent = text; }, 50);
}

/** Shows a sentence at the edge of the page for a while; screen readers say it, too. */
export function notice(text, kind = "") {
  const shown = h(`p.notice${kind ? `.${kind}` : ""}`, {}, text);
  document.getElementById("notices").append(shown);
  setTimeout(() => shown.remove(), kind === "bad" ? 9000 : 5000);
}

/** Whether the focus is nowhere, as after the element that had it went: only then may a page place it. */
export const unfocused = () => [null, document.body].includes(document.activeElement);

/** A number for a name that labels and controls share. */
let last = 0;
export function fresh(stem) {
  last += 1;
  return `${stem}-${last}`;
}

/** A control under its label, with a hint below it. */
export function field(label, control, hint = null) {
  control.id ||= fresh("field");
  const described = hint ? h("p.hint", { id: `${control.id}-hint` }, hint) : null;
  if (described) control.setAttribute("aria-describedby", described.id);
  return h("div.field", {}, h("label", { htmlFor: control.id }, label), control, described);
}

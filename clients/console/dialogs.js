// Dialogs: one asks before something is done, one shows text to copy, one asks for a key.
import { Failure, signIn } from "./api.js";
import { fresh, h, field, notice } from "./dom.js";
import { words } from "./words.js";

/** Opens a dialog over the page. It returns what `close(value)` was called with; null for Escape. */
export function open(title, build, { closable = true, wide = false } = {}) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const id = fresh("dialog");
    const dialog = h(`dialog${wide ? ".wide" : ""}`, { "aria-labelledby": id, "data-closable": closable });
    let result = null;
    const close = (value) => { result = value; dialog.close(); };
    dialog.append(h("header", {},
      h("h2", { id }, title),
      closable && h("button.quiet.icon", { type: "button", "aria-label": words.close, onclick: () => close(null) }, "×")));
    dialog.append(h("div.body", {}, build(close)));
    dialog.addEventListener("cancel", (event) => { if (!closable) event.preventDefault(); });
    dialog.addEventListener("click", (event) => { if (closable && event.target === dialog) close(null); });
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Closes every dialog as Escape would, except one that asks for a key. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[data-closable]")) dialog.close();
}

/** Asks before something is done that cannot be undone. */
export async function sure(title, text, go) {
  return (await open(title, (close) => [
    h("p", {}, text),
    h("div.actions", {},
      h("button.bad", { type: "button", onclick: () => close(true) }, go),
      h("button", { type: "button", autofocus: true, onclick: () => close(false) }, words.cancel)),
  ])) === true;
}

/** A text with a button that copies it. `heading`: the element of its label, by the headings that it stands below. */
export function copyable(label, text, heading = "h3") {
  const pre = h("pre", { tabIndex: 0, role: "region", "aria-label": label }, h("code", {}, text));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      notice(words.copied);
    } catch {
      getSelection().selectAllChildren(pre);
      notice(words.notCopied);
    }
  };
  const button = h("button.small", { type: "button", onclick: copy, "aria-label": `${words.copy}: ${label}` }, words.copy);
  return h("section.copyable", {}, h("header", {}, h(heading, {}, label), button), pre);
}

let asking = null;
/** Has the operator sign in; whoever asks meanwhile waits for the same dialog. */
export function askForKey() {
  asking ??= open(words.signIn.title, signInForm, { closable: false }).finally(() => { asking = null; });
  return asking;
}

function signInForm(close) {
  const key = h("input", { type: "password", name: "key", required: true, autocomplete: "current-password", autofocus: true });
  const error = h("p.error", { role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      await signIn(key.value);
      close(true);
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      error.textContent = failure.message;
      key.select();
    }
  };
  return h("form", { onsubmit: submit },
    h("p.soft", {}, words.signIn.intro),
    field(words.signIn.key, key, words.signIn.hint),
    error,
    h("div.actions", {}, h("button.main", { type: "submit" }, words.signIn.go)));
}

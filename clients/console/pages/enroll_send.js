// Sends crops one a request, a few at once. Each request has a key made of its content and labels, the same that
// `resight enroll` makes: whatever is sent again, from here or there, is enrolled once.
import { call, untilBack } from "../api.js";
import { words } from "../words.js";
import { hex, sha256 } from "./sha256.js";

const AT_ONCE = 4;

/**
 * Sends files: [{file, path, labels}]. `told({done, ids, errors, waits})` is called after each, `errors` being
 * [{path, why}]. Resolves when all are sent or `stop()` was called.
 */
export function sender(site, files, told) {
  const state = { done: 0, ids: new Set(), enrolled: 0, errors: [], waits: null, stopped: false, refused: null };
  let next = 0;

  async function worker() {
    while (next < files.length && !state.stopped) {
      const each = files[next];
      next += 1;
      const result = await sent(site, each, state, told);
      if (result === null) return; // stopped: it was not sent
      state.done += 1;
      if (result.id) {
        state.enrolled += 1;
        state.ids.add(result.id);
      } else {
        state.errors.push({ path: each.path, why: result.why });
      }
      told(state);
    }
  }

  const finished = Promise.all(Array.from({ length: AT_ONCE }, worker)).then(() => state);
  return { finished, stop: () => { state.stopped = true; } };
}

async function sent(site, { file, labels }, state, told) {
  let data;
  try {
    data = new Uint8Array(await file.arrayBuffer());
  } catch {
    return { why: words.enroll.unreadable };
  }
  const key = contentKey(site, labels, data);
  while (!state.stopped) {
    const form = new FormData();
    form.append("images", new Blob([data]), file.name);
    form.append("site", site);
    form.append("records", JSON.stringify([labels]));
    try {
      const answer = await call("gallery", { method: "POST", body: form, headers: { "Idempotency-Key": key } });
      state.waits = null;
      return { id: answer.items[0]?.id ?? key };
    } catch (failure) {
      if (failure.code === "lost") {
        Object.assign(state, { waits: words.enroll.waiting });
        told(state);
        await untilBack();
      } else if (failure.facts?.retry_after_s) {
        Object.assign(state, { waits: words.enroll.busy });
        told(state);
        await new Promise((resolve) => setTimeout(resolve, 1000 * failure.facts.retry_after_s));
      } else if (failure.code === "conflict" && failure.message.includes("used by two requests")) {
        await new Promise((resolve) => setTimeout(resolve, 200)); // a copy of this file is being enrolled
      } else if ([401, 403].includes(failure.status)) {
        Object.assign(state, { stopped: true, refused: failure.message }); // none of the others would be taken either
      } else {
        return { why: reasonOf(failure) };
      }
    }
  }
  return null;
}

function reasonOf(failure) {
  if (failure.code === "conflict" && failure.message.includes("were erased")) return words.enroll.erasedBefore;
  return failure.message?.replace(/^image 0: /, "") ?? String(failure);
}

/** The Idempotency-Key of a crop with its labels at a site. */
export function contentKey(site, labels, data) {
  const text = new TextEncoder().encode(asPythonWrites(site, labels));
  const content = sha256(data);
  const both = new Uint8Array(text.length + content.length);
  both.set(text);
  both.set(content, text.length);
  return `content-${hex(sha256(both))}`;
}

/** [site, labels] as Python's json.dumps writes it with its keys in order. */
function asPythonWrites(site, labels) {
  const quoted = (value) => JSON.stringify(value)
    .replace(/[^ -~]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const pairs = Object.keys(labels).sort().map((name) => `${quoted(name)}: ${quoted(labels[name])}`);
  return `[${quoted(site)}, {${pairs.join(", ")}}]`;
}

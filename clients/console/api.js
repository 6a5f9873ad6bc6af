// Calls of the server: the session's token beside the cookie, every failure as one sentence.
import { words } from "./words.js";

/** What went wrong, as a sentence for the operator; `code` for programs: "lost" where nobody answered. */
export class Failure extends Error {
  constructor(sentence, code, status = 0, facts = {}) {
    super(sentence);
    this.code = code;
    this.status = status;
    this.facts = facts;
  }
}

export const session = { required: true, scope: null, key: null, csrf: null };
const PATIENCE_MS = 5000; // without an answer: then it is asked whether the server is there
const PROBE_MS = 3000; // how long that may take
const SCOPES = ["read", "write", "admin"];

/** Whether the session may do what needs this scope. */
export const may = (scope) => SCOPES.indexOf(session.scope) >= SCOPES.indexOf(scope);

const events = new EventTarget();
/** "lost" and "back" of the connection; "session" when somebody signed in or out; "missing" after a 404. */
export const on = (name, listener) => events.addEventListener(name, listener);
export const off = (name, listener) => events.removeEventListener(name, listener);

/** Has the operator sign in; set by the shell. Calls that were refused wait for it and are made again. */
export const ask = { signIn: async () => { throw new Failure(words.signIn.needed, "unauthorized", 401); } };

/** Asks the server who this browser is. */
export async function refreshSession() {
  take(await answerOf(await reach("session", {})));
}

/** Signs in with an API key. */
export async function signIn(key) {
  take(await answerOf(await reach("session", json("POST", { key }))));
}

/** Signs out. */
export async function signOut() {
  await reach("session", { method: "DELETE" });
  await refreshSession();
}

function take(answer) {
  Object.assign(session, { required: answer.required, scope: answer.scope, key: answer.key, csrf: answer.csrf_token });
  events.dispatchEvent(new Event("session"));
}

export const json = (method, body) =>
  ({ method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

/** The server's answer to a call. Throws Failure, after the operator was asked to sign in where that was lacking. */
export async function call(path, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const response = await reach(path, options);
    if (response.status === 401 && attempt < 3) {
      await ask.signIn();
    } else if (response.status === 403 && attempt === 0 && session.required) {
      const sent = session.csrf;
      await refreshSession(); // another tab has signed in anew: the cookie is its session's now
      if (session.csrf === sent) return answerOf(response);
    } else {
      return answerOf(response);
    }
  }
}

async function reach(path, options) {
  const headers = { ...options.headers };
  if (session.csrf && options.method && options.method !== "GET") headers["X-CSRF-Token"] = session.csrf;
  const watch = setInterval(doubt, PATIENCE_MS);
  try {
    const response = await fetch(path, { ...options, headers, credentials: "same-origin", cache: "no-store" });
    setLost(false);
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unanswered();
  } finally {
    clearInterval(watch);
  }
}

function unanswered() {
  setLost(true);
  return new Failure(words.connection.lost, "lost");
}

async function answerOf(response) {
  if (response.status === 204) return null;
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error; // a newer question has taken its place
    if (!(error instanceof SyntaxError)) throw unanswered(); // the connection broke within the answer
    throw new Failure(words.connection.strange(response.status), "strange", response.status);
  }
  if (response.ok) return body;
  if (response.status === 404) events.dispatchEvent(new Event("missing"));
  throw new Failure(body.detail ?? words.connection.strange(response.status), body.code, response.status, body);
}

let lost = false;
function setLost(now) {
  if (lost === now) return;
  lost = now;
  events.dispatchEvent(new Event(now ? "lost" : "back"));
  if (now) setTimeout(probe, 1500);
}

async function probe() {
  if (!lost) return;
  if (await answers()) setLost(false);
  else setTimeout(probe, 2000);
}

/** Whether the server answers at all. One that hangs, or a cut cable, refuses nothing: so not for ever. */
async function answers() {
  try {
    await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
    return true;
  } catch {
    return false;
  }
}

addEventListener("online", async () => { // the browser knows of a cable or a WLAN that is back
  if (lost && (await answers())) setLost(false);
});

/** Says that the connection is lost where nothing at all is answered; some calls only take long. */
async function doubt() {
  if (!lost && !(await answers())) setLost(true);
}

/** Resolves when the server answers again. */
export function untilBack() {
  if (!lost) return new Promise((resolve) => setTimeout(resolve, 500));
  return new Promise((resolve) => events.addEventListener("back", resolve, { once: true }));
}

/** Follows a job until it has ended; returns a function that stops it. A cut connection is taken up again. */
export function watchJob(id, show) {
  let source = null;
  let stopped = false;

  function told(job) {
    if (stopped) return;
    if (ENDED.includes(job.state)) stop();
    show(job);
  }

  async function refused() {
    if (stopped) return;
    if (source.readyState !== EventSource.CLOSED) {
      doubt(); // the browser tries again by itself, and says nothing of it
      return;
    }
    try {
      told(await call(`adapt/${id}`)); // which has the operator sign in, where that is why
    } catch (error) {
      show(null, error);
      if (error.code !== "lost") return;
    }
    if (!stopped) setTimeout(follow, 1000);
  }

  function follow() {
    if (stopped) return;
    source = new EventSource(`adapt/${id}/events`);
    source.addEventListener("job", (event) => told(JSON.parse(event.data)));
    source.addEventListener("error", refused);
  }

  function stop() {
    stopped = true;
    source?.close();
  }

  follow();
  return stop;
}

export const ENDED = ["succeeded", "declined", "failed", "cancelled", "interrupted"];
export const thumbnail = (id) => `console/thumbnails/${encodeURIComponent(id)}`;
export const picture = (id) => `gallery/${encodeURIComponent(id)}/image`;

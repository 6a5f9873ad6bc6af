// A query as a command and as a program, to be pasted elsewhere.
import { session } from "../api.js";

/** The query as a command of a shell. */
export function curlOf(base, fields, files) {
  const parts = ["curl"];
  if (session.required) parts.push('-H "X-API-Key: KEY"');
  for (const name of files) parts.push(`-F ${quoted(`images=@${name}`)}`);
  for (const [name, value] of fields) parts.push(`-F ${quoted(`${name}=${value}`)}`);
  parts.push(quoted(`${base}/query`));
  return parts.join(" \\\n  ");
}

/** One word of a shell. */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The query with Resight's own client. */
export function pythonOf(base, fields, files) {
  const given = Object.fromEntries(fields);
  const words = [literal(given.site)];
  if (files.length) words.push(files.length === 1 ? literal(files[0]) : `[${files.map(literal).join(", ")}]`);
  if (given.item_id) words.push(`item_id=${literal(given.item_id)}`);
  if (given.query_camera) words.push(`query_camera=${literal(given.query_camera)}`);
  if (given.exclude_same_camera) words.push("exclude_same_camera=True");
  if (given.filter) words.push(`filter=${python(JSON.parse(given.filter))}`);
  words.push('group_by="identity"', `top_k=${given.top_k}`);
  const key = session.required ? ', api_key="KEY"' : "";
  return [
    "from resight_client import Client",
    "",
    `with Client(${literal(base)}${key}) as client:`,
    `    answer = client.query(${words.join(", ")})`,
    "    print(answer.decision, answer.probability)",
    "    for person in answer.people:",
    "        print(person.rank, person.identity, person.score)",
  ].join("\n");
}

/** Text as Python writes it: JSON's escapes are Python's, too. */
const literal = (text) => JSON.stringify(text);

function python(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([k, v]) => `${literal(k)}: ${python(v)}`).join(", ")}}`;
  return typeof value === "string" ? literal(value) : String(value);
}

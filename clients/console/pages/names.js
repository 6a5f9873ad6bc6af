// What the names of files say: person, camera, time.
const GROUPS = ["identity", "camera", "captured_at"];

export const PATTERNS = {
  none: null,
  folders: "(?<identity>[^/]+)/(?<camera>[^/_]+)_[^/]*$",
  market: "(?<identity>\\d+)_(?<camera>c\\d+)",
};

/** An expression as `resight enroll --pattern` takes it; null for one that is none, or names nothing of an item. */
export function expressionOf(text) {
  try {
    const expression = new RegExp(text.replaceAll("(?P<", "(?<"), "u");
    const names = Object.keys(new RegExp(`${expression.source}|`, "u").exec("").groups ?? {});
    return names.length && names.every((name) => GROUPS.includes(name)) ? expression : null;
  } catch {
    return null;
  }
}

/** The labels of a file; null where its name does not fit. `path`: below what was dropped, with the name. */
export function labelsOf(path, expression, camera) {
  const labels = camera ? { camera } : {};
  if (expression) {
    const searched = expression.source.includes("/") ? path : path.split("/").at(-1);
    const match = expression.exec(searched);
    if (!match) return null;
    for (const [name, value] of Object.entries(match.groups)) if (value !== undefined) labels[name] = value;
  }
  for (const name of Object.keys(labels)) labels[name] = labels[name].normalize("NFC"); // as the server reads them
  return labels;
}

// Every text of the console.

const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
const number = (value) => value.toLocaleString("en");
const crops = (count) => plural(count, "crop", "crops");
const percent = (share) => `${Math.round(100 * share)} %`;

/** A probability as ["over ", 99], ["", 37] or ["under ", 1]: rounded, but never to a certainty. */
export function rounded(probability) {
  const hundredths = Math.round(100 * probability);
  if (hundredths > 99) return ["over ", 99];
  return hundredths < 1 ? ["under ", 1] : ["", hundredths];
}

/** The same as text. */
export const likely = (probability) => `${rounded(probability).join("")} %`;

/** What an entry of the journal did; what it says of erased items is not in it any more. */
function done({ action, items, undoes, changes }) {
  const of = (field) => changes.find((change) => change.field === field);
  const name = of("identity");
  const person = changes.find((change) => change.item === null)?.identity ?? "somebody who is erased by now";
  const before = name?.before ?? "nobody";
  const after = name?.after ?? "nobody";
  const denied = of("not_person");
  const pair = of("different");
  const texts = {
    rename: () => `${before} was renamed ${after}`,
    merge: () => `${before} was merged into ${after}, ${crops(items)}`,
    split: () => `${crops(items)} of ${before} were given to ${after}`,
    name: () => `${crops(items)} without a name were named ${after}`,
    update: () => (name ? `${crops(items)} of ${before} were given to ${after}` : `labels of ${crops(items)} were changed`),
    hide: () => `${person} was hidden`,
    show: () => `${person} was shown again`,
    feature: () => `another picture stands for ${person}`,
    different: () => (denied ? `a crop was said not to show ${denied.identity}` : `${pair?.identity ?? "two people"} was said not to be ${pair?.other ?? "the same"}`),
    "not-different": () => `it was taken back that ${denied ? "a crop does not show" : `${pair?.other ?? "somebody"} is not`} ${(denied ?? pair)?.identity ?? "somebody"}`,
    undo: () => `entry ${undoes} was undone, ${crops(items)}`,
  };
  if (!changes.length && action !== "undo") return `${action}: ${crops(items)}, which are erased by now`;
  return (texts[action] ?? (() => action))();
}

/** A number of bytes, as people say it. */
export function bytes(count) {
  if (count === null || count === undefined) return "not known";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A time of the server in the operator's own zone. */
export function time(iso, seconds = false) {
  if (!iso) return "time not known";
  const style = { dateStyle: "medium", timeStyle: seconds ? "medium" : "short" };
  return new Date(iso).toLocaleString("en-GB", style);
}

/** The same without year and seconds, where there is little room. */
export const shortTime = (iso) => new Date(iso).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** How long something took or lasts. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "none yet";
  if (seconds < 1) return `${Math.max(1, Math.round(1000 * seconds))} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

const TIERS = { 0: "centring", 1: "statistics", 2: "BNTA", 3: "groups" };

/** Tiers of adaptation, as the report of an adaptation names them. */
export function tiers(names) {
  if (names === null || names === undefined) return "tiers that an older version chose";
  if (names === "none") return "the bundle's own values";
  const known = names.split("+").filter((tier) => tier in TIERS).map((tier) => TIERS[tier]);
  return `tier ${names}${known.length ? ` (${known.join(" over ")})` : ""}`;
}

export const words = {
  name: "Resight",
  skip: "Skip to the page",
  pages: { search: "Search", gallery: "Gallery", people: "People", unknown: "Unknown", review: "Review", enroll: "Enroll", site: "Site", calibration: "Calibration", system: "System", keys: "Keys and audit" },
  nav: "Pages",
  site: "Site",
  noSite: "no site yet",
  theme: { label: "Colours", system: "Colours of the system", light: "Light colours", dark: "Dark colours" },
  close: "Close",
  cancel: "Cancel",
  copy: "Copy",
  copied: "Copied.",
  notCopied: "This browser does not let a page copy; select the text and copy it yourself.",
  loading: "Loading",
  more: "Show more",
  again: "Try again",
  unnamed: "No name",
  noCamera: "no camera",
  noTime: "no time",
  noPicture: "No picture kept",
  percent,
  number,
  items: (count) => plural(count, "item", "items"),
  crops,
  scopes: {
    read: "may look and search",
    write: "may enroll and erase, too",
    admin: "may do everything: adapt, roll back, keys",
  },
  connection: {
    lost: "The server does not answer. Nothing on this page is lost; it goes on when the server is back.",
    back: "The server answers again.",
    strange: (status) => `The server answered ${status} without saying why.`,
    incomplete: "This page cannot be loaded, though the server answers. It may have been updated: load the whole page again.",
  },
  signIn: {
    title: "Sign in",
    intro: "This server asks for an API key. The key itself is not kept in the browser; the session ends after "
      + "twelve hours, or when the key is revoked.",
    key: "API key",
    hint: "The first one was printed when the server started; more come from: resight key add SCOPE",
    go: "Sign in",
    out: "Sign out",
    needed: "Sign in with an API key.",
    as: (key, scope) => `${key}, scope ${scope}`,
    local: "This server asks nobody for a key.",
  },
  firstSite: {
    title: "Nothing is enrolled yet",
    text: "A site begins with its first crops.",
    go: "Enroll crops",
    ask: "Somebody with a key of scope write has to enroll crops first.",
  },
  search: {
    title: "Search",
    drop: "Drop crops of one person here",
    or: "or paste them, or",
    pick: "choose files",
    add: "Add another crop",
    hint: "One crop, or several of the same walk: they count as one query.",
    crops: (count) => plural(count, "crop", "crops of one person"),
    item: "An enrolled crop",
    remove: (name) => `Remove ${name}`,
    clear: "Start over",
    searching: "Searching",
    seenAt: "Seen at",
    anyCamera: "camera not known",
    notThere: "leave out this camera",
    none: "Results appear here: people, each once, with the crops that speak for them.",
    notPicture: (name) => `${name} is no picture; drop JPEG, PNG, WebP or AVIF files.`,
    tooMany: (most) => `At most ${most} crops make one query; the first ${most} were taken.`,
    empty: "Nobody meets these conditions",
    emptyText: "No enrolled item is left to compare with. Take a filter away and search again.",
    match: (who) => `Match: ${who}`,
    matchText: (probability) => `One unknown person in a hundred, at most, would score as high. Probability ${probability}.`,
    ambiguous: (who) => `Ambiguous: it may be ${who}`,
    ambiguousText: (probability) => `That is not sure: look at the first people closely. Probability ${probability}.`,
    nobody: "Nobody who is enrolled",
    nobodyText: (who, probability) => `${who} is nearest, but of ten unknown people at least one would score as high. Probability ${probability}.`,
    nearest: (who) => `Nearest: ${who}`,
    guessText: (probability) => `Whether it is this person is not known. Probability ${probability}, a guess from other galleries: here, too few `
      + "named people were seen by two cameras to measure what a score means (32 are needed).",
    unknownText: "Whether it is this person is not known: nothing says yet what scores mean at this site.",
    unnamedWho: "somebody without a name",
    unknownPerson: "Unknown person",
    score: "score",
    guess: "a guess",
    ahead: (margin) => `${margin} ahead of the next`,
    seen: "Seen at",
    denyText: (who) => `The crop that you search with does not show ${who}`,
    evidence: (who, rank) => `Crops of ${who}, rank ${rank}`,
    answered: (people, ms) => `${plural(people, "person", "people")} in ${Math.round(ms)} ms`,
    moreOf: "Show more people",
    code: "Copy as curl or Python",
    codeTitle: "The same query from a program",
    withKey: "With a key: put it where KEY stands.",
  },
  filters: {
    label: "Filters",
    camera: "Cameras",
    person: "Person",
    personHint: "the exact name",
    after: "Seen since",
    before: "Seen before",
    time: "Time",
    any: "any",
    clear: (name) => `Take the filter ${name} away`,
  },
  crop: {
    title: "Enrolled crop",
    picture: (who, where) => `${who} at ${where}`,
    search: "Search with this crop",
    deny: (who) => `Not ${who}`,
    denyAll: (who, count) => (count === 1 ? `Not ${who}` : `Not ${who}: ${crops(count)}`),
    deniedAll: (who, count) => `It is noted that ${plural(count, "crop does", "crops do")} not show ${who}. Last changes takes it back, crop by crop.`,
    denied: (who) => `It is noted that this crop does not show ${who}. Last changes takes it back.`,
    erase: "Erase",
    eraseTitle: "Erase this crop?",
    eraseText: "Its image, its embeddings and its thumbnail go. That cannot be undone.",
    erased: (purged) => (purged === false ? "Erased. Its last copies leave the files within moments." : "Erased."),
    facts: { person: "Person", camera: "Camera", captured: "Seen", enrolled: "Enrolled", id: "Id" },
  },
  gallery: {
    title: "Gallery",
    text: (count, site) => `${plural(count, "item", "items")} at ${site}, in order of enrolling.`,
    empty: "No item meets these conditions.",
    choose: "Choose several",
    chosen: (count) => `${number(count)} chosen`,
    done: "Done",
    erase: (count) => `Erase ${number(count)}`,
    eraseTitle: (count) => `Erase ${plural(count, "crop", "crops")}?`,
    eraseText: "Images, embeddings and thumbnails go. That cannot be undone.",
    erased: (count) => `${plural(count, "crop", "crops")} erased.`,
    elsewhere: (count) => `${plural(count, "crop", "crops")} had been erased by somebody else.`,
    sheet: "Contact sheet",
  },
  map: {
    title: "Map of these crops",
    label: (count) => `Map of ${crops(count)}`,
    how: "Crops that look alike lie near each other. Draw around crops to choose them; a click chooses one, or gives it up. "
      + "By keyboard: in the sheet below, arrow keys go from crop to crop, and Space chooses.",
    howRead: "Crops that look alike lie near each other.",
    shown: (share) => `This plane shows ${percent(share)} of how they differ.`,
    some: (points, count) => `${number(points)} of ${crops(count)} are on it, at equal distances in the order of enrolling.`,
    without: (count) => `${plural(count, "crop has", "crops have")} no embedding yet, and no place here.`,
    one: "All these crops lie in one place: they do not differ.",
    drawing: "The map is being made.",
    none: "Choose none",
  },
  letters: {
    label: "Single-letter keys",
    off: "Single-letter keys are off: only the buttons decide. They are switched on below the choice of colours.",
  },
  people: {
    title: "People",
    text: (site) => `People at ${site} who have a name, in the order of names.`,
    sheet: "People",
    none: "There is nobody to show: no name fits, or nobody has one yet.",
    find: "Find a name",
    withHidden: "Hidden people, too",
    hidden: "hidden",
    all: "All people",
    cropsOf: (name) => `Crops of ${name}`,
    noCrops: "No crop bears this name any more.",
    gone: (name, site) => `Nobody at ${site} is called ${name} any more: renamed, merged or erased, perhaps in another tab. `
      + "The last changes say which.",
    seen: (from, until) => (from === until ? from : `${from} to ${until}`),
    stands: "stands for the person",
    rename: "Rename or merge",
    renameTitle: (name) => `Another name for ${name}`,
    name: "Name",
    renameGo: "Rename",
    renamed: (name, to) => `${name} is called ${to} now.`,
    looksLike: "Looks most like",
    score: (cosine) => `cosine ${cosine.toFixed(2)}`,
    taken: (other) => `${other} is a person here already. Is it the same one?`,
    alike: (mean, best) => `Cosine ${mean.toFixed(2)} between their means, ${best.toFixed(2)} between the two crops that are most alike; `
      + "1 would be the same picture.",
    alikeUnknown: "How alike they are is not known: one of them has no embedding.",
    mergeText: (other) => `The crops of both would be called ${other}. It can be undone under Last changes.`,
    merge: (name, to) => `Merge ${name} into ${to}`,
    merged: (name, to) => `${name} was merged into ${to}.`,
    hide: "Hide from answers",
    show: "Show in answers again",
    wasHidden: (name) => `No query finds ${name} any more.`,
    shown: (name) => `Queries find ${name} again.`,
    feature: "Let it stand for the person",
    featured: (name) => `This picture stands for ${name} now.`,
    split: (count) => `Split off ${plural(count, "crop", "crops")}`,
    splitTitle: (count, name) => `Whom ${count === 1 ? "does this crop" : `do these ${number(count)} crops`} of ${name} show?`,
    splitKnown: (to, count) => `${to} is a person here already, with ${crops(count)}.`,
    give: (count, to) => `Give ${plural(count, "crop", "crops")} to ${to}`,
    whoseTitle: (count) => `Whom ${count === 1 ? "does this crop" : `do these ${number(count)} crops`} show?`,
    wasSplit: (count, to) => `${plural(count, "crop is", "crops are")} called ${to} now.`,
  },
  unknown: {
    title: "Unknown people",
    text: (unnamed) => `${plural(unnamed, "crop has", "crops have")} no name. Those that look like one person stand together, `
      + "the largest group first: look at all of a group, then name it as a whole.",
    grouping: "Crops without a name are being compared.",
    none: (unnamed) => (unnamed ? `${plural(unnamed, "crop has", "crops have")} no name, and no two of them look like one person.`
      : "Every crop here has a name."),
    newest: (count) => `Only the newest ${number(count)} of them were looked at.`,
    measured: (cosine) => `Crops stand together that share their neighbours and have a cosine of at least ${cosine.toFixed(2)}, by the names of this site.`,
    guess: (cosine) => `Crops stand together that share their neighbours and have a cosine of at least ${cosine.toFixed(2)}. `
      + "That is a guess until names of this site have been measured (Calibration).",
    name: "Who is it?",
    go: (count) => `Name all ${number(count)}`,
    noName: "Say who these crops show.",
    looksLike: "looks most like",
    all: (count) => `Show all ${number(count)}`,
    some: "Choose some of them",
    nameSome: (count) => `Name ${plural(count, "crop", "crops")}`,
    fewer: "Show fewer",
    others: "Other unknown people",
    named: (count, name) => `${plural(count, "crop is", "crops are")} called ${name} now.`,
    joined: (count, name) => `${plural(count, "crop was", "crops were")} added to ${name}, who was known already.`,
    look: (name) => `Look at ${name}`,
    taken: (name) => `Somebody was faster: these crops are called ${name} by now.`,
    fallen: "These crops do not stand together any more: some were erased or named, perhaps in another tab.",
    notGiven: (name) => `Your name for them, ${name}, was not given.`,
  },
  review: {
    title: "Review",
    text: (open) => `${plural(open, "case is", "cases are")} in doubt. Do both sides show the same person? The most useful case comes first.`,
    looking: "Doubtful cases are being looked for.",
    none: "There is nothing to decide: nobody at this site is in doubt. New cases come with new crops and names.",
    onlySkipped: (open) => `You have gone past ${open === 1 ? "the one case that is" : `all ${number(open)} cases that are`} in doubt.`,
    again: "Show them again",
    case: "The case",
    keys: "Keys",
    side: (identity) => identity ?? "No name",
    probability: "that it is one person",
    guess: "a guess",
    noProbability: "cosine; what it means here is not known",
    skippedBefore: "skipped before",
    same: "Same person",
    different: "Different people",
    skip: "Skip",
    next: "Next case",
    undo: "Undo the last",
    back: "Back to the last",
    outcome: ({ kind, sides: [one, other] }) => ({
      unnamed: `Same: ${crops(one.items)} without a name will be called ${other.identity}. Different: it is noted that ${one.items === 1 ? "it does" : "they do"} not show ${other.identity}.`,
      merge: `Same: ${crops(one.items)} of ${one.identity} will be called ${other.identity}. Different: it is noted that they are two people.`,
      misnamed: `Same: the crop of ${one.identity} will be called ${other.identity}. Different: it stays with ${one.identity}, and it is noted that it does not show ${other.identity}.`,
    })[kind],
    wasSame: (identity) => `Same person: called ${identity} now.`,
    wasDifferent: "Different people: noted, and not asked again.",
    wasSkipped: "Skipped: the case comes behind the others.",
    nothingToUndo: "There is nothing to undo: you have decided nothing on this page yet.",
    askedAgain: "The last decision was undone; here is the case again.",
    shownAgain: "Here is the last case again.",
    faster: (entry) => `Somebody was faster: ${done(entry)}, by ${entry.actor}. Your answer to that case was not taken.`,
    arrived: "Your answer had reached the server before the connection was lost, and counts.",
    changed: "That case is not open any more: what it asks about was changed or erased meanwhile. Your answer was not taken.",
    lost: "The server does not answer, and whether your answer reached it is not known. The case stays here: answer it again when the server is back.",
    answerAgain: "Whether your answer to this case reached the server is not known: answer it again. It counts once.",
    lostUndo: "The server does not answer, and whether the undo reached it is not known. Last changes will say so when the server is back.",
    readOnly: "Answering needs a key of scope write.",
  },
  journal: {
    title: "Last changes",
    none: "Nothing has been corrected yet.",
    what: done,
    by: (actor, when) => `by ${actor}, ${when}`,
    undo: "Undo",
    undoThis: (entry) => `Undo entry ${entry}`,
    undone: (entry) => `Entry ${entry} was undone.`,
    wasUndone: (by) => `undone by ${by}`,
  },
  enroll: {
    title: "Enroll",
    text: "Crops of people, each of one person. What was enrolled before with the same labels is left as it is, so a "
      + "folder can be dropped again and again.",
    drop: "Drop folders or files here",
    or: "or",
    folder: "choose a folder",
    files: "choose files",
    site: "Site",
    siteHint: "A new name begins a new site.",
    camera: "Camera of all",
    cameraHint: "Leave it empty where the names say it, or nobody knows.",
    names: "What names say",
    patterns: {
      none: "nothing",
      folders: "PERSON/CAMERA_anything.jpg",
      market: "PERSON_CAMERA…, like 0046_c1s1_000136.jpg",
      own: "my own expression",
    },
    expression: "Expression",
    expressionHint: "Groups named identity, camera or captured_at. With a / in it, it is looked for in the path.",
    badExpression: "This is no regular expression with such groups.",
    ready: (count) => `${plural(count, "picture", "pictures")} ready`,
    left: (count) => `${plural(count, "file is", "files are")} no picture and left out.`,
    noneFound: "There is no picture among these files: JPEG, PNG, WebP, AVIF or HEIC.",
    sample: "What the names say",
    columns: ["File", "Person", "Camera"],
    unfit: "does not fit",
    go: (count) => `Enroll ${plural(count, "crop", "crops")}`,
    stop: "Stop",
    clear: "Clear",
    needsSite: "Name the site first.",
    progress: (done, all) => `${number(done)} of ${number(all)}`,
    waiting: "The server does not answer. Sending goes on by itself.",
    busy: "The server is busy. Sending goes on by itself.",
    done: (count, site) => `${plural(count, "crop is", "crops are")} enrolled at ${site}.`,
    copies: (count) => `${plural(count, "of them is a copy", "of them are copies")} of others, which are enrolled once.`,
    known: (count) => `${plural(count, "crop", "crops")} had been enrolled before.`,
    stopped: (done) => `Stopped after ${number(done)}. The same files again go on from there.`,
    errors: (count) => `${plural(count, "file was", "files were")} not enrolled`,
    moreErrors: (count) => `and ${number(count)} more`,
    erasedBefore: "it was enrolled and erased, and is not brought back",
    unreadable: "it cannot be read from this computer any more",
    readOnly: "This key may look but not enroll. Sign in with one of scope write or admin.",
  },
  siteView: {
    live: (version, what) => `Version ${version}, with ${what}`,
    items: (items, cameras) => `${plural(items, "item", "items")} from ${plural(cameras, "camera", "cameras")}.`,
    fitted: (count, erased) => `Its profile was fitted to ${plural(count, "item", "items")}`
      + (erased ? `, of which ${number(erased)} ${erased === 1 ? "is" : "are"} erased by now.` : "."),
    calibration: {
      none: "Nothing says yet what scores mean here.",
      guess: (on) => `What scores mean is a guess, carried over from ${on}.`,
      measured: (people) => `What scores mean was measured by ${plural(people, "named person", "named people")} of this site.`,
    },
    cameras: "Cameras",
    cameraItems: (items, people) => `${plural(items, "item", "items")}${people ? `, ${plural(people, "name", "names")}` : ""}`,
    matrix: "How alike cameras are",
    matrixText: "Mean similarity of the crops of two cameras. Where cameras differ only in who walks by, all values are "
      + "about even; a dark diagonal says that crops are alike because one camera took them.",
    matrixNone: "An adaptation compares the cameras; there was none yet.",
    places: "Places of held-out crops",
    placesText: (by, among) => `${by === "labels" ? "Each looks for its person among the crops of other cameras, by the labels that the site has"
      : "Each looks for itself, by another view of it: mirrored, moved, brighter or darker"}. 1 is the first place; `
      + `${number(among)} crops were ranked, and none of those below was fitted to.`,
    place: (before, after) => (before === after ? `place ${before}` : `place ${before} → ${after}`),
    before: "before",
    after: "after",
    adapt: "Adapt",
    adaptText: "The site learns its cameras from its own crops. No labels are needed, and queries go on meanwhile. A gate "
      + "keeps only what it has reason to think helps.",
    tier: "What to try",
    auto: "what the gate accepts of 0 and 1+0",
    gate: "The gate decides",
    gateHint: "Without it, what is chosen goes live unjudged.",
    go: "Adapt this site",
    cancel: "Cancel the adaptation",
    running: (stage) => `Adapting: ${stage}`,
    rollingBack: (stage) => `Rolling back: ${stage}`,
    ends: {
      succeeded: (what, version) => `It succeeded: ${what} went live as version ${version}.`,
      rolledBack: (version) => `Rolled back. Version ${version} is live.`,
      declined: "It declined, and the site stayed as it was",
      failed: "It failed, and the site stayed as it was",
      cancelled: "It was cancelled, and the site stayed as it was",
      interrupted: "The server stopped; its next start goes on",
    },
    rungs: "What was tried",
    rung: (what, below) => `${what}, over ${below}`,
    taken: "taken",
    refused: "refused",
    judges: {
      labels: "decided by labels",
      signals: "decided by signals without labels",
      veto: "decided by a veto",
      off: "the gate was off",
    },
    gain: (by, gain, low, high) => `Change of mAP, ${by === "labels" ? "measured" : "predicted"}: ${gain} (${low} to ${high})`,
    notes: "Notes",
    versions: "Versions",
    causes: { created: "the site began", adapt: "adapted", rollback: "rolled back", reembed: "re-embedded for another model", refit: "made again" },
    liveNow: "live",
    lost: "The server does not answer, and whether the job was begun is not known. This page shows it when the server is back.",
    rollBack: "Roll back",
    rollBackTitle: "Roll back the last adaptation?",
    rollBackText: "A new version gets the profile that was live before. Items stay; those enrolled since are embedded again. "
      + "Queries go on meanwhile.",
    jobs: "Jobs",
    noJobs: "No job yet.",
    gone: (site) => `There is no site ${site} any more: it was deleted, perhaps in another tab.`,
    readOnly: "Adapting and rolling back need a key of scope admin.",
  },
  calibration: {
    title: "Calibration",
    text: "A cosine says how alike two crops are, not whether they show one person. Say how many false alarms you can bear; "
      + "the names at this site say which cosine that is, and whom it misses.",
    costs: "What a rate of false alarms costs",
    slider: "False alarms in 1,000 queries of unknown people",
    alarms: (rate) => `${rate.toLocaleString("en")} in 1,000`,
    threshold: "Lowest cosine that counts",
    missed: "Known people who are missed",
    missedText: (share) => `Of 1,000 queries of people who have a name here, ${number(Math.round(1000 * share))} find nobody, or somebody else.`,
    tooFew: "too few labels",
    needed: (people, compared) => `That takes ${plural(people, "labelled person", "labelled people")}, and ${number(compared)} `
      + `${compared === 1 ? "was" : "were"} compared. Name more people, or bear more false alarms.`,
    spoken: (rate, missed) => `${rate.toLocaleString("en")} in 1,000, ${missed === null ? "too few labels" : `${percent(missed)} missed`}`,
    across: "false alarms in 1,000 queries of unknown people",
    up: "known people missed",
    chart: "How many known people are missed at each rate of false alarms",
    use: "Send it with a query",
    none: "Nothing says yet what scores mean at this site.",
    guess: (on) => `What scores mean here is a guess, from ${on}. There is no curve until names of this site are measured.`,
    behind: "What stands behind it",
    facts: {
      labels: "Measured by",
      people: "Labelled people",
      peopleText: (count) => `${number(count)}, with a name and a camera`,
      now: "People at the site now",
      nowText: (count) => `about ${number(count)}; crops without a name count as one person each`,
      then: "When it was measured",
      thenText: (people, items) => `${plural(people, "person", "people")}, ${crops(items)}`,
      error: "Probabilities are off by",
      cllr: "Cost of wrong probabilities",
      cllrText: (bits) => `${bits.toFixed(2)} bits; 0 is best, 1 says nothing`,
      torn: "Tracks with two names",
      tornText: (tracks) => `${number(tracks)}, left out; look at them`,
      notes: "What limits it",
    },
    measure: "Measure again",
    measureFirst: "Measure now",
    measureText: "Queries go on meanwhile. Where labels do not suffice, what was measured before stays.",
    labels: "Which labels say who is who",
    kinds: { auto: "The first that suffices", identity: "Names", all: "Names and tracks", tracklets: "Tracks alone", answers: "Answers of the review queue" },
    kindText: {
      auto: () => "Names are taken; where they do not suffice, names and tracks; then answers of the review queue.",
      identity: (f) => `People who have a name and were seen by two cameras: ${number(f.fewest_people)} of them at least.`,
      all: (f) => `As by names, and a crop without a name bears that of its track. Where fewer than ${number(f.fewest_people)} people were seen by two `
        + `cameras, crops of one track and one name count: ${number(f.fewest_people)} people with a name, ${number(f.fewest_tracks)} tracks.`,
      tracklets: (f) => "Crops of one track show one person, two tracks at one camera in the same second show two; names say nothing. "
        + `${number(f.fewest_tracks)} tracks and ${number(f.fewest_meetings)} such pairs at least. It stays a guess: no curve, no decisions.`,
      answers: (f) => `What the model's card says, moved by at least ${number(f.fewest_answers)} answers about one crop and its best match. `
        + "It stays a guess: no curve, no decisions.",
    },
    measuring: "Measuring",
    measured: (people) => `Measured by ${plural(people, "named person", "named people")}.`,
    measuredOn: (labels) => `Measured by ${labels}.`,
    readOnly: "Measuring needs a key of scope admin.",
  },
  system: {
    title: "System",
    engine: "Engine",
    runs: "What embeds",
    engineText: (e) => `${e.engine} ${e.version}, ${e.precision} on ${e.device}`,
    bundle: "Model",
    bundleText: (b) => `${b.architecture}, ${b.width} × ${b.height} pixels, ${number(b.dim)} values`,
    licence: "Licence of the weights",
    tried: "Engines tried on this CPU",
    noTrials: "none",
    trial: (name, trial, refused) => {
      const rate = trial?.crops_per_second == null ? "" : `${number(Math.round(trial.crops_per_second))} crops a second`;
      const times = trial?.speed_up == null ? "" : `${trial.speed_up.toFixed(1)} times float`;
      const why = refused == null ? trial?.undecided : `not taken, ${refused}`;
      return `${name}: ${[rate, times, why].filter(Boolean).join(", ") || "works"}`;
    },
    queue: "Waiting for the engine",
    queueText: (queued, most) => `${number(queued)} of at most ${number(most)} crops`,
    latency: "Half of all queries within",
    slow: "99 of 100 queries within",
    queries: (count) => `${plural(count, "query", "queries")} since the start`,
    memory: "Memory of the process",
    index: "Index",
    indexText: (items, sites, size) => `${plural(items, "item", "items")} at ${plural(sites, "site", "sites")}, ${size}`,
    store: "Database",
    storeText: (kind, size) => `${kind}, ${size}`,
    free: "Free on its disk",
    purged: { true: "What was erased is in no file any more.", false: "Erased bytes are still leaving the files.", null: "The database does not say when erased bytes leave its files." },
    search: "Galleries are searched on",
    batch: "Crops in one batch",
    lanes: "Engines of adapted sites",
    lanesText: (lanes) => Object.entries(lanes).map(([name, count]) => `${number(count)} ${name}`).join(", ") || "none",
    images: "Images",
    imagesText: (kept) => (kept ? "kept beside the embeddings" : "not kept"),
    uptime: "Running for",
    fallbacks: "Not as wished",
    noFallbacks: "Everything runs as it was wished.",
    fallback: (f) => `${f.what} (${f.times}×): ${f.reason}`,
    refused: (name, why) => `${name} was not taken: ${why}`,
    jobs: "Jobs",
    noJobs: "No job yet.",
    job: { adapt: "Adaptation", rollback: "Rollback" },
    columns: ["Job", "Site", "Asked for", "State"],
    docs: "The API's own pages",
  },
  keys: {
    title: "Keys and audit",
    text: "A key is shown once, when it is made. Revoking it ends its sessions at once.",
    local: "This server asks nobody for a key. Keys made here count once it does.",
    columns: ["Key", "Scope", "Made", ""],
    yours: "yours",
    none: "There is no key yet.",
    make: "Make a key",
    scope: "Scope",
    made: (id) => `${id} was made. Copy it now; it is not shown again.`,
    lost: "The server does not answer, and whether a key was made is not known. One whose text you have not seen is best revoked.",
    revoke: "Revoke",
    revokeTitle: (id) => `Revoke ${id}?`,
    revokeText: "Whoever uses it is refused from now on.",
    revokeYours: "It is the key of this session: you are signed out at once.",
    revoked: (id) => `${id} was revoked.`,
    audit: "Audit log",
    auditText: "Who looked at images, who erased, who made and revoked keys; newest first.",
    auditMore: (count) => `${plural(count, "item", "items")} in a row`,
    auditNone: "Nothing was noted yet.",
    auditColumns: ["When", "Who", "What", "Site", "Details"],
    actions: {
      "read-image": "looked at an image",
      "read-thumbnail": "looked at a thumbnail",
      erase: "erased",
      "delete-site": "deleted the site",
      "add-key": "made a key",
      "revoke-key": "revoked a key",
    },
  },
};

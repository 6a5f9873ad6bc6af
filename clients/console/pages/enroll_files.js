// The files of what was dropped or chosen, folders walked through.
const PICTURE = /\.(jpe?g|png|webp|avif|heic|heif)$/i;

/** {pictures: [{file, path}], left: count of other files}; hidden files count as nothing. */
export function sorted(found) {
  const visible = found.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX"));
  const pictures = visible.filter(({ path }) => PICTURE.test(path));
  pictures.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { pictures, left: visible.length - pictures.length };
}

/** What an input of files or of a folder holds. */
export const ofInput = (files) => Array.from(files, (file) => ({ file, path: below(file.webkitRelativePath) || file.name }));

/** What was dropped. The first folder is no part of a path, as for `resight enroll FOLDER`. */
export async function ofDrop(transfer) {
  // before anything is waited for: the browser forgets the list afterwards
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.push({ file, path: entry.fullPath.split("/").length > 2 ? below(entry.fullPath.slice(1)) : entry.name });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return; // a browser gives a hundred at a time
    for (const each of some) await walk(each, found);
  }
}

const below = (path) => path.split("/").slice(1).join("/");

// Files from a dialog or a drop, with the folders they lie in: [{ file, path }, …]; `left` of it counts those that cannot be read,
// `cut` says that there are more than are listed.

const MOST_LISTED = 50000;
const DEEPEST = 8;

function chosenFiles(list) {
  return [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  const loose = chosenFiles(transfer.files); // both lists are gone once we have waited for anything
  if (!entries.some((entry) => entry.isDirectory)) return loose;
  const found = Object.assign([], { left: 0, cut: false });
  for (const entry of entries) await walk(entry, found, 0);
  return found;
}

async function walk(entry, found, depth) {
  if (found.length >= MOST_LISTED || depth > DEEPEST) {
    found.cut = true;
    return;
  }
  try {
    if (entry.isFile) {
      const file = await new Promise((yes, no) => entry.file(yes, no));
      found.push({ file, path: entry.fullPath.replace(/^\//, "") });
      return;
    }
    const reader = entry.createReader();
    for (;;) { // a reader gives at most a hundred at a time, and an empty list at the end
      const some = await new Promise((yes, no) => reader.readEntries(yes, no));
      if (!some.length) return;
      for (const inner of some) await walk(inner, found, depth + 1);
    }
  } catch (problem) {
    found.left += 1; // unreadable or gone meanwhile: the others go on
    console.warn(problem);
  }
}

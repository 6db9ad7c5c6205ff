// Files from a dialog or a drop, with the folders they lie in: [{ file, path }, …].

const MOST_LISTED = 50000;
const DEEPEST = 8;
const HIDDEN = /(^|\/)(\.|__macosx\/|thumbs\.db$|desktop\.ini$)/i;

function chosenFiles(list) {
  return [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  const loose = chosenFiles(transfer.files); // both lists are gone once we have waited for anything
  if (!entries.some((entry) => entry.isDirectory)) return loose;
  const found = [];
  for (const entry of entries) await walk(entry, found, 0);
  return found;
}

async function walk(entry, found, depth) {
  if (found.length >= MOST_LISTED || depth > DEEPEST) return;
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
    console.warn(problem); // unreadable or gone meanwhile: the others go on
  }
}

// A file chosen by itself is a picture whatever it is; of a folder only what has a picture's ending.
function sortOut(found) {
  const [pictures, zips] = [[], []];
  let ignored = 0;
  for (const each of found) {
    const inFolder = each.path.includes("/");
    const ending = (each.file.name.match(/\.[^.]*$/) || [""])[0].toLowerCase();
    if (!inFolder && ending === ".zip") zips.push(each);
    else if (inFolder && (HIDDEN.test(each.path) || !LIMITS.endings.includes(ending))) ignored += 1;
    else pictures.push(each);
  }
  if (found.some((each) => each.path.includes("/"))) pictures.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { pictures, zips, ignored };
}

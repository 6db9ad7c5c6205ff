// What of the files that were chosen or dropped is a picture, a zip, or neither.

const HIDDEN = /(^|\/)(\.|__macosx\/|thumbs\.db$|desktop\.ini$)/i;

// A file chosen by itself is a picture whatever it is; of a folder only what has a picture's ending.
function sortOut(found) {
  const [pictures, zips] = [[], []];
  let ignored = found.left || 0;
  for (const each of found) {
    const inFolder = each.path.includes("/");
    const ending = (each.file.name.match(/\.[^.]*$/) || [""])[0].toLowerCase();
    if (!inFolder && ending === ".zip") zips.push(each);
    else if (inFolder && (HIDDEN.test(each.path) || !LIMITS.endings.includes(ending))) ignored += 1;
    else pictures.push(each);
  }
  if (found.some((each) => each.path.includes("/"))) pictures.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { pictures, zips, ignored, cut: Boolean(found.cut) };
}

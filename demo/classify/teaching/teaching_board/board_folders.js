// Which class and burst each file of a folder belongs to, as the command line has it: "pets/cat/monday/1.jpg" is a cat,
// and one of those of monday.

const SPLITS = ["train", "training", "val", "valid", "validation"];
const PICTURE = /\.(jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif)$/i;
const LONGEST_BURST = 40; // letters

const isPicture = (file) => file.type.startsWith("image/") || PICTURE.test(file.name);
const isHidden = (parts) => parts.some((part) => part.startsWith(".") || part.toLowerCase() === "__macosx");

// Of [{ file, path }, …]: { bursts: [{ name, burst, pictures }, …], leftOut }; hidden files are not counted as left out.
// `alone`: a folder without class folders is a class itself.
function sortByClass(found, alone) {
  let seen = found.map(({ file, path }) => ({ file, parts: path.split("/") })).filter(({ parts }) => !isHidden(parts));
  const isWrapped = () => seen.some(({ parts }) => parts.length > 2) && new Set(seen.map(({ parts }) => parts[0])).size === 1;
  const isSplit = () => SPLITS.includes(seen[0].parts[0].toLowerCase());
  const unwrap = () => { seen = seen.map(({ file, parts }) => ({ file, parts: parts.slice(1) })); };
  if (seen.length && (isWrapped() || !alone) && !isSplit()) unwrap();
  while (seen.length && isWrapped() && seen.every(({ parts }) => parts.length > 2) && !isSplit()) unwrap();
  const bursts = new Map();
  let leftOut = 0;
  for (const { file, parts } of seen) {
    const folders = parts.slice(SPLITS.includes(parts[0].toLowerCase()) ? 1 : 0, -1);
    if (!folders.length || !isPicture(file)) {
      leftOut += 1;
      continue;
    }
    const [key, burst] = [folders.join("/"), folders.slice(1).join("/").slice(-LONGEST_BURST)];
    if (!bursts.has(key)) bursts.set(key, { name: folders[0], burst, pictures: [] });
    bursts.get(key).pictures.push(file);
  }
  return { bursts: [...bursts.values()], leftOut };
}

// [[folder, pictures], …] of files that all belong to one class: each folder is a burst.
function byFolder(found) {
  const folders = new Map();
  for (const { file, path } of found) {
    const parts = path.split("/");
    if (isHidden(parts) || !isPicture(file)) continue;
    const folder = parts.slice(1, -1).join("/").slice(-LONGEST_BURST);
    folders.set(folder, [...(folders.get(folder) || []), file]);
  }
  return [...folders];
}

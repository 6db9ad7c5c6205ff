// The board: classes and their pictures. `element`, `trigger`, `props`, `server` and `upload` come from Gradio.
// Names reach the page through textContent and values only.

const FRAME_MS = 100; // between two pictures of a burst
const MOST_FRAMES = 60; // of one burst; holding on for longer shows the network nothing new
const FRAMES_TOGETHER = 8;
const THUMBS_TOGETHER = 60;
const SEEN_EVERY_MS = 1000; // how often it is asked whether anybody sees the camera's picture
const BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

const root = element.querySelector(".tb");
const find = (name) => element.querySelector(`.tb-${name}`);
const cards = new Map();
const thumbnails = new Map();
const camera = makeCamera();
const video = find("video");
let classes = [];
let burst = null;
let stageOf = null;

const wire = makeWire((request) => server.teaching_board(request), {
  onReply: take,
  onProblem: complain,
  onBusy: (waiting) => root.toggleAttribute("data-waiting", waiting > 0),
});

function showWords() {
  find("new-name").placeholder = say("new_class");
  find("new-name").setAttribute("aria-label", say("new_class"));
  find("add").textContent = say("add_class");
  find("or").textContent = say("or");
  find("pick-folder").textContent = say("choose_folder");
  find("pick-zip").textContent = say("choose_zip");
  find("clear").textContent = say("clear");
  find("dismiss").textContent = say("dismiss");
  find("empty").textContent = say("empty");
  root.lang = language.startsWith("zh") ? "zh" : "en";
}

function complain(sentence) {
  const item = make("li", "", sentence);
  find("said").append(item);
  while (find("said").children.length > 20) find("said").firstChild.remove();
  find("problem").hidden = false;
}

function busy(sentence) {
  find("busy").hidden = !sentence;
  find("busy").textContent = sentence;
}

function take(reply) {
  for (const [number, content] of Object.entries(reply.thumbs || {})) {
    thumbnails.set(Number(number), `data:image/jpeg;base64,${content}`);
    const image = element.querySelector(`img[data-number="${Number(number)}"]`);
    if (image) image.src = thumbnails.get(Number(number));
  }
  (reply.said || []).forEach((sentence) => complain(String(sentence)));
  if (reply.classes) show(reply.classes);
}

function show(fresh) {
  classes = fresh;
  const known = new Set(classes.map((each) => each.id));
  for (const [id, card] of cards) {
    if (known.has(id)) continue;
    if (stageOf === id) closeCamera();
    card.remove();
    cards.delete(id);
  }
  classes.forEach((facts) => {
    if (!cards.has(facts.id)) {
      cards.set(facts.id, makeCard(facts.id, acts));
      find("classes").append(cards.get(facts.id));
    }
    updateCard(cards.get(facts.id), facts, thumbnails, acts);
  });
  find("empty").hidden = classes.length > 0;
  find("clear").hidden = classes.length === 0;
  root.dataset.classes = classes.length;
  root.dataset.pictures = classes.reduce((sum, each) => sum + each.count, 0);
  root.dataset.ready = "yes";
  askForThumbnails();
}

function askForThumbnails() {
  const missing = classes.flatMap((each) => each.shown).filter((number) => !thumbnails.has(number));
  for (let start = 0; start < missing.length; start += THUMBS_TOGETHER) {
    const part = missing.slice(start, start + THUMBS_TOGETHER);
    part.forEach((number) => thumbnails.set(number, BLANK)); // asked for; the next reply need not ask again
    wire.ask({ action: "thumbs", pictures: part });
  }
}

// Nothing is sent of what could not be kept anyway.
function fits(count) {
  const room = MOST_PICTURES - Number(root.dataset.pictures);
  if (count > room) complain(say("too_many", { n: count, room: Math.max(0, room), limit: MOST_PICTURES }));
  return count <= room;
}

async function sendPictures(target, files) {
  if (!fits(files.length)) return;
  await wire.sendFiles(target, files, (done, total) => busy(done < total ? say("sending", { done, total }) : ""));
}

// A folder with a folder for each class; a dropped one may be a class itself.
async function sendFolder(found, { alone = false } = {}) {
  const { bursts, leftOut } = sortByClass(found, alone);
  if (!bursts.length) complain(say("no_class_folders"));
  else if (leftOut) complain(say("left_out", { n: leftOut }));
  const named = new Set([...classes, ...bursts].map(({ name }) => name.toLowerCase()));
  if (named.size > MOST_CLASSES) return complain(say("too_many_classes", { n: named.size, limit: MOST_CLASSES }));
  if (!fits(bursts.reduce((sum, { pictures }) => sum + pictures.length, 0))) return;
  for (const { name, burst, pictures } of bursts) await sendPictures({ name, burst }, pictures);
}

// Zips and folders may be dropped anywhere; pictures belong onto the card of their class.
async function takeDropped(transfer, id) {
  const found = await droppedFiles(transfer);
  const isNested = ({ path }) => path.includes("/");
  const isZip = (each) => !isNested(each) && /\.zip$/i.test(each.file.name);
  for (const { file } of found.filter(isZip)) await sendZip(file);
  const [nested, loose] = [found.filter(isNested), found.filter((each) => !isNested(each) && !isZip(each))];
  if (id) {
    for (const [burst, pictures] of byFolder(nested)) await sendPictures({ class: id, burst }, pictures);
    if (loose.length) await sendPictures({ class: id }, loose.map(({ file }) => file));
  } else {
    if (nested.length) await sendFolder(nested, { alone: true });
    if (loose.length) complain(say("drop_on_class"));
  }
  if (found.left) complain(say("left_out", { n: found.left }));
  if (found.cut) complain(say("cut", { most: MOST_LISTED.toLocaleString(root.lang), deep: DEEPEST }));
}

async function sendZip(file) {
  if (file.size > MOST_ZIP_BYTES) return complain(say("zip_too_large", { name: file.name, limit: MOST_ZIP_BYTES / 1e9 }));
  busy(say("reading_zip"));
  try {
    const stored = await upload(file);
    const reply = await wire.ask({ action: "zip", path: stored.path, name: file.name });
    if (!reply?.classes) await wire.ask({ action: "state" }); // never less on the page than there is
  } catch (problem) {
    console.warn(problem);
    complain(say("no_answer"));
  } finally {
    busy("");
  }
}

async function openCamera(id) {
  if (stageOf === id) {
    closeCamera();
    return;
  }
  closeCamera();
  stageOf = id;
  busy(say("opening_camera"));
  try {
    const stage = cards.get(id).querySelector(".tb-stage");
    stage.prepend(video);
    if (!(await camera.showIn(video))) return; // closed, perhaps for another class, while the visitor was asked
    video.hidden = stage.hidden = false;
    cards.get(id).querySelector(".tb-camera").textContent = say("close_camera");
  } catch (problem) {
    closeCamera();
    complain(say(table[problem.message] ? problem.message : "camera_none"));
  }
  busy("");
}

function closeCamera() {
  endBurst();
  if (stageOf && video.hidden) busy(""); // it was still opening
  const card = cards.get(stageOf);
  root.append(video);
  video.hidden = true;
  if (card) {
    card.querySelector(".tb-stage").hidden = true;
    card.querySelector(".tb-camera").textContent = say("camera");
  }
  stageOf = null;
  camera.close();
}

function startBurst(id) {
  if (burst || stageOf !== id) return;
  const mine = { id, name: randomSession().slice(0, 12), taken: 0, frames: [] };
  burst = mine;
  cards.get(id).classList.add("tb-recording");
  const tick = () => {
    const frame = camera.grab(video);
    if (!frame) return;
    mine.taken += 1;
    mine.frames.push({ name: say("frame", { n: mine.taken }), content: frame });
    cards.get(id).querySelector(".tb-recorded").textContent = sayCount("pictures", mine.taken);
    if (mine.frames.length >= FRAMES_TOGETHER) sendFrames(mine);
    if (mine.taken >= MOST_FRAMES) endBurst();
  };
  mine.timer = setInterval(tick, FRAME_MS);
  tick();
}

function endBurst() {
  if (!burst) return;
  clearInterval(burst.timer);
  cards.get(burst.id)?.classList.remove("tb-recording");
  sendFrames(burst);
  burst = null;
}

function sendFrames(mine) {
  const files = mine.frames.splice(0);
  if (files.length) wire.ask({ action: "pictures", class: mine.id, burst: mine.name, files });
}

const acts = {
  remove: (id) => wire.ask({ action: "remove", class: id }),
  rename: (id, name) => wire.ask({ action: "rename", class: id, name }).then(() => wire.ask({ action: "state" })),
  forget: (id, number) => wire.ask({ action: "forget", class: id, picture: number }),
  files: (id, files) => sendPictures({ class: id }, files),
  dropped: (id, transfer) => takeDropped(transfer, id),
  camera: openCamera,
  record: startBurst,
  release: endBurst,
};

find("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  const reply = await wire.ask({ action: "add", name: find("new-name").value });
  if (reply && !reply.error) find("new-name").value = "";
});
droppable(root, (transfer) => takeDropped(transfer));
find("pick-folder").addEventListener("click", () => find("folder").click());
find("pick-zip").addEventListener("click", () => find("zip").click());
find("clear").addEventListener("click", () => {
  if (window.confirm(say("clear_sure"))) wire.ask({ action: "clear" });
});
find("dismiss").addEventListener("click", () => {
  find("said").replaceChildren();
  find("problem").hidden = true;
});
find("folder").addEventListener("change", () => {
  sendFolder(chosenFiles(find("folder").files));
  find("folder").value = "";
});
find("zip").addEventListener("change", () => {
  if (find("zip").files[0]) sendZip(find("zip").files[0]);
  find("zip").value = "";
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible" && stageOf) closeCamera();
});

showWords();
wire.ask({ action: "state" }).then(() => trigger('arrive', { session: wire.session }));
setInterval(() => {
  if (stageOf && !video.hidden && video.offsetParent === null) closeCamera();
}, SEEN_EVERY_MS);

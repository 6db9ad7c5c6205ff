// The page: choosing, sending, following, showing. `element`, `props`, `server` and `watch` come from Gradio.

const MEMORY = "resnet-lab-many"; // the batch of this browser tab, so that a reload finds it again
const PERIOD = 300;
const RETRY = 2000;
const FORGOTTEN_AFTER = 30;

const find = (part) => element.querySelector(`.mt-${part}`);
const root = element.querySelector(".mt");
const store = makeRows();
const large = { row: null, address: "" };
let words = makeWords();
let [job, sender, local, last] = [null, null, [], null];

const isRunning = () => root.dataset.state === "sending" || root.dataset.state === "running";

async function ask(question) {
  const reply = await server.many_ask(question);
  if (reply === null || typeof reply !== "object") throw new Error("no answer"); // Gradio swallows network errors
  return reply;
}

function complain(sentence) {
  setText(find("banner"), sentence || "");
  find("banner").hidden = !sentence;
}

function remember(id) {
  try {
    if (id) sessionStorage.setItem(MEMORY, id);
    else sessionStorage.removeItem(MEMORY);
  } catch { /* a browser that keeps nothing */ }
}

function remembered() {
  try { return sessionStorage.getItem(MEMORY); } catch { return null; }
}

async function begin(found) {
  if (isRunning()) return complain(words.say("busy"));
  const sorted = sortOut(found);
  if (!sorted.pictures.length && !sorted.zips.length) return complain(words.say("nothing"));
  root.dataset.state = "sending";
  complain(sorted.cut ? words.say("cut", { most: words.count(MOST_LISTED), deep: DEEPEST }) : "");
  try {
    const count = sorted.pictures.length;
    const asked = { model: props.model, threshold: ownThreshold(props.moved, props.model) };
    const reply = await ask({ what: "start", ...asked, count, ignored: sorted.ignored, previous: job || "" });
    if (reply.error) throw Object.assign(new Error("refused"), { sentence: reply.error });
    reset(reply.job);
    follow(job);
    await send({ ...sorted, pictures: sorted.pictures.slice(0, reply.most) });
  } catch (problem) {
    root.dataset.state = store.rows.length ? "ended" : "idle"; // the answers before stay
    complain(problem.sentence || words.say("lost"));
  }
  showAll();
}

function reset(id) {
  [job, local, last] = [id, [], null];
  nodes.clear();
  remember(id);
  store.clear();
}

async function send(sorted) {
  const mine = job;
  sender = makeSender(mine, {
    onTaken: (group) => local.push(...group.map((each) => each.file)),
    onShare: (name, share) => name && showSending(name, share),
    onLost: () => job === mine && complain(words.say("lost")),
  });
  const problem = await sender.sendAll(sorted);
  if (job !== mine) return;
  setText(find("left-out"), "");
  if (problem && problem.message !== "stopped") {
    complain(problem.sentence || words.say("not_sent", { reason: words.say("lost") }));
  }
  await finish(mine);
}

// Says that no more pictures come, again until the app has heard it: a batch nobody finishes would seem to go on.
async function finish(mine) {
  let missing = 0;
  while (job === mine && missing < FORGOTTEN_AFTER) {
    missing = element.isConnected ? 0 : missing + 1;
    try {
      return await ask({ what: "finish", job: mine });
    } catch {
      complain(words.say("lost"));
    }
    await new Promise((yes) => { setTimeout(yes, RETRY); });
  }
  return null;
}

// Asks for news until everything is here; `mine` is the batch this loop belongs to.
async function follow(mine) {
  let missing = 0;
  while (job === mine && missing < FORGOTTEN_AFTER) {
    missing = element.isConnected ? 0 : missing + 1;
    let wait = PERIOD;
    try {
      const reply = await ask({ what: "news", job: mine, cursor: store.rows.length });
      if (job !== mine) return;
      if (reply.error) return lose(reply);
      if (find("banner").textContent === words.say("lost")) complain("");
      take(reply);
      if (reply.state !== "running" && store.rows.length >= reply.done) return;
      if (store.rows.length < reply.done) wait = 0;
    } catch {
      complain(words.say("lost"));
      wait = RETRY;
    }
    await new Promise((yes) => { setTimeout(yes, wait); });
  }
}

function lose(reply) {
  if (sender) sender.stop();
  root.dataset.state = store.rows.length ? "ended" : "idle";
  if (reply.gone) remember(null);
  if (store.rows.length || !reply.gone) complain(reply.error); // after a reload an old batch may simply be gone
  showAll();
}

function take(reply) {
  store.apply(reply);
  last = reply;
  root.dataset.state = reply.state === "running" ? "running" : "ended";
  if (reply.state !== "running" && sender) sender.stop(); // nothing more would be taken
  if (reply.state === "failed") complain(reply.reason);
  showAll();
}

async function cancel() {
  const mine = job;
  find("cancel").disabled = true;
  if (sender) sender.stop();
  await ask({ what: "cancel", job: mine }).catch(() => complain(words.say("lost")));
}

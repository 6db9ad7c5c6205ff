// The camera asks the taught model, a few times a second. The component's own text is the model's name.

const PAUSE_MS = 150; // between an answer and the next question
const LOST_PAUSE_MS = 2000; // after a question without an answer: the server is away or has too much to do

const root = element.querySelector(".ca");
const find = (name) => element.querySelector(`.ca-${name}`);
const camera = makeCamera();
const video = find("video");
let running = false;
let generation = 0; // of the loops: an older one ends at its next turn
// Another tab was opened: nobody sees it, so the camera is let go at once. Scrolled out of sight it still has a size.
const leaving = new ResizeObserver((entries) => {
  if (running && entries.some((entry) => entry.contentRect.width === 0)) stop();
});

function complain(sentence) {
  find("problem").hidden = !sentence;
  find("problem").textContent = sentence;
}

function barOf(row) {
  const item = make("li");
  const track = make("span", "ca-track");
  const bar = make("span", "ca-bar");
  bar.style.width = `${Math.max(0.4, 100 * row.share).toFixed(1)}%`;
  bar.style.background = COLORS[row.color % COLORS.length];
  track.append(bar);
  item.append(make("span", "ca-label", row.label), track, make("span", "ca-number", row.said));
  return item;
}

function show(reply) {
  complain("");
  find("sure").textContent = reply.sure;
  find("headline").textContent = reply.headline;
  find("bars").replaceChildren(...reply.bars.map(barOf));
  root.dataset.answers = Number(root.dataset.answers) + 1;
}

async function askOn() {
  const mine = ++generation;
  while (running && mine === generation) {
    let pause = PAUSE_MS;
    if (!element.isConnected) {
      stop();
      return;
    }
    const frame = camera.grab(video);
    if (frame) {
      let reply = null;
      try {
        reply = await server.camera_answer({ model: props.value, content: frame, language });
      } catch (problem) {
        console.warn(problem);
      }
      if (!running || mine !== generation) return;
      if (reply === null || typeof reply !== "object") {
        complain(say("no_answer"));
        pause = LOST_PAUSE_MS;
      } else if (reply.error) complain(String(reply.error));
      else show(reply);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function start() {
  find("toggle").disabled = true;
  try {
    if (!(await camera.showIn(video))) return; // the page was left while the visitor was asked
  } catch (problem) {
    camera.close();
    complain(say(table[problem.message] ? problem.message : "camera_none"));
    return;
  } finally {
    find("toggle").disabled = false;
  }
  running = true;
  find("stage").hidden = false;
  leaving.observe(video);
  find("toggle").textContent = say("close_camera");
  askOn();
}

function stop() {
  running = false;
  leaving.disconnect();
  camera.close();
  find("stage").hidden = true;
  find("toggle").textContent = say("ask_camera");
}

find("toggle").textContent = say("ask_camera");
find("toggle").addEventListener("click", () => (running ? stop() : start()));
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") stop();
});

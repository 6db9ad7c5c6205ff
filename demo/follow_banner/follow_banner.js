// Which epoch answered. `element`, `props`, `server`, `trigger` and `watch` come from Gradio; WORDS from the component.
// Text reaches the page through textContent only.

const PERIOD = 2000;
const PATIENCE = 20000; // ms an answer may take until a newer epoch is asked for again

const find = (part) => element.querySelector(`.fb-${part}`);
const root = element.querySelector(".fb");
let [shown, timer, busy, renewing] = [null, 0, false, 0];

function say(key, filling = {}) {
  const named = [document.documentElement.lang, navigator.language].find((l) => l) || "en";
  const table = WORDS[named.toLowerCase().startsWith("zh") ? "zh" : "en"];
  return table[key].replace(/\{(\w+)\}/g, (_, part) => String(filling[part] ?? ""));
}

function setText(node, content) {
  if (node.textContent !== content) node.textContent = content;
}

// Today by the clock, other days with the date.
function clock(seconds) {
  const then = new Date(1000 * seconds);
  return then.toDateString() === new Date().toDateString() ? then.toLocaleTimeString() : then.toLocaleString();
}

function show() {
  find("line").hidden = !shown;
  root.dataset.live = String(Boolean(shown?.live));
  root.dataset.epoch = shown ? shown.epoch : "";
  if (!shown) return;
  const kind = ["finished", "stopped", "failed", "interrupted"].includes(shown.status) ? "ended"
    : shown.status === "paused" ? "paused" : "training";
  const { epoch, name } = shown;
  setText(find("told"), say(kind, { epoch, epochs: shown.epochs || "–", name, time: clock(shown.saved) }));
  const more = !shown.live ? "" : shown.which === "best" ? say("best") : say("renewed");
  setText(find("more"), more);
}

function takeValue() {
  const given = props.value;
  shown = given && typeof given === "object" && typeof given.model === "string" ? given : null;
  renewing = 0;
  show();
  plan(PERIOD);
}

function plan(wait) {
  clearTimeout(timer);
  if (shown?.live) timer = setTimeout(look, wait);
}

// Asks for the newest epoch while somebody can see the banner; a new one is announced once, then awaited.
async function look() {
  if (busy || !shown || !element.isConnected) return;
  if (document.visibilityState !== "visible" || element.offsetParent === null) return; // seen again: asked again
  busy = true;
  try {
    const asked = shown;
    const news = await server.follow_news(asked.model);
    root.dataset.asked = Number(root.dataset.asked) + 1;
    if (shown === asked && news && news.stamp) {
      shown = { ...shown, status: news.status, live: news.live };
      show();
      if (news.stamp !== shown.stamp && Date.now() - renewing > PATIENCE) {
        renewing = Date.now();
        trigger('tick', { model: shown.model });
      }
    }
  } catch { /* no answer: asked again */ }
  busy = false;
  plan(PERIOD);
}

function wake() {
  if (!element.isConnected) document.removeEventListener("visibilitychange", wake);
  else if (shown && !shown.which.match(/^\d+$/)) look(); // a run that had ended may have been taken up again
}

document.addEventListener("visibilitychange", wake);
new IntersectionObserver((seen) => { if (seen.some((entry) => entry.isIntersecting)) wake(); }).observe(root);
watch(Object.keys(props), takeValue); // not by name: a name in quotes would become an attribute of the component
new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["lang"] });
takeValue();

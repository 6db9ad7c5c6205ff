// The clock that asks for more: once a second while someone can see the board and something may still happen.

const PERIOD = 1000;
const PATIENCE = 10000;
const LONGEST_WAIT = 10000;
const FORGOTTEN_AFTER = 60;
const STILL_CURIOUS = 20000; // so long after the last movement a page asks on, though its run has ended
const SIGNS_OF_LIFE = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"];

// Slower while nobody answers; not at all while the page is hidden or `isOver()` and nobody moves; never again once
// the element is gone.
function startPolling(element, ask, { onReply, onFailure, isOver }) {
  let [timer, busy, failures, missing, again, asleep] = [null, false, 0, 0, false, false];
  let moved = performance.now();

  function plan(wait) {
    clearTimeout(timer);
    asleep = false;
    timer = setTimeout(tick, wait);
  }

  async function answer() {
    let alarm;
    const tooLate = new Promise((_, reject) => {
      alarm = setTimeout(() => reject(new Error("no answer")), PATIENCE);
    });
    try {
      const reply = await Promise.race([ask(), tooLate]);
      if (reply === null || typeof reply !== "object") throw new Error("no answer"); // Gradio swallows network errors
      return reply;
    } finally {
      clearTimeout(alarm);
    }
  }

  async function tick() {
    if (busy) return;
    missing = element.isConnected ? 0 : missing + 1;
    if (missing > FORGOTTEN_AFTER) {
      forget();
      return;
    }
    if (document.visibilityState !== "visible" || element.offsetParent === null) {
      plan(PERIOD);
      return;
    }
    busy = true;
    try {
      const reply = await answer();
      if (reply.error) throw Object.assign(new Error("refused"), { sentence: String(reply.error) });
      failures = 0;
      onReply(reply);
    } catch (problem) {
      if (!problem.sentence && problem.message !== "no answer") console.error(problem);
      failures += 1;
      onFailure(failures, problem.sentence || "");
    } finally {
      busy = false;
    }
    asleep = !again && failures === 0 && isOver() && performance.now() - moved > STILL_CURIOUS;
    if (!asleep) plan(again ? 0 : Math.min(LONGEST_WAIT, PERIOD * 2 ** Math.min(failures, 4)));
    again = false;
  }

  function now() {
    moved = performance.now();
    if (busy) again = true;
    else plan(0);
  }

  function move() {
    moved = performance.now();
    if (asleep) plan(0);
  }

  function show() {
    if (document.visibilityState === "visible") now();
  }

  function forget() {
    document.removeEventListener("visibilitychange", show);
    window.removeEventListener("focus", move);
    for (const sign of SIGNS_OF_LIFE) document.removeEventListener(sign, move);
  }

  document.addEventListener("visibilitychange", show);
  window.addEventListener("focus", move);
  for (const sign of SIGNS_OF_LIFE) document.addEventListener(sign, move, { passive: true });
  plan(0);
  return now;
}

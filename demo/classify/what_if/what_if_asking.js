// One question at a time: while one is under way only the newest picture waits, older ones are never sent.

const ANSWERS_ASKED = 50; // of a network of a thousand classes the rest is about nothing
const TRIES = 5; // when the app says that too many people wait
const PATIENCE = 60000; // ms until an answer counts as lost

function askAddress({ model, threshold }) {
  const folder = location.pathname.endsWith("/") ? "" : location.pathname.split("/").pop() + "/"; // behind a root path
  return folder + "api/classify?" + new URLSearchParams({
    model, top_k: ANSWERS_ASKED, name: "photo", ...(threshold === null ? {} : { threshold }),
  });
}

async function askOnce(question, file) {
  const options = { method: "POST", body: file, signal: AbortSignal.timeout(PATIENCE) };
  for (let tries = 1; ; tries += 1) {
    const reply = await fetch(askAddress(question), options);
    const answer = await reply.json();
    if (reply.ok) return answer;
    if (reply.status !== 503 || tries === TRIES) throw Object.assign(new Error("refused"), { sentence: answer.error });
    await new Promise((wake) => setTimeout(wake, 1000 * Number(reply.headers.get("retry-after") || 2)));
  }
}

// `ask(question)` with { model, threshold, canvas, quality, … }; onAnswer(question, answer, file) or onFailure(sentence)
// follows.
function makeAsking({ onAnswer, onFailure, onRest }) {
  let [next, busy] = [null, false];

  async function work() {
    busy = true;
    while (next) {
      const question = next;
      next = null;
      try {
        const file = await encoded(question.canvas, question.quality);
        onAnswer(question, await askOnce(question, file), file);
      } catch (problem) {
        onFailure(problem.sentence || "");
      }
    }
    busy = false;
    onRest();
  }

  return (question) => {
    next = question;
    if (!busy) work();
  };
}

// Talking to the server: one request after the other, in the order in which people did things.

const STORAGE = "resnet-lab-teaching";
const MOST_TOGETHER = 16; // pictures in a request …
const MOST_LETTERS = 8e6; // … and what they may weigh together
const LARGEST_FILE = 25e6;

function randomSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Kept for this tab of the browser, so that a reload finds the classes again and another tab has its own.
function ownSession() {
  try {
    const known = sessionStorage.getItem(STORAGE);
    if (/^[0-9a-f]{32}$/.test(known || "")) return known;
    const fresh = randomSession();
    sessionStorage.setItem(STORAGE, fresh);
    return fresh;
  } catch {
    return randomSession();
  }
}

function makeWire(call, { onReply, onProblem, onBusy }) {
  const session = ownSession();
  let [last, waiting] = [Promise.resolve(), 0];

  async function send(request) {
    let reply = null;
    try {
      reply = await call({ session, ...request });
    } catch (problem) {
      console.warn(problem);
    }
    if (reply === null || typeof reply !== "object") onProblem(say("no_answer"));
    else if (reply.error) onProblem(String(reply.error));
    else onReply(reply);
    return reply;
  }

  function ask(request) {
    waiting += 1;
    onBusy(waiting);
    const mine = last.then(() => send(request));
    last = mine.finally(() => {
      waiting -= 1;
      onBusy(waiting);
    });
    return mine;
  }

  // Files a few at a time, each read when its turn comes. `target` names the class: {class} or {name}.
  async function sendFiles(target, files, progress) {
    let [batch, letters, done] = [[], 0, 0];
    const flush = async () => {
      if (batch.length) await ask({ action: "pictures", ...target, files: batch });
      done += batch.length;
      [batch, letters] = [[], 0];
      progress(done, files.length);
    };
    for (const file of files) {
      if (file.size > LARGEST_FILE) {
        onProblem(say("too_large", { name: file.name }));
        done += 1;
        continue;
      }
      const content = await asBase64(file);
      if (content === null) {
        onProblem(say("unreadable", { name: file.name }));
        done += 1;
        continue;
      }
      if (batch.length >= MOST_TOGETHER || letters + content.length > MOST_LETTERS) await flush();
      batch.push({ name: file.name, content });
      letters += content.length;
    }
    await flush();
    progress(files.length, files.length);
  }

  return { session, ask, sendFiles };
}

function asBase64(file) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1] || "");
    reader.onerror = () => resolve(null);
    reader.readAsDataURL(file);
  });
}

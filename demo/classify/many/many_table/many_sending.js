// Sends pictures to a batch, some at a time and in their order, so that row n is the nth picture taken.

const GROUP_FILES = 8;
const GROUP_BYTES = 8e6;
const AWAY = [502, 503, 504]; // what a proxy says for an app that is not there
const [FIRST_WAIT, LONGEST_WAIT] = [2000, 10000]; // ms, before the same is sent again over a lost connection

function* groupsOf(pictures) {
  let [group, bytes] = [[], 0];
  for (const each of pictures) {
    const size = each.file.size > LIMITS.largest ? 0 : each.file.size;
    if (group.length && (group.length >= GROUP_FILES || bytes + size > GROUP_BYTES)) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(each);
    bytes += size;
  }
  if (group.length) yield group;
}

// A file that was moved or changed meanwhile breaks a request just as a lost connection does.
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

function bodyOf(group) {
  const large = (each) => each.file.size > LIMITS.largest;
  const fits = (each) => !each.gone && !large(each);
  const list = group.map((each) => (
    fits(each) ? { name: each.path, size: each.file.size }
      : { name: each.path, size: 0, large: large(each), gone: Boolean(each.gone) }
  ));
  const header = new TextEncoder().encode(JSON.stringify(list));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, header.length);
  return new Blob([length.buffer, header, ...group.filter(fits).map((each) => each.file)]);
}

// A sender for one batch; `stop()` breaks off what is on its way.
function makeSender(job, { onTaken, onShare, onLost }) {
  let [stopped, request] = [false, null];

  function post(query, body) {
    const root = (window.gradio_config && window.gradio_config.root) || document.baseURI;
    const address = new URL("api/many", root.endsWith("/") ? root : `${root}/`.replace(/\?.*$/, ""));
    address.search = new URLSearchParams({ job, ...query });
    return new Promise((yes, no) => {
      request = new XMLHttpRequest();
      request.open("POST", address);
      request.upload.onprogress = (event) => onShare(query.name, event.loaded / (event.total || 1));
      request.onerror = () => no(new Error("lost"));
      request.onabort = () => no(new Error("stopped"));
      request.onload = () => {
        let reply = null;
        try { reply = JSON.parse(request.responseText); } catch { /* a proxy's page */ }
        if (reply && reply.taken !== undefined) yes(reply);
        else if (!reply && AWAY.includes(request.status)) no(new Error("lost"));
        else no(Object.assign(new Error("refused"), { sentence: reply && reply.error, gone: Boolean(reply && reply.gone) }));
      };
      request.send(body);
    });
  }

  // Over a lost connection the same is sent again until it arrives; `mend` may find another reason, and throw it.
  async function postUntilAnswered(query, makeBody, mend) {
    for (let wait = FIRST_WAIT; ; wait = Math.min(LONGEST_WAIT, 1.5 * wait)) {
      try {
        return await post(query, makeBody());
      } catch (problem) {
        if (stopped || problem.message !== "lost") throw problem;
      }
      if (await mend()) continue;
      onLost();
      await new Promise((yes) => { setTimeout(yes, wait); });
      if (stopped) throw new Error("stopped");
    }
  }

  // A picture that cannot be read any more keeps its place, as a row that says so. True where there is a new one.
  async function markGone(group) {
    let found = false;
    for (const each of group) {
      if (each.gone || await isReadable(each.file)) continue;
      each.gone = true;
      found = true;
    }
    return found;
  }

  // A group that is refused as a whole is sent one by one; the last reason is told. `at`: its place among all files.
  async function sendGroup(group, at) {
    try {
      const reply = await postUntilAnswered({ kind: "pictures", at }, () => bodyOf(group), () => markGone(group));
      onTaken(group.slice(0, reply.taken));
      return null;
    } catch (problem) {
      if (stopped || problem.gone || group.length === 1) return problem;
    }
    let last = null;
    for (const [place, each] of group.entries()) {
      if (!stopped) last = (await sendGroup([each], at + place)) || last;
    }
    return last;
  }

  async function sendZip(each, at) {
    const mend = async () => {
      if (await isReadable(each.file)) return false;
      throw Object.assign(new Error("moved"), { sentence: makeWords().say("moved", { name: each.path }) });
    };
    try {
      await postUntilAnswered({ kind: "zip", name: each.path, at }, () => each.file, mend);
      return null;
    } catch (problem) {
      return problem;
    }
  }

  async function sendAll({ pictures, zips }) {
    let [last, at] = [null, 0];
    for (const group of groupsOf(pictures)) {
      const problem = stopped ? null : await sendGroup(group, at);
      at += group.length;
      last = problem || last;
      if (stopped || (problem && problem.gone)) return last;
    }
    for (const each of zips) {
      if (stopped) return last;
      last = (await sendZip(each, at)) || last;
      at += 1;
    }
    return last;
  }

  function stop() {
    stopped = true;
    if (request) request.abort();
  }

  return { sendAll, stop };
}

// Sends pictures to a batch, some at a time and in their order, so that row n is the nth picture taken.

const GROUP_FILES = 8;
const GROUP_BYTES = 8e6;

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

function bodyOf(group) {
  const fits = (each) => each.file.size <= LIMITS.largest;
  const list = group.map((each) => (
    fits(each) ? { name: each.path, size: each.file.size } : { name: each.path, size: 0, large: true }
  ));
  const header = new TextEncoder().encode(JSON.stringify(list));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, header.length);
  return new Blob([length.buffer, header, ...group.filter(fits).map((each) => each.file)]);
}

// A sender for one batch; `stop()` breaks off what is on its way.
function makeSender(job, { onTaken, onShare }) {
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
        else no(Object.assign(new Error("refused"), { sentence: reply && reply.error, gone: Boolean(reply && reply.gone) }));
      };
      request.send(body);
    });
  }

  // A group that fails as a whole (a file was moved meanwhile) is sent one by one; the last reason is told.
  async function sendGroup(group) {
    try {
      const reply = await post({ kind: "pictures" }, bodyOf(group));
      onTaken(group.slice(0, reply.taken));
      return null;
    } catch (problem) {
      if (stopped || problem.gone || group.length === 1) return problem;
    }
    let last = null;
    for (const each of group) {
      if (!stopped) last = (await sendGroup([each])) || last;
    }
    return last;
  }

  async function sendAll({ pictures, zips }) {
    let last = null;
    for (const group of groupsOf(pictures)) {
      const problem = stopped ? null : await sendGroup(group);
      last = problem || last;
      if (stopped || (problem && problem.gone)) return last;
    }
    for (const each of zips) {
      if (stopped) return last;
      try {
        await post({ kind: "zip", name: each.path }, each.file);
      } catch (problem) {
        last = problem;
      }
    }
    return last;
  }

  function stop() {
    stopped = true;
    if (request) request.abort();
  }

  return { sendAll, stop };
}

// One picture by itself, and the table as a file.

function open(row) {
  large.row = row;
  fillLarge(find, row, store, words);
  showPicture(row);
  if (!find("large").open) find("large").showModal();
}

// The file itself where this page still has it; else the zip it came in, through the app; else the small copy.
async function showPicture(row) {
  const picture = find("large-picture");
  forget();
  picture.hidden = !row.thumb;
  picture.onerror = () => { picture.onerror = null; picture.src = pictureSource(row); picture.hidden = !row.thumb; };
  picture.src = pictureSource(row);
  if (!row.thumb) return;
  if (local[row.n]) {
    large.address = URL.createObjectURL(local[row.n]);
    picture.src = large.address;
    return;
  }
  const reply = await ask({ what: "picture", job, row: row.n }).catch(() => ({}));
  if (large.row === row && reply.picture) picture.src = `data:image/jpeg;base64,${reply.picture}`;
}

function forget() {
  if (large.address) URL.revokeObjectURL(large.address);
  large.address = "";
}

function neighbour(step) {
  const wanted = store.wanted();
  const row = wanted[wanted.indexOf(large.row) + step];
  if (row) open(row);
}

async function download() {
  const reply = await ask({ what: "csv", job }).catch(() => ({ error: words.say("lost") }));
  if (reply.error) return complain(reply.error);
  const link = make("a");
  const address = URL.createObjectURL(new Blob([reply.csv], { type: "text/csv;charset=utf-8" }));
  const now = new Date(Date.now() - 60000 * new Date().getTimezoneOffset()).toISOString();
  link.href = address;
  link.download = `answers-${now.slice(0, 10)}-${now.slice(11, 16).replace(":", "")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

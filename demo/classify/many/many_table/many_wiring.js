// Buttons, keys and drops; the last of the files, it starts the page.

for (const [button, box] of [["pick-files", "files"], ["pick-folder", "folder"]]) {
  find(button).addEventListener("click", () => find(box).click());
  find(box).addEventListener("change", () => {
    const found = chosenFiles(find(box).files);
    find(box).value = ""; // choosing the same again counts as choosing
    begin(found);
  });
}
find("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  find("drop").classList.add("mt-over");
});
find("drop").addEventListener("dragleave", () => find("drop").classList.remove("mt-over"));
find("drop").addEventListener("drop", async (event) => {
  event.preventDefault();
  find("drop").classList.remove("mt-over");
  if (isRunning()) return complain(words.say("busy"));
  complain(words.say("reading_folder"));
  const found = await droppedFiles(event.dataTransfer);
  begin(found);
});
find("cancel").addEventListener("click", cancel);
find("csv").addEventListener("click", download);
find("filter").addEventListener("change", () => filterBy(find("filter").value));
for (const head of element.querySelectorAll("th[data-key]")) {
  head.firstElementChild.addEventListener("click", () => {
    store.sortBy(head.dataset.key);
    showAll();
  });
}
for (const [button, step] of [["previous", -1], ["next", 1]]) {
  find(button).addEventListener("click", () => {
    store.view.page += step;
    showTable();
  });
}
find("close").addEventListener("click", () => find("large").close());
find("large").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) neighbour(step);
});
find("large").addEventListener("click", (event) => {
  if (event.target === find("large")) find("large").close(); // beside the picture
});
new MutationObserver(() => {
  words = makeWords();
  nodes.clear();
  find("rows").dataset.shown = "";
  showLabels();
  showAll();
}).observe(document.documentElement, { attributeFilter: ["lang"] });
showLabels();
showAll();
const earlier = remembered();
if (earlier) {
  job = earlier;
  finish(earlier).then(() => follow(earlier)); // what the page before the reload had not sent will not come
}

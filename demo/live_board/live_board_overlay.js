// Which runs lie over the one on screen: chosen by a person or by Python (`props.overlays`), and the parents of forks,
// whose past is drawn although nobody chose them. Each has a store of its own, filled by the same poll.

const MOST_OVERLAID = 7; // eight runs in all
const MOST_GENERATIONS = 8;
const MOST_LISTED = 300; // the list of runs ends there: a run that it lacks may exist all the same
const CHOSEN_PLACE = "resnet-lab-overlaid";

function makeOverlays(onChange) {
  const stores = new Map();
  let chosen = readChosen();
  let asked = [];

  function readChosen() {
    try {
      const kept = JSON.parse(remembered(CHOSEN_PLACE, () => window.sessionStorage) || "[]");
      return Array.isArray(kept) ? kept.filter((id) => typeof id === "string").slice(0, MOST_OVERLAID) : [];
    } catch {
      return [];
    }
  }

  function choose(ids) {
    chosen = [...new Set(ids)].slice(0, MOST_OVERLAID);
    remember(CHOSEN_PLACE, JSON.stringify(chosen), () => window.sessionStorage);
    onChange();
  }

  function storeOf(id) {
    if (!stores.has(id)) stores.set(id, makeStore());
    return stores.get(id);
  }

  const others = (main) => chosen.filter((id) => id !== main.run);

  // Ids of forks' parents that are not on screen themselves.
  function ancestors(main) {
    const [shown, found] = [new Set([main.run, ...others(main)]), []];
    for (const store of [main, ...others(main).map(storeOf)]) {
      let origin = store.about?.forked_from;
      for (let i = 0; origin && i < MOST_GENERATIONS && !shown.has(origin[0]); i += 1) {
        shown.add(origin[0]);
        found.push(origin[0]);
        origin = storeOf(origin[0]).about?.forked_from;
      }
    }
    return found;
  }

  // What to ask for together with the news of the run on screen.
  function questions(main, withUsage) {
    asked = main.run === null ? [] : [...others(main), ...ancestors(main)];
    for (const id of stores.keys()) if (!asked.includes(id)) stores.delete(id);
    return asked.map((run) => {
      const { run: have, cursor, usageCursor, about } = storeOf(run);
      return { run, have, cursor, called: about?.name, ...(withUsage ? { usage: cursor ? usageCursor : 0 } : {}) };
    });
  }

  // Takes the replies in, in the order of the questions; tells whether something has to be drawn anew.
  function take(replies) {
    let news = false;
    replies.forEach((reply, i) => {
      const store = asked[i] && stores.get(asked[i]);
      if (!store) return;
      const problem = reply.error || "";
      news = store.problem !== problem || news;
      if (!problem) news = store.apply(reply).charts || news;
      store.problem = problem;
    });
    return news;
  }

  // What is on screen, the followed run first: { store, parent, kin } each.
  function runs(main) {
    const shown = [main, ...others(main).map(storeOf).filter((store) => store.run && !store.problem)];
    const family = new Map(shown.map((store) => [store.run, { store, parent: null, kin: false }]));
    const grow = (run, generation) => {
      const id = run.store.about?.forked_from?.[0];
      if (!id || generation > MOST_GENERATIONS || id === run.store.run) return;
      const known = family.get(id);
      const store = known?.store || stores.get(id);
      if (!store?.run || store.problem) return;
      run.parent = known || { store, parent: null, kin: false };
      run.kin = !known;
      if (!known) grow(run.parent, generation + 1);
    };
    for (const run of family.values()) grow(run, 1);
    return [...family.values()];
  }

  const isOver = (main) => others(main).every((id) => stores.get(id)?.isOver() || stores.get(id)?.problem);
  const present = (main) => others(main).filter((id) => !stores.get(id)?.problem);

  // A run that was deleted gives its place back.
  function forget(listed) {
    const left = chosen.filter((id) => listed.includes(id));
    if (listed.length < MOST_LISTED && left.length < chosen.length) choose(left);
  }

  return { choose, chosen: () => chosen, present, forget, questions, take, runs, isOver };
}

// The list of runs with a tick each; asked for when it is opened.
function makeChooser(details, overlays, ask) {
  const [list, search] = [details.querySelector(".lb-runs"), details.querySelector(".lb-search")];
  let [lines, words, main] = [[], null, null];

  async function load() {
    const reply = await ask({ want: "runs" }).catch(() => null);
    if (Array.isArray(reply?.runs)) {
      lines = reply.runs;
      overlays.forget(lines.map((line) => line.run));
    }
    show();
  }

  function show() {
    if (!words) return;
    const wish = search.value.trim().toLowerCase();
    const chosen = overlays.chosen();
    const fits = (line) => [line.run, line.name, line.about].join(" ").toLowerCase().includes(wish);
    const shown = lines.filter((line) => line.run !== main && (chosen.includes(line.run) || fits(line)));
    list.replaceChildren(...shown.map((line) => lineNode(line, chosen)));
    if (!shown.length) list.append(htmlNode("p", "lb-none", words.say("no_other_runs")));
    search.hidden = lines.length < 8;
  }

  function lineNode(line, chosen) {
    const [label, box] = [htmlNode("label", "lb-run"), htmlNode("input", "lb-run-box")];
    box.type = "checkbox";
    box.value = line.run;
    box.checked = chosen.includes(line.run);
    box.disabled = !box.checked && chosen.length >= MOST_OVERLAID;
    box.addEventListener("change", () => {
      const rest = overlays.chosen().filter((id) => id !== line.run);
      overlays.choose(box.checked ? [...rest, line.run] : rest);
      show();
      [...list.querySelectorAll(".lb-run-box")].find((other) => other.value === line.run)?.focus();
    });
    const best = line.best === null ? "" : `${showPercent(line.best)} %`;
    const facts = [words.say(`status.${line.status}`), best, line.about].filter(Boolean).join(" · ");
    const told = htmlNode("span", "lb-run-text");
    told.append(htmlNode("span", "lb-run-name", line.name), " ", htmlNode("span", "lb-run-facts", facts));
    label.append(box, told);
    return label;
  }

  details.addEventListener("toggle", () => details.open && load());
  search.addEventListener("input", show);
  return {
    tell(fresh, run) {
      const changed = words?.language !== fresh.language || main !== run;
      [words, main] = [fresh, run];
      if (changed) show();
    },
    show,
  };
}

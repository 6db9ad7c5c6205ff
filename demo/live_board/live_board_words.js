// Words and numbers for people. All of it ends in textContent, so nothing here needs escaping.

const NAMED_BY_PEOPLE = ["dataset", "init_from", "forked_from", "preset"];

function chosenLanguage(wish) {
  const named = [wish, document.documentElement.lang, navigator.language].find((l) => l) || "en";
  return named.toLowerCase().startsWith("zh") ? "zh" : "en";
}

function makeWords(props) {
  const language = chosenLanguage(props.language);
  const own = (props.strings && props.strings[language]) || {};
  const table = { ...STRINGS.en, ...STRINGS[language], ...own };
  const whole = new Intl.NumberFormat(language);
  const say = (key, filling = {}) =>
    (table[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(filling[name] ?? table.unknown)).trim();

  function duration(seconds) {
    const s = Math.max(0, Math.round(seconds));
    if (s >= 3600) return say("hours", { h: whole.format(Math.floor(s / 3600)), m: Math.floor((s % 3600) / 60) });
    if (s >= 60) return say("minutes", { m: Math.floor(s / 60), s: s % 60 });
    return say("seconds", { s });
  }

  const separator = table["log.separator"]; // said with its space, which say() would trim
  const setting = (name, title) => table[`setting.${name}`] ?? title;

  // Values come in English: "yes", "0.1, 0.02 from epoch 5". What people named themselves stays as it is.
  function value(name, told) {
    if (told === null || told === undefined) return "–";
    if (NAMED_BY_PEOPLE.includes(name)) return told;
    return told.split(", ").map((part) => {
      const [, plain, epoch] = part.match(/^(.*?)(?: from epoch (\d+))?$/s);
      const shown = table[`value.${plain}`] ?? plain;
      return epoch ? say("value_from", { value: shown, epoch }) : shown;
    }).join(separator);
  }

  return { language, say, separator, duration, setting, value, count: (n) => whole.format(n) };
}

function showPower(value, digits) {
  return value.toExponential(digits).replace("e-", "e−").replace("e+", "e");
}

function showNumber(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100000)) return showPower(value, 1);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 3);
}

function showPercent(share) {
  return share === null || share === undefined ? "–" : (100 * share).toFixed(1);
}

function showTick(value, step) {
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 100000)) return showPower(value, 0);
  return value.toFixed(Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))));
}

function showClock(time) {
  if (time === null) return "";
  const at = new Date(time * 1000);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");
}

// One sentence of the log from one row [time, kind, …], or "" where there is nothing to say any more.
function logSentence(row, store, words) {
  const [, kind, first, second] = row;
  const say = words.say;
  if (kind === "start") {
    const facts = store.about || {};
    const counted = { n_train: words.count(facts.n_train ?? 0), n_val: words.count(facts.n_val ?? 0) };
    return say("log.start", { ...facts, ...counted });
  }
  if (kind === "epoch") return epochSentence(store.epochOf(first), words);
  if (kind === "checkpoint") return say("log.checkpoint", { epoch: first, kind: second });
  if (kind === "warning") return `${say("log.warning")} ${first}`;
  if (kind === "change") return say("log.change", { epoch: first, settings: second });
  if (kind === "note") return first;
  if (kind === "end" && !["finished", "stopped", "failed"].includes(first)) return second || first;
  if (kind === "end") return say(`log.${first}`, { reason: second });
  return say(`log.${kind}`);
}

function epochSentence(row, words) {
  if (!row) return "";
  const [epoch, trainLoss, valLoss, , valTop1, best] = row;
  const facts = [words.say("log.train_loss", { value: showNumber(trainLoss) })];
  if (valLoss !== null) facts.push(words.say("log.val_loss", { value: showNumber(valLoss) }));
  if (valTop1 !== null) facts.push(words.say("log.val_top1", { value: showPercent(valTop1) }));
  const sentence = words.say("log.epoch", { epoch, facts: facts.join(words.separator) });
  return best ? `${sentence} ${words.say("log.best")}` : sentence;
}

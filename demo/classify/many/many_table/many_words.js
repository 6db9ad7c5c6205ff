// Words and numbers for people. All of it ends in textContent, so nothing here needs escaping.

function makeWords() {
  const named = [document.documentElement.lang, navigator.language].find((l) => l) || "en";
  const language = named.toLowerCase().startsWith("zh") ? "zh" : "en";
  const whole = new Intl.NumberFormat(language);
  const say = (key, filling = {}) =>
    (WORDS[language][key] ?? key).replace(/\{(\w+)\}/g, (_, part) => String(filling[part] ?? ""));

  // what is not certain is never 100.0 %
  const share = (p) => `${(p < 1 ? Math.min(99.9, 100 * p) : 100).toFixed(1)} %`;

  function duration(seconds) {
    const s = Math.max(0, Math.ceil(seconds));
    return s >= 60 ? say("minutes", { m: Math.floor(s / 60), s: s % 60 }) : say("seconds", { s });
  }

  return { language, say, duration, count: (n) => whole.format(n), share };
}

function setText(node, content) {
  if (node.textContent !== content) node.textContent = content;
}

function make(tag, className, content) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (content !== undefined) node.textContent = content;
  return node;
}

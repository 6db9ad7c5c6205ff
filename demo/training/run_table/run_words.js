// Words and numbers for people. All of it ends in textContent, so nothing here needs escaping.

function makeWords() {
  const named = [document.documentElement.lang, navigator.language].find((l) => l) || "en";
  const language = named.toLowerCase().startsWith("zh") ? "zh" : "en";
  const locale = language === "zh" ? "zh-CN" : navigator.language || "en";
  const say = (key, filling = {}) =>
    (WORDS[language][key] ?? key).replace(/\{(\w+)\}/g, (_, part) => String(filling[part] ?? ""));
  const day = new Intl.DateTimeFormat(locale, { year: "2-digit", month: "short", day: "numeric" });
  const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
  const tenth = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });

  // Today by the clock, other days by the date.
  function when(seconds) {
    if (!seconds) return "–";
    const then = new Date(1000 * seconds);
    return then.toDateString() === new Date().toDateString() ? clock.format(then) : day.format(then);
  }

  function size(bytes) {
    if (bytes < 1e6) return `${whole.format(Math.ceil(bytes / 1e3))} kB`;
    return bytes < 1e9 ? `${tenth.format(bytes / 1e6)} MB` : `${tenth.format(bytes / 1e9)} GB`;
  }

  return {
    language, say, when, size,
    exact: (seconds) => (seconds ? new Date(1000 * seconds).toLocaleString(locale) : ""),
    share: (top1) => (top1 === null ? "–" : `${(100 * top1).toFixed(1)} %`),
  };
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

function makeButton(className, content, onClick, spoken) {
  const button = make("button", className, content);
  button.type = "button";
  if (spoken) button.setAttribute("aria-label", spoken);
  button.addEventListener("click", onClick);
  return button;
}

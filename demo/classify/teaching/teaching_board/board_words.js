// Words for people, in the page's language. All of it ends in textContent, so nothing here needs escaping.

const language = ([document.documentElement.lang, navigator.language].find((tag) => tag) || "en").toLowerCase();

const table = { ...STRINGS.en, ...(language.startsWith("zh") ? STRINGS.zh : {}) };

function say(key, filling = {}) {
  return (table[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(filling[name] ?? ""));
}

function sayCount(key, number, filling = {}) {
  return say(number === 1 ? `${key}_one` : key, { n: number, ...filling });
}

function make(tag, className = "", content = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (content) node.textContent = content;
  return node;
}

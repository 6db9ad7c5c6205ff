// The form under a line: name, tags and note of one run. Enter saves (in the note: Ctrl+Enter), Escape leaves.

function field(form, tag, name, title, value, options) {
  const [label, box] = [make("label", "rt-field"), make(tag, `rt-box rt-box-${name}`)];
  Object.assign(box, { value, ...options });
  label.append(make("span", "rt-quiet", title), box);
  form.append(label);
  return box;
}

function makeEditor(row, words, { onSave, onLeave }) {
  const line = make("tr", "rt-edit-line");
  const [cell, form] = [make("td", ""), make("form", "rt-form")];
  const name = field(form, "input", "name", words.say("name"), row.name, {
    maxLength: LIMITS.name, placeholder: words.say("name_hint"),
  });
  const tags = field(form, "input", "tags", words.say("no_tags"), row.tags.join(", "), { maxLength: 500 });
  const note = field(form, "textarea", "note", words.say("note"), row.note, { maxLength: LIMITS.note, rows: 3 });
  const buttons = make("span", "rt-buttons");
  const save = make("button", "rt-button rt-save", words.say("save"));
  buttons.append(save, makeButton("rt-button rt-leave", words.say("cancel"), onLeave));
  form.append(buttons);

  // Only what was changed is sent: what somebody else writes meanwhile stays.
  function changed() {
    const now = { name: name.value, tags: tags.value, note: note.value };
    const before = { name: row.name, tags: row.tags.join(", "), note: row.note };
    return Object.fromEntries(Object.entries(now).filter(([part, text]) => text !== before[part]));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save.disabled = true;
    onSave(changed()).finally(() => { save.disabled = false; });
  });
  form.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // a key that ends a Chinese word ends nothing else
    if (event.key === "Escape") onLeave();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  cell.append(form);
  line.append(cell);
  // Columns that a narrow screen hides must not come back as empty ones.
  function fit(columns) {
    cell.colSpan = columns;
  }
  return { line, fit, focus: () => { name.focus(); name.select(); } };
}

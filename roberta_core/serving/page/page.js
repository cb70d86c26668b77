"use strict";
// The page of the server. Texts are only ever set as text, never as HTML.

const $ = (id) => document.getElementById(id);
const HUES = [45, 150, 210, 285, 340, 95, 185, 20];
let models = [];
let task = null;
let running = null;

// --- Elements ---

function build(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) found.setAttribute(name, value);
  }
  found.append(...children);
  return found;
}

function buildBars(items, long = false) {
  const list = build("ol", { class: "bars" });
  for (const { name, score } of items) {
    const bar = build("div", { class: "bar" });
    bar.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
    list.append(build("li", { class: long ? "long" : null },
      build("span", { class: "name" }, name),
      build("span", { class: "track", "aria-hidden": "true" }, bar),
      build("span", { class: "value" }, `${(score * 100).toFixed(1)}%`)));
  }
  return list;
}

// Offsets of the server count characters, those of JavaScript 16-bit units.
function buildPassage(text, spans) {
  const letters = Array.from(text);
  const passage = build("p", { class: "passage" });
  let place = 0;
  for (const { start, end, label, hue } of [...spans].sort((a, b) => a.start - b.start)) {
    if (start < place) continue;
    passage.append(letters.slice(place, start).join(""));
    const mark = build("mark", {}, letters.slice(start, end).join(""));
    if (label) mark.append(build("small", {}, label));
    if (hue !== undefined) mark.style.setProperty("--hue", hue);
    passage.append(mark);
    place = end;
  }
  passage.append(letters.slice(place).join(""));
  return passage;
}

function buildHeatMap(texts, matrix) {
  const head = build("tr", {}, build("th", {}, ""));
  texts.forEach((_, column) => head.append(build("th", { scope: "col" }, String(column + 1))));
  const body = build("tbody");
  const values = matrix.flat(), least = Math.min(...values), range = Math.max(...values) - least || 1;
  texts.forEach((text, row) => {
    const line = build("tr", {}, build("th", { scope: "row" }, `${row + 1}. ${text}`));
    matrix[row].forEach((value) => {
      const cell = build("td", {}, value.toFixed(2));
      cell.style.setProperty("--value", (value - least) / range);
      line.append(cell);
    });
    body.append(line);
  });
  return build("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Similarities" },
    build("table", {}, build("thead", {}, head), body));
}

function splitLines(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

// --- Tasks: the fields of the form, the request, and how its answer is shown ---

const TASKS = {
  "fill-mask": {
    title: "Fill masks", path: "/fill-mask", insert: "<mask>",
    hint: "Write <mask> where the model should predict a token.",
    fields: { text: { label: "Text", rows: 3, value: "She opened the<mask> and went in." } },
    request: ({ text }) => ({ inputs: text, top_k: 8 }),
    show: (answer) => {
      const masks = Array.isArray(answer[0]) ? answer : [answer];
      return masks.flatMap((mask, place) => [
        build("h3", {}, masks.length > 1 ? `Mask ${place + 1}` : mask[0].sequence),
        buildBars(mask.map((one) => ({ name: one.token_str.trim() || JSON.stringify(one.token_str), score: one.score }))),
      ]);
    },
  },
  "token-classification": {
    title: "Find entities", path: "/tag", hint: "Entities are marked in the text.",
    fields: { text: { label: "Text", rows: 4, value: "Ada Lovelace met Charles Babbage in London." } },
    request: ({ text }) => ({ inputs: text, aggregation_strategy: "first" }),
    show: (answer, { text }) => {
      const labels = [...new Set(answer.map((one) => one.entity_group))].sort();
      const spans = answer.map((one) => ({ ...one, label: one.entity_group, hue: HUES[labels.indexOf(one.entity_group) % HUES.length] }));
      return [buildPassage(text, spans), build("p", { class: "note" }, `${answer.length} ${answer.length === 1 ? "entity" : "entities"}`)];
    },
  },
  "question-answering": {
    title: "Answer questions", path: "/answer", hint: "The answer is marked in the context.",
    fields: {
      question: { label: "Question", value: "Where did she go?" },
      context: { label: "Context", rows: 6, value: "She opened the door and went into the garden, where it was cold." },
    },
    request: ({ question, context }) => ({ inputs: { question, context } }),
    show: (answer, { context }) => [
      buildPassage(context, [answer]),
      buildBars([{ name: answer.answer || "no answer", score: answer.score }]),
    ],
  },
  "text-classification": {
    title: "Classify", path: "/predict", hint: "The labels of the model, most likely first.",
    fields: { text: { label: "Text", rows: 4, value: "A fine film, and a long one." } },
    request: ({ text }) => ({ inputs: text }),
    show: (answer) => [buildBars(answer.map((one) => ({ name: one.label, score: one.score })))],
  },
  "zero-shot-classification": {
    title: "Classify with your labels", path: "/zero-shot", hint: "One label a line.",
    fields: {
      text: { label: "Text", rows: 3, value: "The team won in the last minute." },
      labels: { label: "Labels", rows: 4, value: "sports\npolitics\nmusic" },
    },
    request: ({ text, labels }) => ({ inputs: text, candidate_labels: splitLines(labels) }),
    show: (answer) => [buildBars(answer.labels.map((name, place) => ({ name, score: answer.scores[place] })))],
  },
  "multiple-choice": {
    title: "Choose", path: "/choose", hint: "One choice a line.",
    fields: {
      context: { label: "Context", rows: 3, value: "She opened the door because" },
      choices: { label: "Choices", rows: 4, value: "a guest had knocked.\nthe sea is blue." },
    },
    request: ({ context, choices }) => ({ inputs: { context, choices: splitLines(choices) } }),
    show: (answer, { choices }) => [
      buildBars(splitLines(choices).map((name, place) => ({ name, score: answer.scores[place] })), true)],
  },
  "text-ranking": {
    title: "Rank", path: "/rerank", hint: "One text a line; the best comes first.",
    fields: {
      query: { label: "Query", value: "Who opened the door?" },
      texts: { label: "Texts", rows: 5, value: "She opened it.\nIt rained all day.\nThe door was green." },
    },
    request: ({ query, texts }) => ({ query, texts: splitLines(texts), return_text: true }),
    show: (answer) => [buildBars(answer.map((one) => ({ name: one.text, score: one.score })), true)],
  },
  "sentence-embedding": {
    title: "Compare texts", path: "/embed", hint: "One text a line; the cells are cosine similarities, the highest darkest.",
    fields: {
      texts: { label: "Texts", rows: 5, value: "She opened the door.\nThe gate was open.\nIt rained all day.\nThe weather was bad." },
    },
    request: ({ texts }) => ({ inputs: splitLines(texts), normalize: true, truncate: true }),
    show: (answer, { texts }) => [
      buildHeatMap(splitLines(texts), answer.map((a) => answer.map((b) => a.reduce((sum, one, place) => sum + one * b[place], 0))))],
  },
  "text-generation": {
    title: "Continue a text", path: "/generate", hint: "Tokens appear as they are generated.", stream: true,
    fields: { text: { label: "Text", rows: 4, value: "She opened the door and" } },
    request: ({ text }) => ({ inputs: text, max_new_tokens: 48, do_sample: true, stream: true }),
    show: () => [],
  },
};

// --- The server ---

function buildHeaders() {
  const headers = { "Content-Type": "application/json" };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  return headers;
}

async function call(path, body) {
  const options = body === undefined
    ? { headers: buildHeaders() }
    : { method: "POST", headers: buildHeaders(), body: JSON.stringify(body), signal: running.signal };
  const response = await fetch(path.slice(1), options);
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail || `The server answered ${response.status}.`);
  error.status = response.status;
  throw error;
}

async function readEvents(response, listen) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1] || "";
      const data = JSON.parse(/^data: (.*)$/m.exec(event)[1]);
      if (name === "error") throw new Error(data.detail);
      listen(name, data);
    }
  }
}

// --- The form ---

function readValues() {
  return Object.fromEntries(Object.keys(TASKS[task].fields).map((name) => [name, $(`field-${name}`).value]));
}

function chooseTask(name, focus = false) {
  task = name;
  const { title, hint, fields, insert } = TASKS[name];
  for (const tab of $("tasks").children) {
    const chosen = tab.dataset.task === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen && focus) tab.focus();
  }
  $("form-title").textContent = title;
  $("hint").textContent = hint;
  $("fields").replaceChildren(...Object.entries(fields).map(([key, { label, rows, value }]) => {
    const input = rows ? build("textarea", { id: `field-${key}`, rows }) : build("input", { id: `field-${key}`, type: "text" });
    input.value = value;
    return build("label", {}, label, input);
  }));
  if (insert) {
    const button = build("button", { type: "button", class: "insert" }, `Insert ${insert}`);
    button.addEventListener("click", () => {
      const input = $("field-text");
      input.setRangeText(insert, input.selectionStart, input.selectionEnd, "end");
      input.focus();
    });
    $("fields").append(button);
  }
  $("result").replaceChildren();
  $("time").textContent = "";
}

async function run() {
  if (running) running.abort();
  const mine = running = new AbortController();
  const { path, request, show, stream } = TASKS[task];
  const values = readValues();
  const submit = document.querySelector("button[type=submit]");
  submit.disabled = true;
  const begin = performance.now();
  try {
    const body = { ...request(values), model: $("model").value };
    const response = await call(path, body);
    if (stream) {
      const passage = build("p", { class: "passage" }, values.text);
      const made = build("mark");
      passage.append(made);
      $("result").replaceChildren(passage);
      await readEvents(response, (name, data) => { if (!name) made.append(data.text); });
    } else {
      $("result").replaceChildren(...show(await response.json(), values));
    }
    $("time").textContent = `${Math.round(performance.now() - begin)} ms`;
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) $("key-field").hidden = false;
    $("time").textContent = "";
    $("result").replaceChildren(build("p", { class: "error", role: "alert" }, error.message));
  } finally {
    if (running === mine) {
      submit.disabled = false;
      running = null;
    }
  }
}

function showTasks() {
  const model = models.find((one) => one.id === $("model").value);
  const names = Object.keys(TASKS).filter((name) => model.tasks.includes(name));
  $("tasks").replaceChildren(...names.map((name) =>
    build("button", { type: "button", role: "tab", "data-task": name, "aria-controls": "form" }, TASKS[name].title)));
  $("about").textContent = `${model.id}, ${model.framework} ${model.framework_version} on ${model.device}`;
  chooseTask(names.includes(task) ? task : names[0]);
}

async function connect() {
  try {
    models = (await (await call("/info")).json()).models;
  } catch (error) {
    $("about").textContent = error.message;
    $("key-field").hidden = error.status !== 401;
    return;
  }
  $("key-field").hidden = !$("key").value;
  $("model").replaceChildren(...models.map((one) => build("option", { value: one.id }, one.id)));
  $("model-field").hidden = models.length < 2;
  showTasks();
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
$("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
});
$("tasks").addEventListener("click", (event) => { if (event.target.dataset.task) chooseTask(event.target.dataset.task); });
$("tasks").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const tabs = [...$("tasks").children];
  const place = { Home: 0, End: tabs.length - 1 }[event.key];
  const current = tabs.findIndex((tab) => tab.dataset.task === task);
  if (step === undefined && place === undefined) return;
  event.preventDefault();
  chooseTask(tabs[place ?? (current + step + tabs.length) % tabs.length].dataset.task, true);
});
$("model").addEventListener("change", showTasks);
$("key").addEventListener("change", connect);
connect();

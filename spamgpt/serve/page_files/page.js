// The page: asks this server, shows its answers, and teaches it. What a message holds becomes text
// of the document and never markup.

const byId = (id) => document.getElementById(id);
const CUT = 480; // characters of a message that are shown at first
const ROWS = 2000; // rows in the document, and how many more a click adds
const EXPLAINED = 8; // so few messages are explained unasked: it takes as long as dozens of answers
const LONG = 2000; // characters beyond which a message is explained only when asked
const TOKEN = "spamgpt-token";

// What could reorder text or is unseen is spelled out, as printable.py does; lines and tabs stay.
const UNSAFE = new RegExp(
  "[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f" +
    "\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufeff\\uffa0" +
    "\\ufff0-\\ufffb\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]" +
    "|(?<![^\\0-\\x7f])[\\u200c\\u200d]|[\\u200c\\u200d](?![^\\0-\\x7f])",
  "gu",
);
// What spreadsheets take for the beginning of a formula (OWASP, "CSV injection").
const FORMULA = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;

let classifier = null; // what GET /v1/classifier says
let messages = []; // one for each answer, as they came
let threshold = null; // what the slider says; null: the classifier's own
let limit = ROWS;
let asking = null; // the AbortController of what is being asked
let waiting = []; // files to ask about

// --- asking -------------------------------------------------------------------------------------

async function api(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server cannot be reached, or it did not want so large a file.");
    }
    if (response.ok) return response;
    if (response.status !== 401) {
      const body = await response.json().catch(() => ({}));
      throw new Error(body.error?.message ?? `The server answers with status ${response.status}.`);
    }
    await tokenGiven(token !== null);
  }
}

const post = (path, value) =>
  api(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(value),
  });

let given = null; // the one promise of a token, whoever waits for it

function tokenGiven(wasWrong) {
  given ??= new Promise((resolve) => {
    const form = byId("token-form");
    form.hidden = false;
    if (wasWrong) complain("That token is not the one.");
    byId("token").focus();
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN, byId("token").value.trim());
      byId("token").value = "";
      form.hidden = true;
      given = null;
      complain("");
      resolve();
    };
  });
  return given;
}

function complain(text) {
  byId("problem").textContent = printable(text);
  byId("problem").hidden = !text;
}

async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines;
  }
  if (rest) throw new Error("The answer broke off.");
}

function ask(name, blob, column) {
  waiting.push({ name, blob, column });
  if (asking === null) work();
}

async function work() {
  asking = new AbortController();
  const first = messages.length;
  complain("");
  byId("results").hidden = byId("stop").hidden = false;
  // Counts that run are not read out; their end is.
  byId("status").ariaBusy = byId("messages").ariaBusy = "true";
  show();
  while (waiting.length) {
    const { name, blob, column } = waiting.shift();
    try {
      if (classifier && blob.size > classifier.max_body) {
        throw new Error(`It has more than ${counted(classifier.max_body)} bytes.`);
      }
      const query = new URLSearchParams({ name, column });
      const response = await api(`v1/classify/file?${query}`, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: blob,
        signal: asking.signal,
      });
      const answeredBy = response.headers.get("spamgpt-classifier");
      if (answeredBy !== classifier?.classifier) await describe();
      for await (const line of linesOf(response)) {
        messages.push({ ...JSON.parse(line), number: messages.length });
        soon();
      }
    } catch (error) {
      if (error.name === "AbortError") waiting = [];
      else complain(`${name}: ${error.message}`);
    }
  }
  asking = null;
  byId("stop").hidden = true;
  byId("status").ariaBusy = byId("messages").ariaBusy = "false";
  show();
  await explainFew(messages.slice(first));
}

async function describe() {
  classifier = await (await api("v1/classifier")).json();
  const two = classifier.threshold !== null;
  byId("classifier").textContent = printable(classifier.classifier);
  byId("positive").textContent = printable(classifier.positive_label);
  byId("threshold-box").hidden = !two;
  byId("teaching").hidden = !classifier.takes_corrections;
  for (const option of document.querySelectorAll(".two")) option.hidden = option.disabled = !two;
  byId("filter").replaceChildren(
    new Option("all", "all"),
    ...classifier.labels.map((label) => new Option(printable(label), `label ${label}`)),
    ...(two ? [new Option("changed by the threshold", "changed")] : []),
    new Option("corrected", "taught"),
  );
  setThreshold(null);
}

// --- what an answer is ----------------------------------------------------------------------------

/** The probability of the label to detect or, of more than two, of the label that was given. */
const probability = (message) =>
  message.probabilities[classifier.threshold === null ? message.label : classifier.positive_label];

function labelOf(message) {
  if (threshold === null || message.error) return message.label;
  const positive = classifier.positive_label;
  const other = classifier.labels.find((label) => label !== positive);
  return probability(message) >= threshold ? positive : other;
}

const changed = (message) => !message.error && labelOf(message) !== message.label;
const counted = (number) => number.toLocaleString("en");
const plural = (number, noun) => `${counted(number)} ${noun}${number === 1 ? "" : "s"}`;

function percent(value) {
  if (value > 0.999 && value < 1) return "> 99.9 %";
  if (value < 0.001 && value > 0) return "< 0.1 %";
  return `${(100 * value).toFixed(1)} %`;
}

function printable(text) {
  return text.replace(UNSAFE, (found) => {
    const code = found.codePointAt(0).toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

// --- a row ----------------------------------------------------------------------------------------

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** The element of a message, made when it is first shown; its parts stand in `message.parts`. */
function rowOf(message) {
  if (message.parts) return message.parts.row;
  const parts = (message.parts = {
    label: make("b"),
    number: make("span"),
    bar: make("i"),
    was: make("small"),
    text: make("blockquote"),
    acts: make("div", { className: "acts" }),
  });
  const verdict = make("div", { className: "verdict" }, parts.label, " ");
  if (!message.error) {
    verdict.append(parts.number, make("div", { className: "bar", ariaHidden: "true" }, parts.bar));
    verdict.append(parts.was);
    parts.number.textContent = percent(probability(message));
    parts.bar.style.setProperty("--value", probability(message));
    if (Array.from(message.text.slice(0, 2 * CUT + 2)).length > CUT) {
      parts.whole = make("button", { type: "button", ariaExpanded: "false" });
      parts.whole.onclick = () => {
        message.whole = !message.whole;
        write(message);
      };
      parts.acts.append(parts.whole);
    }
    parts.why = make("button", { type: "button" }, "Why?");
    parts.why.onclick = () => explain(message);
    parts.acts.append(parts.why);
    if (classifier.takes_corrections) parts.acts.append(teachingOf(message));
  }
  parts.row = make("li", {}, verdict, make("div", {}, parts.text, parts.acts));
  write(message);
  update(message);
  return parts.row;
}

/** Brings the label of a row up to date. */
function update(message) {
  const { parts } = message;
  const label = message.error ? "error" : labelOf(message);
  if (!parts || parts.shown === label) return;
  parts.shown = label;
  parts.label.textContent = printable(label);
  parts.was.textContent = changed(message) ? `was ${printable(message.label)}` : "";
  parts.row.className = message.error
    ? "error"
    : classifier.threshold !== null && label === classifier.positive_label
      ? "positive"
      : "";
}

/** Writes the text of a row: its beginning or all of it, with what drove the answer marked. */
function write(message) {
  const { text, whole } = message.parts;
  if (message.error) {
    text.replaceChildren(printable(message.error.message));
    return;
  }
  // Spans count characters as Python does, by code points.
  const characters = Array.from(message.text);
  const end = message.whole ? characters.length : Math.min(CUT, characters.length);
  const piece = (from, to) => printable(characters.slice(from, to).join(""));
  const spans = message.explanation ?? [];
  const strongest = Math.max(...spans.map((span) => Math.abs(span.weight)), 1e-9);
  const pieces = [];
  let at = 0;
  for (const span of spans) {
    let start = Math.max(span.start, at);
    const stop = Math.min(span.end, end);
    while (start < stop && !characters[start].trim()) start += 1;
    const weight = Math.abs(span.weight) / strongest;
    if (start >= stop || weight < 0.05) continue;
    const mark = make("mark", { className: span.weight > 0 ? "for" : "against" });
    mark.textContent = piece(start, stop);
    mark.title = `${span.weight > 0 ? "for" : "against"} ${printable(message.label)}`;
    mark.style.setProperty("--weight", weight.toFixed(2));
    pieces.push(piece(at, start), mark);
    at = stop;
  }
  pieces.push(piece(at, end));
  const cut = (said) => pieces.push(make("span", { className: "cut" }, said));
  if (end < characters.length) cut(` … and ${counted(characters.length - end)} more characters`);
  if (!message.text.trim()) cut("(nothing but space)");
  text.replaceChildren(...pieces);
  if (whole) {
    whole.textContent = message.whole
      ? "Show less"
      : `Show all ${counted(characters.length)} characters`;
    whole.ariaExpanded = String(Boolean(message.whole));
  }
}

async function explain(message) {
  const { why } = message.parts;
  why.disabled = true;
  why.textContent = "Explaining …";
  try {
    const body = { texts: [message.text], explain: true };
    const { answers } = await (await post("v1/classify", body)).json();
    message.explanation = answers[0].explanation;
    byId("legend").hidden = false;
    write(message);
    why.remove();
  } catch (error) {
    complain(error.message);
    why.disabled = false;
    why.textContent = "Why?";
  }
}

async function explainFew(found) {
  const few = found.filter((message) => !message.error && message.text.trim());
  if (few.length > EXPLAINED) return;
  for (const message of few) {
    if (message.text.length > LONG || !message.parts?.row.isConnected) continue;
    if (!message.explanation && !message.parts.why.disabled) await explain(message);
  }
}

/** What teaches the right label: a button for each of two, a list of more. */
function teachingOf(message) {
  const group = make("span", { className: "teach", role: "group", ariaLabel: "Correct this answer" });
  const told = make("span", { role: "status" });
  async function teach(label) {
    for (const control of group.querySelectorAll("button, select")) control.disabled = true;
    try {
      await post("v1/feedback", { text: message.text, label });
      message.taught = label;
      told.textContent = label === null ? "forgotten" : "kept";
    } catch (error) {
      told.textContent = "not kept";
      complain(error.message);
    }
    for (const control of group.querySelectorAll("button, select")) control.disabled = false;
    for (const button of group.querySelectorAll("button")) {
      button.ariaPressed = String(button.value === message.taught);
    }
  }
  group.append(told, "It is");
  if (classifier.labels.length > 2) {
    const labels = classifier.labels.map((label) => new Option(printable(label), label));
    const select = make("select", { ariaLabel: "Right label" }, new Option("…", ""), ...labels);
    select.onchange = () => teach(select.value || null);
    group.append(select);
    return group;
  }
  const positive = classifier.positive_label;
  for (const label of [positive, ...classifier.labels.filter((each) => each !== positive)]) {
    const button = make("button", { type: "button", value: label, ariaPressed: "false" });
    button.textContent = printable(label);
    button.onclick = async () => {
      await teach(message.taught === label ? null : label); // once more takes it back
      button.focus();
    };
    group.append(button);
  }
  return group;
}

// --- all rows -------------------------------------------------------------------------------------

let planned = null;

/** Shows what came, a few times a second. */
function soon(milliseconds = 150) {
  planned ??= setTimeout(show, milliseconds);
}

function wanted() {
  const filter = byId("filter").value;
  const search = byId("search").value.trim().toLowerCase();
  const passes = (message) =>
    (filter === "all" ||
      (filter === "changed" && changed(message)) ||
      (filter === "taught" && message.taught) ||
      (!message.error && filter === `label ${labelOf(message)}`)) &&
    (!search || (message.text ?? "").toLowerCase().includes(search));
  const found = messages.filter(passes);
  const two = classifier?.threshold !== null;
  const middle = threshold ?? Math.min(classifier?.threshold ?? 1, 1);
  const keys = {
    high: (message) => -probability(message),
    low: probability,
    unsure: (message) => (two ? Math.abs(probability(message) - middle) : probability(message)),
  };
  const key = keys[byId("sort").value];
  if (!key) return found;
  const ranked = found.map((message) => [message.error ? Infinity : key(message), message]);
  return ranked.sort((a, b) => a[0] - b[0] || a[1].number - b[1].number).map(([, each]) => each);
}

function show() {
  clearTimeout(planned);
  planned = null;
  const list = byId("messages");
  const focused = document.activeElement;
  const found = wanted();
  let at = list.firstElementChild;
  for (const message of found.slice(0, limit)) {
    const row = rowOf(message);
    update(message);
    if (row === at) at = at.nextElementSibling;
    else list.insertBefore(row, at);
  }
  while (at) {
    const next = at.nextElementSibling;
    at.remove();
    at = next;
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus();
  byId("more").hidden = found.length <= limit;
  byId("more").textContent = `Show ${counted(Math.min(ROWS, found.length - limit))} more`;
  tell(found.length);
}

/** Says how many there are of what, and what the threshold changes. */
function tell(shown) {
  const counts = new Map(classifier?.labels.map((label) => [label, 0]));
  const turned = new Map(counts);
  let errors = 0;
  for (const message of messages) {
    if (message.error) {
      errors += 1;
      continue;
    }
    const label = labelOf(message);
    counts.set(label, (counts.get(label) ?? 0) + 1);
    if (label !== message.label) turned.set(label, turned.get(label) + 1);
  }
  const each = (found) =>
    [...found].filter(([, count]) => count).map(([label, count]) => `${counted(count)} ${printable(label)}`);
  const parts = [...each(counts), ...(errors ? [plural(errors, "error")] : [])].join(", ");
  const some = shown === messages.length ? "" : ` Shown: ${counted(shown)}.`;
  const state = asking ? "Classifying … " : "";
  byId("status").textContent =
    state + (messages.length ? `${plural(messages.length, "message")}: ${parts}.${some}` : "");
  const changes = [...turned.values()].reduce((sum, count) => sum + count, 0);
  byId("effect").textContent =
    threshold === null
      ? "The classifier's own. Move it to see what would change."
      : changes === 0
        ? "No answer changes."
        : `${plural(changes, "answer")} would change: ${[...turned]
            .filter(([, count]) => count)
            .map(([label, count]) => `${counted(count)} to ${printable(label)}`)
            .join(", ")}.`;
}

function setThreshold(value, typed = false) {
  threshold = value;
  const now = value ?? Math.min(classifier.threshold ?? 1, 1);
  byId("threshold").value = now;
  byId("threshold").setAttribute("aria-valuetext", now.toFixed(3));
  if (!typed) byId("exact").value = Number(now.toFixed(4));
  byId("reset").disabled = value === null;
  soon(16);
}

// --- what leaves -----------------------------------------------------------------------------------

function csv() {
  const cell = (value) => {
    const text = FORMULA.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = wanted()
    .filter((message) => !message.error)
    .map((message) => [
      labelOf(message),
      String(probability(message)),
      message.taught ?? "",
      message.text,
    ]);
  const lines = [["label", "probability", "corrected", "text"], ...rows];
  // The mark tells spreadsheets that it is UTF-8.
  return `\ufeff${lines.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

function download() {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  make("a", { href: url, download: "spamgpt.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// --- what people do ----------------------------------------------------------------------------------

byId("ask").onsubmit = (event) => {
  event.preventDefault();
  const pasted = byId("paste").value;
  const whole = document.querySelector("[name=reading]:checked").value === "whole";
  const texts = (whole ? [pasted] : pasted.split("\n")).filter((text) => text.trim());
  if (!texts.length) {
    byId("paste").focus();
    return;
  }
  const lines = texts.map((text) => JSON.stringify({ text }));
  ask("pasted.jsonl", new Blob([lines.join("\n")]), "text");
};
byId("paste").onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
};

function askFiles(files) {
  for (const file of files) ask(file.name, file, byId("column").value.trim() || "text");
}

byId("files").onchange = () => {
  askFiles(byId("files").files);
};
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
};
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  askFiles(event.dataTransfer.files);
};
byId("stop").onclick = () => asking?.abort();
byId("threshold").oninput = () => setThreshold(byId("threshold").valueAsNumber);
byId("exact").oninput = () => {
  if (byId("exact").value && byId("exact").checkValidity()) {
    setThreshold(byId("exact").valueAsNumber, true);
  }
};
byId("reset").onclick = () => {
  setThreshold(null);
  byId("threshold").focus();
};
for (const id of ["filter", "sort"]) byId(id).onchange = show;
byId("search").oninput = () => soon();
byId("more").onclick = () => {
  limit += ROWS;
  show();
};
byId("download").onclick = download;
byId("clear").onclick = () => {
  asking?.abort();
  messages = [];
  limit = ROWS;
  byId("results").hidden = byId("legend").hidden = true;
  byId("files").value = "";
  show();
  byId("paste").focus();
};

describe().catch((error) => complain(error.message));

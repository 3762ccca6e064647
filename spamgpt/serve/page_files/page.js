// The page: what people do on it, what it asks the server, and which answers it shows.

import { api, linesOf } from "./api.js";
import { changed, labelOf, probability, state } from "./answers.js";
import { explain, rowOf, update } from "./rows.js";
import { byId, complain, counted, make, plural, printable } from "./text.js";

const ROWS = 2000; // rows in the document, and how many more a click adds
const EXPLAINED = 8; // so few messages are explained unasked: it takes as long as dozens of answers
const LONG = 2000; // characters beyond which a message is explained only when asked

// What spreadsheets take for the beginning of a formula (OWASP, "CSV injection").
const FORMULA = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;

let messages = []; // one for each answer, as they came
let limit = ROWS;
let asking = null; // the AbortController of what is being asked
let waiting = []; // files to ask about

// --- asking -------------------------------------------------------------------------------------

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
      if (state.classifier && blob.size > state.classifier.max_body) {
        throw new Error(`It has more than ${counted(state.classifier.max_body)} bytes.`);
      }
      const query = new URLSearchParams({ name, column });
      const response = await api(`v1/classify/file?${query}`, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: blob,
        signal: asking.signal,
      });
      const answeredBy = response.headers.get("spamgpt-classifier");
      if (answeredBy !== state.classifier?.classifier) await describe();
      const before = messages.length;
      for await (const line of linesOf(response)) {
        const { label, probabilities, text, error } = JSON.parse(line);
        messages.push({ label, probabilities, text, error, number: messages.length });
        soon();
      }
      const found = messages.slice(before);
      if (found.every((message) => message.error)) {
        messages.length = before; // such as a table without that column: once is enough
        throw new Error(found[0]?.error.message ?? "There are no messages in it.");
      }
    } catch (error) {
      if (error.name === "AbortError") waiting = [];
      else complain(error.message.startsWith(name) ? error.message : `${name}: ${error.message}`);
    }
  }
  asking = null;
  byId("stop").hidden = true;
  byId("status").ariaBusy = byId("messages").ariaBusy = "false";
  show();
  await explainFew(messages.slice(first));
}

async function describe() {
  state.classifier = await (await api("v1/classifier")).json();
  const two = state.classifier.threshold !== null;
  byId("classifier").textContent = printable(state.classifier.classifier);
  const positive = printable(state.classifier.positive_label);
  byId("positive").textContent = positive;
  byId("question").textContent = two ? `Is it ${positive}?` : "Which label fits?";
  document.title = `${byId("question").textContent} spamgpt`;
  byId("threshold-box").hidden = !two;
  byId("teaching").hidden = !state.classifier.takes_corrections;
  for (const option of document.querySelectorAll(".two")) option.hidden = option.disabled = !two;
  byId("filter").replaceChildren(
    new Option("all", "all"),
    ...state.classifier.labels.map((label) => new Option(printable(label), `label ${label}`)),
    ...(two ? [new Option("changed", "changed")] : []),
    new Option("corrected", "taught"),
  );
  setThreshold(null);
}

async function explainFew(found) {
  const few = found.filter((message) => !message.error && message.text.trim());
  if (few.length > EXPLAINED) return;
  for (const message of few) {
    if (message.text.length > LONG || !message.parts?.row.isConnected) continue;
    if (!message.explanation && !message.parts.why.disabled) await explain(message);
  }
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
  const two = state.classifier?.threshold !== null;
  const middle = state.threshold ?? Math.min(state.classifier?.threshold ?? 1, 1);
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
  const counts = new Map(state.classifier?.labels.map((label) => [label, 0]));
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
  const doing = asking ? "Classifying … " : "";
  byId("status").textContent =
    doing + (messages.length ? `${plural(messages.length, "message")}: ${parts}.${some}` : "");
  const changes = [...turned.values()].reduce((sum, count) => sum + count, 0);
  byId("effect").textContent =
    state.threshold === null
      ? "The classifier's own. Move it to see what would change."
      : changes === 0
        ? "No answer changes."
        : `${plural(changes, "answer")} would change: ${[...turned]
            .filter(([, count]) => count)
            .map(([label, count]) => `${counted(count)} to ${printable(label)}`)
            .join(", ")}.`;
}

function setThreshold(value, typed = false) {
  state.threshold = value;
  const now = value ?? Math.min(state.classifier.threshold ?? 1, 1);
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

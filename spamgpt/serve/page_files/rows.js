// A row of the page: a message, its answer, what drove it, and the buttons that teach. What a message
// holds becomes text of the document and never markup.

import { post } from "./api.js";
import { changed, detected, labelOf, probability, state } from "./answers.js";
import { byId, complain, counted, make, percent, printable } from "./text.js";

const CUT = 480; // characters of a message that are shown at first

/** The element of a message, made when it is first shown; its parts stand in `message.parts`. */
export function rowOf(message) {
  if (message.parts) return message.parts.row;
  const parts = (message.parts = {
    label: make("b"),
    number: make("span", { className: "number" }),
    bar: make("i"),
    was: make("small"),
    text: make("blockquote"),
    acts: make("div", { className: "acts" }),
  });
  const verdict = make("div", { className: "verdict" }, parts.label, " ");
  if (!message.error) {
    verdict.append(parts.number, make("div", { className: "bar", ariaHidden: "true" }, parts.bar));
    verdict.append(parts.was);
    const of = detected() === null ? "" : ` ${printable(detected())}`;
    parts.number.textContent = percent(probability(message)) + of;
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
    if (state.classifier.takes_corrections) parts.acts.append(teachingOf(message));
  }
  parts.row = make("li", {}, verdict, make("div", {}, parts.text, parts.acts));
  write(message);
  update(message);
  return parts.row;
}

/** Brings the label of a row up to date. */
export function update(message) {
  const { parts } = message;
  const label = message.error ? "error" : labelOf(message);
  if (!parts || parts.shown === label) return;
  parts.shown = label;
  parts.label.textContent = printable(label);
  parts.was.textContent = changed(message) ? `was ${printable(message.label)}` : "";
  parts.row.className = message.error ? "error" : label === detected() ? "positive" : "";
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

/** Marks what drove the answer to a message. */
export async function explain(message) {
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
    for (const select of group.querySelectorAll("select")) select.value = message.taught ?? "";
  }
  group.append(told, "It is");
  if (state.classifier.labels.length > 2) {
    const labels = state.classifier.labels.map((label) => new Option(printable(label), label));
    const select = make("select", { ariaLabel: "Right label" }, new Option("…", ""), ...labels);
    select.onchange = async () => {
      await teach(select.value || null);
      select.focus();
    };
    group.append(select);
    return group;
  }
  const positive = state.classifier.positive_label;
  for (const label of [positive, ...state.classifier.labels.filter((each) => each !== positive)]) {
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

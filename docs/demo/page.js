// The filter on the front page: a text, its answer, and the words that drove it. What a text holds
// becomes text of the document and never markup.

const byId = (id) => document.getElementById(id);
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const demo = byId("demo");
const text = byId("demo-text");
let number = 0;
let asked = "";
let timer = 0;

worker.onmessage = ({ data }) => {
  if (data.problem) show({ problem: data.problem });
  else if (data.ready) keepForOffline();
  else if (data.number !== number) return;
  else if (data.parts) mark(data.parts);
  else show(data);
};
worker.onerror = () => show({ problem: "this browser cannot run it" });

function ask() {
  number += 1;
  asked = text.value;
  worker.postMessage({ number, text: asked });
}

function show({ problem, label, probability, threshold }) {
  demo.dataset.state = problem ? "problem" : label;
  byId("demo-label").textContent = problem ? "No answer" : label;
  byId("demo-number").textContent = problem ?? `${percent(probability)} spam`;
  byId("demo-bar").value = problem ? 0 : probability;
  byId("demo-note").textContent = problem ? "" : `threshold: ${percent(threshold)}`;
  byId("demo-marked").textContent = asked;
  demo.dataset.answered = number;
  if (!problem) demo.dataset.milliseconds ??= Math.round(performance.now());
}

function percent(value) {
  if (value > 0.999) return "> 99.9 %";
  if (value < 0.001) return "< 0.1 %";
  return `${(100 * value).toFixed(1)} %`;
}

/** Marks the words by what they added, those alone that added much. */
function mark(parts) {
  const strongest = Math.max(...parts.map((part) => Math.abs(part.weight)), 1e-9);
  byId("demo-marked").replaceChildren(
    ...parts.map(({ text, weight }) => {
      const share = Math.abs(weight) / strongest;
      const word = text.trimStart();
      if (share < 0.15 || !word) return text;
      const marked = document.createElement("mark");
      const spam = weight > 0 === (demo.dataset.state === "spam");
      marked.className = spam ? "for" : "against";
      marked.style.setProperty("--weight", share.toFixed(2));
      marked.title = `${spam ? "spoke for spam" : "spoke against spam"}: ${Math.abs(weight).toFixed(2)}`;
      marked.textContent = word;
      const around = document.createDocumentFragment();
      around.append(text.slice(0, text.length - word.length), marked);
      return around;
    }),
  );
  demo.dataset.explained = number;
}

function keepForOffline() {
  navigator.serviceWorker?.register(new URL("../offline.js", import.meta.url)).catch(() => {});
}

text.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, 150);
});
for (const example of document.querySelectorAll("#demo-examples button")) {
  example.addEventListener("click", () => {
    text.value = example.dataset.text ?? example.textContent;
    ask();
  });
}
ask();

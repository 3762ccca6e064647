// Loads the classifier and answers the page, beside it, so that the page never waits.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { Classifier } from "./classifier.js";
import { Tokenizer } from "./tokenizer.js";

const here = (name) => new URL(name, import.meta.url).href;
ort.env.wasm.wasmPaths = { wasm: here("ort-wasm-simd-threaded.wasm") };
// More threads want headers that a server of static files cannot be counted on to send.
ort.env.wasm.numThreads = 1;

async function load() {
  const [about, session] = await Promise.all([
    fetch(here("classifier.json")).then((response) => response.json()),
    // Fetched while the runtime is compiled. Its optimizations cost more than they save a few texts.
    fetch(here("classifier.onnx"))
      .then((response) => response.arrayBuffer())
      .then((graph) => ort.InferenceSession.create(graph, { graphOptimizationLevel: "disabled" })),
  ]);
  const tokenizer = new Tokenizer(about.tokens, about.end_of_text);
  const run = async (ids, mask, ...shape) => {
    const inputs = {
      input_ids: new ort.Tensor("int64", ids, shape),
      attention_mask: new ort.Tensor("int64", mask, shape),
    };
    return (await session.run(inputs, ["probabilities"])).probabilities.data;
  };
  return new Classifier(run, tokenizer, about);
}

const loading = load();
// One text after the other; what has been overtaken by a newer text is not explained.
let newest = 0;
let queue = loading.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ problem: String(error.message ?? error) }),
);

onmessage = ({ data: { number, text } }) => {
  newest = number;
  queue = queue.then(async () => {
    if (number !== newest) return;
    try {
      const classifier = await loading;
      postMessage({ number, ...(await classifier.predict(text)) });
      const parts = await classifier.explain(text, () => number !== newest);
      if (parts) postMessage({ number, parts });
    } catch (error) {
      postMessage({ number, problem: String(error.message ?? error) });
    }
  });
};

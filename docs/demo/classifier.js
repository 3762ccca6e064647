// The classifier: texts in, answers out, as spamgpt's predictor gives them. It knows no page.

// As in spamgpt/data/batches.py and spamgpt/classifier/explanation.py.
const MOST_WINDOWS = 4;
const MOST_PARTS = 64;
// Tokens that are computed together, padding counted.
const BATCH_TOKENS = 2048;

export class Classifier {
  /**
   * `run` takes token ids and mask, both BigInt64Array of (messages, tokens), and the two sizes, and
   * promises the probabilities, (messages, labels); `about` is what the build wrote beside the graph.
   */
  constructor(run, tokenizer, about) {
    this.run = run;
    this.tokenizer = tokenizer;
    this.about = about;
    this.column = about.labels.indexOf(about.positive_label);
  }

  /** The label of a text and the probability of the positive label. */
  async predict(text) {
    const [probability] = await this.#probabilities([text]);
    return { label: this.#label(probability), probability, threshold: this.about.threshold };
  }

  /**
   * What each word adds to the log-odds of the text's label, with the spaces before it: it is left
   * out and the rest is scored. Of long texts, runs of words are left out together. Where `overtaken`
   * says so, it gives up with null.
   */
  async explain(text, overtaken = () => false) {
    const words = Array.from(text.matchAll(/\s*\S+|\s+/gu), (found) => found[0]);
    const size = Math.ceil(words.length / MOST_PARTS) || 1;
    const parts = [];
    for (let first = 0; first < words.length; first += size) {
      parts.push(words.slice(first, first + size).join(""));
    }
    const without = parts.map((_, left) => parts.filter((_, place) => place !== left).join(""));
    const found = await this.#probabilities([text, ...without], overtaken);
    if (found === null) return null;
    const [whole, ...others] = found.map(logOdds);
    const sign = this.#label(1 / (1 + Math.exp(-whole))) === this.about.positive_label ? 1 : -1;
    return parts.map((part, place) => ({ text: part, weight: sign * (whole - others[place]) }));
  }

  #label(probability) {
    const { labels, positive_label, threshold } = this.about;
    return probability >= threshold ? positive_label : labels.find((label) => label !== positive_label);
  }

  /**
   * The probability of the positive label for each text: of a long one, the mean log-odds of its first
   * window and of the most suspicious one.
   */
  async #probabilities(texts, overtaken = () => false) {
    const windows = texts.map((text) => this.#windows(this.tokenizer.encode(text)));
    const found = await this.#score(windows.flat(), overtaken);
    return found && windows.map((own) => combined(found.splice(0, own.length)));
  }

  /** As few full windows as cover the text, equally far apart; of a very long one, MOST_WINDOWS. */
  #windows(ids) {
    const { context } = this.about;
    const count = Math.min(Math.ceil(ids.length / context), MOST_WINDOWS);
    const last = Math.max(0, ids.length - context);
    return Array.from({ length: count }, (_, number) => {
      const place = Math.floor((last * number) / Math.max(1, count - 1));
      return ids.slice(place, place + context);
    });
  }

  /** Batches of windows of similar length, padded on the right, where nothing reads the padding. */
  async #score(windows, overtaken) {
    const found = new Array(windows.length);
    const order = windows.map((_, index) => index).sort((a, b) => windows[b].length - windows[a].length);
    while (order.length) {
      // What has come in meanwhile is heard now.
      await new Promise((heard) => setTimeout(heard));
      if (overtaken()) return null;
      const width = windows[order[0]].length;
      const batch = order.splice(0, Math.max(1, Math.floor(BATCH_TOKENS / width)));
      const ids = new BigInt64Array(batch.length * width);
      const mask = new BigInt64Array(batch.length * width);
      batch.forEach((index, row) => {
        windows[index].forEach((id, place) => {
          ids[row * width + place] = BigInt(id);
          mask[row * width + place] = 1n;
        });
      });
      const rows = await this.run(ids, mask, batch.length, width);
      const labels = this.about.labels.length;
      batch.forEach((index, row) => (found[index] = rows[row * labels + this.column]));
    }
    return found;
  }
}

function combined(ofWindows) {
  if (ofWindows.length === 1) return ofWindows[0];
  const mean = (logOdds(ofWindows[0]) + logOdds(Math.max(...ofWindows))) / 2;
  return 1 / (1 + Math.exp(-mean));
}

function logOdds(probability) {
  const clipped = Math.min(Math.max(probability, 1e-9), 1 - 1e-9);
  return Math.log(clipped) - Math.log1p(-clipped);
}

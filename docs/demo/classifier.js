// The classifier: texts in, answers out, as spamgpt's predictor gives them. It knows no page.

// As in spamgpt/data/batches.py and spamgpt/classifier/explanation.py.
const MOST_WINDOWS = 64;
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

  /** The probability of the positive label for each text, that of its most suspicious window. */
  async #probabilities(texts, overtaken = () => false) {
    const windows = texts.map((text) => this.#windows(this.tokenizer.encode(text)));
    const found = await this.#score(windows.flat(), overtaken);
    return found && windows.map((own) => Math.max(...found.splice(0, own.length)));
  }

  /** Windows of at most the context, which overlap by half; of very many some are left out. */
  #windows(ids) {
    const { context } = this.about;
    const last = Math.max(0, ids.length - context);
    let places = [];
    for (let place = 0; place < last; place += context / 2) places.push(place);
    places.push(last);
    if (places.length > MOST_WINDOWS) {
      const step = (places.length - 1) / (MOST_WINDOWS - 1);
      places = Array.from({ length: MOST_WINDOWS }, (_, index) => places[Math.round(index * step)]);
    }
    return places.map((place) => ids.slice(place, place + context));
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

function logOdds(probability) {
  const clipped = Math.min(Math.max(probability, 1e-9), 1 - 1e-9);
  return Math.log(clipped) - Math.log1p(-clipped);
}

// GPT-2's byte-level BPE, as spamgpt/gpt2/tokenizer.py has it: the same ids for every text.

// How a text is cut into what is encoded on its own. \s is Unicode's White_Space, which JavaScript's
// own \s is not.
const PIECES =
  /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}/gu;

export class Tokenizer {
  /** `tokens` are the bytes of every token id, each byte written as the character of that number. */
  constructor(tokens, endOfText) {
    this.tokens = tokens;
    this.endOfText = endOfText;
    this.ids = new Map(tokens.map((token, id) => [token, id]));
    this.ids.delete("");
  }

  /** The token ids of a text, at least one: that of an empty text is the end of text. */
  encode(text) {
    const ids = [];
    for (const [piece] of text.matchAll(PIECES)) {
      for (const id of this.#encodePiece(piece)) ids.push(id); // not at once: a piece may be long
    }
    return ids.length ? ids : [this.endOfText];
  }

  /** Joins the pair whose token has the lowest id, wherever it stands, until no pair is a token. */
  #encodePiece(piece) {
    let parts = Array.from(new TextEncoder().encode(piece), (byte) => String.fromCharCode(byte));
    while (parts.length > 1) {
      let lowest = Infinity;
      for (let place = 1; place < parts.length; place += 1) {
        lowest = Math.min(lowest, this.ids.get(parts[place - 1] + parts[place]) ?? Infinity);
      }
      if (lowest === Infinity) break;
      const joined = this.tokens[lowest];
      const next = [];
      for (let place = 0; place < parts.length; place += 1) {
        const pair = place + 1 < parts.length && parts[place] + parts[place + 1] === joined;
        next.push(pair ? joined : parts[place]);
        place += pair;
      }
      parts = next;
    }
    return parts.map((part) => this.ids.get(part));
  }
}

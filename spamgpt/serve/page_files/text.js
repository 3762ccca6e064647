// How text, counts and probabilities are shown, whatever a message holds.

// What could reorder text or is unseen is spelled out, as printable.py does; lines and tabs stay.
const UNSAFE = new RegExp(
  "[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f" +
    "\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufeff\\uffa0" +
    "\\ufff0-\\ufffb\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]" +
    "|(?<![^\\0-\\x7f])[\\u200c\\u200d]|[\\u200c\\u200d](?![^\\0-\\x7f])",
  "gu",
);

/** The text with what could mislead spelled out, as in `\u202e`. */
export function printable(text) {
  return text.replace(UNSAFE, (found) => {
    const code = found.codePointAt(0).toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

export const counted = (number) => number.toLocaleString("en");
export const plural = (number, noun) => `${counted(number)} ${noun}${number === 1 ? "" : "s"}`;

export function percent(value) {
  if (value > 0.999 && value < 1) return "> 99.9 %";
  if (value < 0.001 && value > 0) return "< 0.1 %";
  return `${(100 * value).toFixed(1)} %`;
}

/** An element; attributes that are properties are set as such, and children are text or elements. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Shows a problem; an empty text takes it away. */
export function complain(text) {
  byId("problem").textContent = printable(text);
  byId("problem").hidden = !text;
}

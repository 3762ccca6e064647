// What an answer is: a line of the server's stream, under the threshold that the page shows.

/** `classifier` is what GET /v1/classifier says; `threshold` null is the classifier's own. */
export const state = { classifier: null, threshold: null };

/** The probability of the label to detect or, of more than two, of the label that was given. */
export const probability = (message) =>
  message.probabilities[detected() ?? message.label] ?? message.probabilities[message.label];

/** The label that the threshold is about; null where there are more than two. */
export const detected = () =>
  state.classifier.threshold === null ? null : state.classifier.positive_label;

/** The label of a message under the threshold. */
export function labelOf(message) {
  if (state.threshold === null || message.error) return message.label;
  const other = state.classifier.labels.find((label) => label !== detected());
  return probability(message) >= state.threshold ? detected() : other;
}

export const changed = (message) => !message.error && labelOf(message) !== message.label;

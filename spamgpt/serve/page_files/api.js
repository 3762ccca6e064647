// How this server is asked: with the token that it may want, and telling why it refuses.

import { byId, complain } from "./text.js";

const TOKEN = "spamgpt-token";

/** The response to a request; throws an Error with the reason for one that is refused. */
export async function api(path, options = {}) {
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

export const post = (path, value) =>
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

/** The lines of a response as they come. */
export async function* linesOf(response) {
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

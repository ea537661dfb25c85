// Requests to the backend, with the access token where one is kept.
let token = sessionStorage.getItem("ctgkit-token") ?? "";

export const accessToken = () => token;

export function keepToken(text) {
  token = text;
  if (text) sessionStorage.setItem("ctgkit-token", text);
}

// What the backend refuses is thrown as an Error with its status and its own words.
async function ask(path, parameters) {
  const query = new URLSearchParams(parameters).toString();
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(query ? `${path}?${query}` : path, { headers });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const words = typeof said.error === "string" ? said.error : `HTTP ${response.status}`;
  throw Object.assign(new Error(words.slice(0, 300)), { status: response.status });
}

export async function askJson(path, parameters = {}) {
  return (await ask(path, parameters)).json();
}

export async function askBytes(path, parameters = {}) {
  return (await ask(path, parameters)).arrayBuffer();
}

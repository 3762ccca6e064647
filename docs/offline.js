// Keeps the site, so that it can be read and the filter tried without a network. What there is a
// network for comes from there.

// Written by the build: self.KEPT = { version, files }.
importScripts("kept.js");

self.addEventListener("install", (event) => {
  const keep = async () => (await caches.open(`spamgpt-${self.KEPT.version}`)).addAll(self.KEPT.files);
  event.waitUntil(keep().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const clean = async () => {
    const others = (name) => name.startsWith("spamgpt-") && name !== `spamgpt-${self.KEPT.version}`;
    const names = (await caches.keys()).filter(others);
    await Promise.all(names.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(clean());
});

self.addEventListener("fetch", (event) => {
  const kept = (error) =>
    caches.match(event.request, { ignoreSearch: true }).then((found) => found ?? Promise.reject(error));
  event.respondWith(fetch(event.request).catch(kept));
});

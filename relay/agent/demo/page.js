// The demo page: a chat over wss with the unmodified SDK. It shows the connection's state, history on load, who is present, and what
// was recovered after a time offline. It keeps a bounded number of lines and sets text only as text.
/* global Centrifuge */

const LINES_MAX = 300;
const HISTORY = 50;

const element = (id) => document.getElementById(id);
const [stateLine, offline, who, nameInput, channelInput] = ["state", "offline", "who", "name", "channel"].map(element);
const [problem, messages, compose, text, send] = ["problem", "messages", "compose", "text", "send"].map(element);
const [present, count] = ["present", "count"].map(element);

const settings = await (await fetch("settings.json")).json();
const asked = new URLSearchParams(location.search);
nameInput.value = asked.get("name") || sessionStorage.getItem("name") || `guest-${Math.random().toString(36).slice(2, 6)}`;
channelInput.value = asked.get("channel") || sessionStorage.getItem("channel") || settings.channel;

/** What is joined now: a client, its subscription, and who is there by client id. */
let joined = null;

function join(name, channel) {
  leave();
  sessionStorage.setItem("name", name);
  sessionStorage.setItem("channel", channel);
  document.title = `${name} in ${channel} - Headland demo`;
  messages.replaceChildren();
  const client = new Centrifuge(settings.url, { getToken: () => token(name) });
  const room = client.newSubscription(channel);
  joined = { client, room, people: new Map(), recovering: false };
  watchConnection(joined);
  watchRoom(joined);
  room.subscribe();
  client.connect();
}

function leave() {
  if (joined === null) return;
  joined.room.removeAllListeners();
  joined.client.removeAllListeners();
  joined.client.disconnect();
  joined = null;
  showPresent(new Map());
}

async function token(user) {
  const answer = await fetch("token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user }),
  });
  if (!answer.ok) throw new Error(`no token for this name: ${await answer.text()}`);
  return (await answer.json()).token;
}

function watchConnection({ client }) {
  client.on("state", ({ newState }) => showState(newState));
  client.on("connected", () => tell(""));
  client.on("error", ({ error }) => {
    if (error.message === "transport closed") tellUnreached();
    else tell(error.message);
  });
  showState(client.state);
}

function watchRoom(now) {
  const { room, people } = now;
  room.on("subscribed", async ({ wasRecovering, recovered }) => {
    enable(true);
    if (wasRecovering && recovered) {
      // What was missed is delivered before anything else runs.
      now.recovering = true;
      queueMicrotask(() => { now.recovering = false; });
    } else {
      if (wasRecovering) note("too much was missed: history is loaded anew");
      await loadHistory(room);
    }
    await loadPresence(now);
  });
  room.on("subscribing", () => enable(false));
  room.on("unsubscribed", ({ reason }) => {
    enable(false);
    tell(`not subscribed to ${room.channel}: ${reason}`);
  });
  room.on("error", ({ error }) => tell(error.message));
  room.on("publication", (publication) => show(publication, now.recovering));
  room.on("join", ({ info }) => {
    const known = people.has(info.client);
    people.set(info.client, info);
    if (!known) note(`${info.user} joined`);
    showPresent(people);
  });
  room.on("leave", ({ info }) => {
    if (people.delete(info.client)) note(`${info.user} left`);
    showPresent(people);
  });
}

async function loadHistory(room) {
  try {
    const { publications } = await room.history({ limit: HISTORY, reverse: true });
    publications.reverse().forEach((publication) => show(publication, false));
  } catch (error) {
    tell(`history: ${error.message}`);
  }
}

async function loadPresence({ room, people }) {
  try {
    const { clients } = await room.presence();
    people.clear();
    Object.values(clients).forEach((info) => people.set(info.client, info));
    showPresent(people);
  } catch (error) {
    tell(`presence: ${error.message}`);
  }
}

/** Shows a message once, in the place that its offset gives it. */
function show({ data, info, offset }, recovered) {
  const lines = [...messages.children];
  if (lines.some((line) => line.dataset.offset === String(offset))) return;
  const line = document.createElement("li");
  line.dataset.offset = offset;
  line.classList.toggle("recovered", recovered);
  const time = document.createElement("time");
  const at = new Date(typeof data?.at === "number" ? data.at : Number.NaN);
  if (!Number.isNaN(at.getTime())) {
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleTimeString();
  }
  const by = document.createElement("span");
  by.className = "by";
  by.textContent = info?.user || "server";
  const said = document.createElement("span");
  said.className = "text";
  said.textContent = typeof data?.text === "string" ? data.text : JSON.stringify(data);
  line.append(time, by, said);
  const later = lines.find((other) => Number(other.dataset.offset) > offset);
  add(line, later ?? null);
}

function note(said) {
  const line = document.createElement("li");
  line.className = "note";
  line.textContent = said;
  add(line, null);
}

function add(line, before) {
  const following = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  messages.insertBefore(line, before);
  while (messages.children.length > LINES_MAX) messages.firstElementChild.remove();
  if (following) messages.scrollTop = messages.scrollHeight;
}

function showPresent(people) {
  const tabs = new Map();
  for (const { user } of people.values()) tabs.set(user, (tabs.get(user) ?? 0) + 1);
  const lines = [...tabs].sort(([one], [other]) => one.localeCompare(other)).map(([user, number]) => {
    const line = document.createElement("li");
    line.dataset.user = user;
    line.textContent = number > 1 ? `${user} (${number} tabs)` : user;
    return line;
  });
  present.replaceChildren(...lines);
  count.textContent = tabs.size > 0 ? String(tabs.size) : "";
}

function showState(state) {
  stateLine.dataset.state = state;
  stateLine.textContent = state;
  const off = state === "disconnected";
  offline.disabled = false;
  offline.setAttribute("aria-pressed", String(off));
  offline.textContent = off ? "Go online" : "Go offline";
}

function tell(what) {
  problem.textContent = what;
  problem.hidden = what === "";
}

/** A browser does not say whether it was the certificate. */
function tellUnreached() {
  tell(`${settings.url} cannot be reached. If the browser does not trust the development certificate, accept it once at `);
  const link = document.createElement("a");
  link.href = new URL("/", settings.url.replace(/^ws/, "http")).href;
  link.textContent = link.href;
  link.target = "_blank";
  link.rel = "noopener";
  problem.append(link);
}

function enable(on) {
  text.disabled = !on;
  send.disabled = !on;
}

offline.addEventListener("click", () => {
  if (joined === null) return;
  if (joined.client.state === "disconnected") joined.client.connect();
  else joined.client.disconnect();
});

who.addEventListener("submit", (event) => {
  event.preventDefault();
  join(nameInput.value.trim(), channelInput.value.trim());
});

compose.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (joined === null || said === "") return;
  text.value = "";
  try {
    await joined.room.publish({ text: said, at: Date.now() });
    text.focus();
  } catch (error) {
    tell(`not sent: ${error.message}`);
    text.value = said;
  }
});

element("another").href = `./?channel=${encodeURIComponent(channelInput.value)}`;
join(nameInput.value, channelInput.value);

// The page works without this script. It answers keys, saves a reload after each answer, and says what searches settled.
"use strict";

const status = document.getElementById("status");
const undo = document.getElementById("undo");
const faces = () => [...document.querySelectorAll(".face")];
let current = null;
let busy = false;

function say(text, refused = false) {
  status.textContent = "";
  status.classList.toggle("refused", refused);
  // a screen reader speaks when the text changes, not when the page comes with it
  setTimeout(() => { status.textContent = text; }, 30);
}

function go(face, scroll = true) {
  current = face ?? null;
  face?.focus({ preventScroll: !scroll });
  if (scroll) face?.scrollIntoView({ block: "nearest" });
}

function near(step) {
  const all = faces();
  const place = all.indexOf(current);
  return all[place < 0 ? 0 : Math.min(all.length - 1, Math.max(0, place + step))];
}

function remove(ids) {
  const all = faces();
  const gone = all.filter((face) => ids.includes(face.dataset.face));
  if (gone.length === 0) return;
  const had = gone.includes(current);
  const place = all.indexOf(current);
  for (const face of gone) face.closest("li").remove();
  for (const id of ids) document.querySelectorAll(`.also [value="${id}"]`).forEach((box) => box.closest(".also").remove());
  const left = all.filter((face) => !gone.includes(face));
  if (left.length === 0) { location.reload(); return; }
  if (had) go(left.find((face) => all.indexOf(face) > place) ?? left[left.length - 1]);
}

// what the page says when it has been loaded again; a search may end meanwhile, so its number is kept, too
function keep(message, face) {
  sessionStorage.setItem("said", message);
  sessionStorage.setItem("at", face);
  sessionStorage.setItem("number", document.body.dataset.number);
}

async function send(form, button) {
  if (busy) return;
  busy = true;
  form.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(new FormData(form, button ?? undefined)),
    });
    const told = await answer.json();
    if ((form.action.endsWith("/undo") || form.closest(".changes")) && answer.ok) {
      keep(told.message, told.faces[0] ?? "");
      const into = form.querySelector("[name=into]")?.value;
      if (into) location.assign(`/person/${into}`);
      else location.reload();
      return;
    }
    // faces of a group that were left out of the answer get places of their own
    if (answer.ok && form.querySelector(".group input:not(:checked)")) {
      keep(told.message, "");
      location.reload();
      return;
    }
    say(told.message, !answer.ok);
    if (undo && "can_undo" in told) undo.disabled = !told.can_undo;
    remove(told.faces);
    const taken = form.closest(".wall > li");
    if (taken && answer.ok) {
      const next = taken.nextElementSibling ?? taken.previousElementSibling;
      taken.remove();
      next?.querySelector("a").focus();
    }
  } catch {
    say("The page gets no answer. Is seedtool faces review --web still running?", true);
  } finally {
    busy = false;
    form.removeAttribute("aria-busy");
  }
}

function show(address, title) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", title);
  const picture = new Image();
  picture.src = address;
  picture.alt = `${title}, with a frame around the face`;
  const close = document.createElement("button");
  close.textContent = "Close";
  close.onclick = () => dialog.close();
  dialog.append(picture, close);
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  event.preventDefault();
  send(event.target, event.submitter);
});

// the key is of use with the script only
document.querySelectorAll(".all").forEach((button) => { button.hidden = false; });

function mark(face) {
  const boxes = [...(face?.querySelectorAll(".group input") ?? [])];
  const all = boxes.every((box) => box.checked);
  boxes.forEach((box) => { box.checked = !all; });
  if (boxes.length) say(all ? "No other face is marked." : "All faces of the group are marked.");
}

document.addEventListener("focusin", (event) => {
  const face = event.target.closest(".face");
  if (face) current = face;
});

document.addEventListener("click", (event) => {
  if (event.target.closest(".all")) mark(event.target.closest(".face"));
  const link = event.target.closest(".cut, .whole");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(link.href, link.closest(".face")?.querySelector("h2 bdi").textContent ?? link.querySelector("img").alt);
});

// a photo that cannot be read: its place says why
document.addEventListener("error", async (event) => {
  if (event.target.tagName !== "IMG") return;
  const image = event.target;
  const why = document.createElement("span");
  why.className = "missing";
  why.textContent = await fetch(image.src).then((answer) => answer.text(), () => "The picture cannot be loaded.");
  image.replaceWith(why);
}, true);

// the pictures of a wall, which the arrows go through
function pictures() {
  return [...document.querySelectorAll(".wall > li")];
}

function beside(step) {
  const all = pictures();
  const place = all.indexOf(document.activeElement.closest(".wall > li"));
  all[place < 0 ? 0 : Math.min(all.length - 1, Math.max(0, place + step))]?.querySelector("a").focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (typing && event.key === "Escape") { go(event.target.closest(".face")); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const wall = document.activeElement.closest(".wall > li");
  const face = current?.isConnected ? current : faces()[0];
  const key = event.key.toLowerCase();
  const step = { arrowdown: 1, arrowright: 1, arrowup: -1, arrowleft: -1 }[key];
  if (key === "u") { if (undo && !undo.disabled) send(undo.form, undo); }
  else if (key === ".") { document.querySelector("a[rel=next]")?.click(); }
  else if (step && pictures().length) beside(step);
  else if (step && faces().length) go(near(step < 0 || current?.isConnected ? step : 0));
  else if (wall && key === "t") { wall.querySelector("form button")?.click(); }
  else if (wall && key === "p") { wall.querySelector(".cut")?.click(); }
  else if (!face) return;
  else if (key === "n") { face.querySelector("[name=name]").focus(); }
  else if (key === "s") send(face, face.querySelector("[value=skip]"));
  else if (key === "p") show(face.querySelector(".cut").href, face.querySelector("h2 bdi").textContent);
  else if (key === "a") mark(face);
  else if (/^[1-9]$/.test(key)) {
    const chosen = face.querySelector(`[data-key="${key}"]`);
    if (!chosen) { say(`This face has no suggestion ${key}.`, true); return; }
    if (chosen.tagName === "BUTTON") send(face, chosen);
    else { chosen.querySelector("input").click(); go(face); }
  } else return;
  event.preventDefault();
});

async function ask() {
  if (document.hidden || busy || !document.querySelector(".faces")) return;
  const showing = faces().map((face) => face.dataset.face).join(",");
  try {
    const answer = await fetch(`/news?since=${document.body.dataset.number}&showing=${showing}`);
    if (!answer.ok || busy) return;
    const told = await answer.json();
    document.body.dataset.number = told.number;
    const elsewhere = told.gone.length === 1 ? "1 face is settled." : `${told.gone.length} faces are settled.`;
    if (told.messages.length) say(told.messages.join(" "));
    else if (told.gone.length) say(`${elsewhere} Somebody else decided, or a search did.`);
    remove(told.gone);
  } catch { /* the next answer says that nobody is there */ }
}

const said = sessionStorage.getItem("said");
if (said) {
  const at = document.getElementById(`face-${sessionStorage.getItem("at")}`);
  document.body.dataset.number = sessionStorage.getItem("number");
  for (const name of ["said", "at", "number"]) sessionStorage.removeItem(name);
  say(said);
  go(at ?? faces()[0]);
} else {
  if (status.textContent) say(status.textContent);
  go(faces()[0], false);
}
const asking = setInterval(ask, 1500);
document.body.dataset.ready = "";

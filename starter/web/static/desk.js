/* Desks: parts that follow the ledger, several rows at once, a panel beside the table. */
(function () {
  "use strict";

  var IDLE = 20 * 60 * 1000; /* without a touch for so long, a page stops asking */
  var source = null, waiting = null, touched = Date.now();

  function live() { return document.querySelector("[data-live]"); }

  function shown(selector, on) {
    document.querySelectorAll(selector).forEach(function (part) { part.hidden = !on; });
  }

  function changed(number) {
    var part = live();
    if (!part || Number(number) <= Number(part.dataset.live)) { return; }
    if ("liveNote" in part.dataset) { part.hidden = false; return; }
    if (waiting) { return; }
    waiting = setTimeout(function () {
      waiting = null;
      var now = live();
      if (now && window.htmx) { window.htmx.trigger(now, "changed"); }
    }, 500);
  }

  function stop() {
    if (source) { source.close(); source = null; }
    shown("[data-live-word]", false);
  }

  function start() {
    if (source || document.hidden || !live() || !window.EventSource) { return; }
    source = new EventSource("/events");
    source.addEventListener("open", function () { shown("[data-live-word]", true); shown("[data-live-paused]", false); });
    source.addEventListener("error", function () { shown("[data-live-word]", false); });
    source.addEventListener("changed", function (event) { changed(event.data); });
  }

  document.addEventListener("visibilitychange", function () { if (document.hidden) { stop(); } else { touched = Date.now(); start(); } });
  ["pointerdown", "keydown", "scroll"].forEach(function (name) {
    document.addEventListener(name, function () { touched = Date.now(); start(); }, { passive: true });
  });
  setInterval(function () {
    if (source && Date.now() - touched > IDLE) { stop(); shown("[data-live-paused]", true); }
  }, 30000);
  document.addEventListener("htmx:afterSettle", function () { shown("[data-live-word]", !!source && source.readyState === 1); });

  function picked() {
    var all = document.querySelectorAll('#bulk [name="id"]:checked').length;
    document.querySelectorAll("[data-picked]").forEach(function (part) { part.textContent = all ? " " + all : ""; });
  }

  document.addEventListener("change", function (event) {
    if (event.target.matches("[data-all]")) {
      document.querySelectorAll('#bulk [name="id"]').forEach(function (box) { box.checked = event.target.checked; });
    }
    picked();
  });

  var opener = null;
  document.addEventListener("click", function (event) {
    if (event.target.closest(".peek-link")) { opener = event.target.closest(".peek-link"); }
    if (event.target.closest("[data-close-peek]")) { closePeek(); }
  });
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") { closePeek(); } });
  function closePeek() {
    var panel = document.getElementById("peek");
    if (!panel || !panel.firstElementChild) { return; }
    panel.textContent = "";
    if (opener) { opener.focus(); }
  }

  document.querySelectorAll(".places [aria-current], .tabs [aria-current]").forEach(function (place) {
    place.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });
  });

  picked();
  start();
})();

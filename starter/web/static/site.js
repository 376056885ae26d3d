/* What pages do more with script. Without it every link and form works as it stands. */
(function () {
  "use strict";

  function each(selector, act, root) {
    (root || document).querySelectorAll(selector).forEach(act);
  }

  function livened(root) {
    each("[data-script]", function (part) { part.hidden = false; }, root);
    each(".refusal", function (part) { part.scrollIntoView({ block: "nearest" }); }, root);
  }

  function sheet() { return document.getElementById("decide"); }

  function open(verdict) {
    var found = sheet();
    var choice = found && found.querySelector('[name="verdict"][value="' + verdict + '"]');
    if (!choice) { return false; }
    choice.checked = true;
    found.classList.add("open");
    found.focus({ preventScroll: true });
    return true;
  }

  function close() {
    var found = sheet();
    if (!found) { return; }
    found.classList.remove("open");
    if (location.hash === "#decide") { history.replaceState(null, "", location.pathname + location.search); }
    var first = document.querySelector(".bar .primary");
    if (first) { first.focus(); }
  }

  document.addEventListener("click", function (event) {
    if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.button) { return; }
    var part = event.target.closest("[data-verdict], [data-close], [data-phrase]");
    each("details.menu[open]", function (menu) {
      if (!menu.contains(event.target)) { menu.open = false; }
    });
    if (!part) { return; }
    if (part.dataset.verdict) {
      if (open(part.dataset.verdict)) { event.preventDefault(); each("details.menu[open]", function (m) { m.open = false; }); }
    } else if (part.dataset.phrase) {
      var field = part.closest("form").querySelector("textarea");
      field.value = field.value ? field.value.replace(/\s+$/, "") + "\n" + part.dataset.phrase : part.dataset.phrase;
      field.focus();
    } else {
      event.preventDefault();
      close();
    }
  });

  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") { return; }
    var menu = document.querySelector("details.menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (sheet() && sheet().classList.contains("open")) {
      close();
    }
  });

  /* An answer that did not come: the form stays as it is, and says so. */
  function unanswered(event) {
    if (event.detail.elt.matches("[data-look]")) {
      if (event.type === "htmx:sendAbort") { return; }
      each("[data-unsaved]", function (part) { part.hidden = false; });
      return;
    }
    var form = event.detail.elt.closest("form");
    each("[data-retry]", function (part) { part.hidden = false; part.scrollIntoView({ block: "nearest" }); }, form || document);
  }
  ["htmx:sendError", "htmx:timeout", "htmx:sendAbort"].forEach(function (name) {
    document.addEventListener(name, unanswered);
  });
  document.addEventListener("htmx:responseError", function (event) {
    if (event.detail.xhr.status >= 500) { unanswered(event); }
  });
  document.addEventListener("htmx:beforeRequest", function (event) {
    each("[data-retry]", function (part) { part.hidden = true; }, event.detail.elt);
    var notice = document.getElementById("notice");
    if (notice) { notice.textContent = ""; }
  });

  /* Signed in anew in another window: the forms of this page take the new token. */
  document.addEventListener("htmx:beforeOnLoad", function (event) {
    var token = event.detail.xhr.getResponseHeader("X-CSRF-Token");
    if (token) { each('input[name="csrf"]', function (field) { field.value = token; }); }
  });
  document.addEventListener("htmx:afterSwap", function (event) { livened(event.detail.target); livened(document); });

  livened(document);
})();

/* --- writing: marks under the text, one-click mending, and what the server may not keep --- */
(function () {
  "use strict";

  var form = document.getElementById("write");
  if (!form) { return; }
  var KEY = "typed:" + form.dataset.remember;
  var APART = ["csrf", "key", "digest", "version", "attachment", "file"];

  function field(name) {
    var found = form.elements[name];
    return found && found.setRangeText ? found : null;
  }

  /* A mark stands only while the text is the one that was checked. */
  function paint() {
    document.querySelectorAll("[data-under]").forEach(function (under) {
      var typed = field(under.dataset.under);
      var marks = document.querySelector('[data-marks="' + under.dataset.under + '"]');
      if (marks && marks.content.textContent === typed.value) {
        under.replaceChildren(marks.content.cloneNode(true), "\n");
      } else {
        under.replaceChildren();
      }
      follow(under, typed);
    });
  }

  function follow(under, typed) {
    under.scrollTop = typed.scrollTop;
    under.scrollLeft = typed.scrollLeft;
  }

  /* The server counts characters, the browser halves of some of them. */
  function place(text, characters) {
    return Array.from(text).slice(0, characters).join("").length;
  }

  function mend(button) {
    var typed = field(button.dataset.mend);
    if (!typed) { return false; }
    var start = place(typed.value, Number(button.dataset.start));
    var end = place(typed.value, Number(button.dataset.end));
    if (typed.value.slice(start, end) !== button.dataset.is) { return false; }
    typed.setRangeText(button.dataset.with, start, end, "end");
    typed.dispatchEvent(new Event("input", { bubbles: true }));
    button.disabled = true;
    typed.focus();
    return true;
  }

  function remember() {
    var kept = Array.from(new FormData(form)).filter(function (one) {
      return typeof one[1] === "string" && APART.indexOf(one[0]) < 0;
    });
    try { sessionStorage.setItem(KEY, JSON.stringify(kept)); } catch (error) { /* full or forbidden */ }
  }

  function forget() {
    try { sessionStorage.removeItem(KEY); } catch (error) { /* forbidden */ }
  }

  function recall() {
    var kept = null;
    try { kept = JSON.parse(sessionStorage.getItem(KEY)); } catch (error) { return; }
    if (!kept) { return; }
    Array.from(form.elements).forEach(function (one) {
      if (!one.name || APART.indexOf(one.name) >= 0 || one.type === "submit") { return; }
      var values = kept.filter(function (pair) { return pair[0] === one.name; }).map(function (pair) { return pair[1]; });
      if (one.type === "checkbox" || one.type === "radio") {
        one.checked = values.indexOf(one.value) >= 0;
      } else if (values.length && one.type !== "file") {
        one.value = values[0];
      }
    });
    field("body").dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("input", function (event) {
    if (event.target.dataset.marked) { paint(); }
  });
  document.addEventListener("scroll", function (event) {
    if (event.target.dataset && event.target.dataset.marked) {
      follow(document.querySelector('[data-under="' + event.target.dataset.marked + '"]'), event.target);
    }
  }, true);
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-mend]");
    if (button && mend(button)) { event.preventDefault(); }
  });
  document.addEventListener("htmx:afterSettle", function () {
    var look = document.getElementById("look");
    paint();
    document.querySelector("[data-kept]").replaceChildren(look.querySelector(".kept").cloneNode(true));
    if (look.dataset.saved === "no") { remember(); }
    if (look.dataset.saved === "yes") { forget(); }
  });
  form.addEventListener("submit", forget);

  if (document.querySelector(".refusal")) { remember(); } else if (form.dataset.remember === "write") { recall(); }
  paint();
})();

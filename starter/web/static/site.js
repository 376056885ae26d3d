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

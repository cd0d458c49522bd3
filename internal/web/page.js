"use strict";
// Shows the newest status every 30 seconds, without losing what is open or typed.
// Without this script the page reloads itself by a meta element.
(() => {
  const notice = document.getElementById("unreachable");

  const keyOf = (element) => element?.closest("details")?.dataset.key;

  async function refresh() {
    const shown = document.getElementById("live");
    const selecting = getSelection().type === "Range";
    if (!shown || document.hidden || selecting) return; // an explanation is not repeated
    try {
      const answer = await fetch(location.pathname, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = document.importNode(page.getElementById("live"), true);
      const open = new Set([...shown.querySelectorAll("details[open]")].map((d) => d.dataset.key));
      const focused = shown.contains(document.activeElement) ? keyOf(document.activeElement) : undefined;
      for (const d of next.querySelectorAll("details")) {
        d.open = open.has(d.dataset.key);
      }
      shown.replaceWith(next);
      for (const d of next.querySelectorAll("details")) {
        if (focused !== undefined && d.dataset.key === focused) d.querySelector("summary").focus();
      }
      notice.hidden = true;
    } catch {
      notice.hidden = false;
    }
  }

  setInterval(refresh, 30000);
  document.addEventListener("visibilitychange", refresh);
})();

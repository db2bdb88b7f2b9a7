// Runs before the page is painted, so that the remembered choice of light or dark is there from the first moment.
(() => {
  try {
    const chosen = localStorage.getItem("openai_meter.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage is switched off: the system's choice holds.
  }
})();

// Light, dark, or as the system has it; remembered on this machine.

const ORDER = ["system", "light", "dark"];
const system = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    const kept = localStorage.getItem("theme");
    return ORDER.includes(kept) ? kept : "system";
  } catch {
    return "system"; // a browser that stores nothing
  }
}

export function isDark() {
  const now = document.documentElement.dataset.theme;
  return now === "dark" || (now !== "light" && system.matches);
}

// `changed` is called whenever what isDark() says may have changed.
export function themed(button, changed) {
  function apply(theme) {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    changed();
  }
  button.addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length];
    try {
      localStorage.setItem("theme", next);
    } catch {
      // it then holds until the page is left
    }
    apply(next);
  });
  system.addEventListener("change", changed);
  apply(chosen());
}

// The button that switches between the system's colours, light and dark; remembered per browser.

const KEY = "scoreboard-theme";
const NEXT = { system: "light", light: "dark", dark: "system" };
const LABEL = { system: "System", light: "Light", dark: "Dark" };

function read() {
  try {
    const stored = localStorage.getItem(KEY);
    return stored in NEXT ? stored : "system";
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
    return "system";
  }
}

function show(button, theme) {
  document.documentElement.dataset.theme = theme;
  button.querySelector(".label").textContent = LABEL[theme];
  button.setAttribute("aria-label", `Colours: ${LABEL[theme]}. Switch to ${LABEL[NEXT[theme]]}`);
}

export function setUpTheme(button) {
  let theme = read();
  show(button, theme);
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    show(button, theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      return;
    }
  });
}

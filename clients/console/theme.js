// Before the first paint: the colours that this browser chose last time, otherwise those of the system.
try {
  const chosen = localStorage.getItem("resight-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // a browser that keeps nothing shows the system's colours
}

// Keys of a single letter, which somebody who speaks to the computer, or whose hands tremble, can switch off.
const events = new EventTarget();
let letters = true;
try {
  letters = localStorage.getItem("resight-letters") !== "off";
} catch {
  // a browser that keeps nothing has them on each time
}

/** Whether keys of a single letter do something. */
export const lettersOn = () => letters;

/** Switches them; whoever listens is told. The choice is remembered by the frame. */
export function switchLetters(on) {
  letters = on;
  events.dispatchEvent(new Event("letters"));
}

/** Calls a listener after each change; returns what ends that. */
export function onLetters(listener) {
  events.addEventListener("letters", listener);
  return () => events.removeEventListener("letters", listener);
}

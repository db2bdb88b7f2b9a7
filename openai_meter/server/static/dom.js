// Elements are made of names, attributes and text. Text is always a text node: nothing becomes markup.

/** One element by its id. */
export const at = (id) => document.getElementById(id);

/** A new element; children are elements or text, null is passed over. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets the text only if it is another one: screen readers speak up at every change. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Calls a function at most once in so many milliseconds, and once more after the last request. */
export function seldom(milliseconds, work) {
  let last = -Infinity;
  let timer = null;
  return () => {
    if (timer !== null) return;
    const wait = Math.max(0, last + milliseconds - performance.now());
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      work();
    }, wait);
  };
}

/**
 * Makes an element. Text only ever becomes text nodes and attribute values, so what users type is never read as HTML.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | boolean | ((event: Event) => void)>} [attributes] a function is a listener; `true` an empty attribute; `false` none
 * @param {(Node | string | null)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * The element of the page with this id.
 *
 * @template {typeof HTMLElement} T
 * @param {string} id
 * @param {T} [type]
 * @returns {InstanceType<T>}
 */
export function byId(id, type = /** @type {T} */ (HTMLElement)) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${id}`);
  return /** @type {InstanceType<T>} */ (element);
}

/**
 * Sets text without touching the document when it is the same: screen readers announce every change.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** What the server says to this page. @param {string} name */
export function pageSetting(name) {
  return document.querySelector(`meta[name="hopla:${name}"]`)?.getAttribute('content') ?? '';
}

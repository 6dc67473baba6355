// The last gate before a model's text becomes part of the page. Model output is untrusted: it may quote a hostile page.
//
// markdown.js already turns HTML in the text into plain text. This gate does not rely on it: only the tags and
// attributes below pass. There are no images, frames, forms, styles, ids, or links to other than web and mail addresses.
import "../vendor/dompurify.js";

const words = (text) => text.trim().split(/\s+/);

const TAGS = words(`
  p br hr h1 h2 h3 h4 h5 h6 strong em del code pre ul ol li blockquote table thead tbody tr th td a sub sup kbd span
  math mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd mstyle
  mpadded mphantom menclose mmultiscripts mprescripts semantics
`);

const ATTRIBUTES = words(`
  href title class start align
  display mathvariant stretchy fence separator lspace rspace minsize maxsize width height depth voffset columnalign
  columnspacing rowspacing columnlines rowlines displaystyle scriptlevel linethickness accent accentunder movablelimits
  notation mathcolor mathbackground form symmetric largeop xmlns
`);

const purifier = globalThis.DOMPurify(window);

purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName.toLowerCase() !== "a") return;
  if (!/^(?:https?:\/\/|mailto:)/i.test(node.getAttribute("href") ?? "")) {
    node.removeAttribute("href");
    return;
  }
  // The other page learns nothing about this one, and cannot steer it.
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

// Return a DocumentFragment, not text: text that is parsed a second time can change its meaning.
export function sanitize(html) {
  return purifier.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}

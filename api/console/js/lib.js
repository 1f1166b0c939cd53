// The one door to the vendored library, so that a change of it is a change of one file.
export { html, render } from '../vendor/htm-preact.js';
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from '../vendor/htm-preact.js';

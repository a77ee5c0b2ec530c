/** The page `/publish` without a name: asks for one. */

import { isName, newName } from './broadcasts.js';
import { byId, setText } from './dom.js';
import { at } from './site.js';
import { t } from './words.js';

export function askForName() {
  const form = byId('name-form', HTMLFormElement);
  const input = byId('name', HTMLInputElement);
  byId('naming', HTMLElement).hidden = false;
  document.title = t('publish-page-title');
  input.value = newName();
  input.select();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (isName(name)) {
      location.assign(at(`publish/${encodeURIComponent(name)}`));
      return;
    }
    input.setAttribute('aria-invalid', 'true');
    setText(byId('name-hint', HTMLElement), t(name ? 'name-wrong' : 'name-missing'));
    input.focus();
  });
}

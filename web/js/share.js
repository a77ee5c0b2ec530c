/** The sheet with everything that leads others to a broadcast: link, QR code, code for pages. */

import { byId, h, setText } from './dom.js';
import { qrSvg } from './qr.js';
import { at } from './site.js';
import { t } from './words.js';

export class ShareSheet {
  #name;
  #link;
  #dialog = byId('share-sheet', HTMLDialogElement);
  #muted = byId('share-muted', HTMLInputElement);
  #bare = byId('share-bare', HTMLInputElement);

  /** @param {string} name The broadcast. */
  constructor(name) {
    this.#name = name;
    this.#link = at(`watch/${encodeURIComponent(name)}`);
    setText(byId('share-title', HTMLElement), t('share-title', { name }));
    const link = byId('share-link', HTMLAnchorElement);
    link.href = this.#link;
    setText(link, this.#link);
    for (const box of [this.#muted, this.#bare]) box.addEventListener('change', () => this.#describe());
    byId('share-close', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    const system = byId('share-system', HTMLButtonElement);
    system.hidden = !navigator.share;
    system.addEventListener('click', () => void this.#send());
    this.#describe();
  }

  open() {
    const code = byId('share-qr', HTMLElement);
    try {
      if (!code.hasChildNodes()) code.append(qrSvg(this.#link, t('share-qr', { link: this.#link })));
    } catch {
      code.hidden = true; // the address is too long for a code
    }
    this.#dialog.showModal();
  }

  async #send() {
    try {
      await navigator.share({ title: this.#name, url: this.#link });
    } catch {
      // the viewer has changed their mind
    }
  }

  #describe() {
    const path = encodeURIComponent(this.#name);
    const options = (this.#muted.checked ? '&muted=1' : '') + (this.#bare.checked ? '&controls=off' : '');
    const frame = h('iframe', {
      src: `${this.#link}?embed=1${options}`,
      width: '960',
      height: '540',
      allow: 'autoplay; fullscreen; picture-in-picture',
      title: this.#name,
    });
    setText(byId('snippet-frame', HTMLElement), frame.outerHTML);
    const player = h('div', { src: at(`whep/${path}`), label: this.#name, muted: this.#muted.checked });
    if (this.#bare.checked) player.setAttribute('controls', 'off');
    const element = player.outerHTML
      .replace(/^<div/, '<aerial-player')
      .replace(/div>$/, 'aerial-player>')
      .replace(' muted=""', ' muted');
    const script = `<script type="module" src="${at('js/v1/player.js')}"></script>`;
    setText(byId('snippet-element', HTMLElement), `${script}\n${element}`);
  }
}

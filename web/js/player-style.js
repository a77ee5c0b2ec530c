/** The style of `<aerial-player>`: a constructed sheet, so that no inline style is needed. */

const STYLE = `
:host {
  --player-accent: var(--accent-strong, #ff5a36);
  display: block; position: relative; overflow: hidden; aspect-ratio: 16 / 9; container-type: inline-size;
  background: #06080c; color: #fff; font: 500 15px/1.45 var(--font, system-ui, sans-serif);
  -webkit-tap-highlight-color: transparent;
}
:host([hidden]) { display: none; }
:host(:fullscreen) { border-radius: 0; width: 100%; height: 100%; aspect-ratio: auto; }
*, *::before, *::after { box-sizing: border-box; }
video { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; background: #06080c; }
:host([data-quiet]) { cursor: none; }

button {
  all: unset; box-sizing: border-box; cursor: pointer; color: inherit; font: inherit;
  display: inline-flex; align-items: center; justify-content: center; gap: 8px;
}
button[hidden], [hidden] { display: none !important; }
button:focus-visible, input:focus-visible { outline: 3px solid #8fc7ff; outline-offset: 2px; }
.icon { width: 22px; height: 22px; display: block; flex: none; }

.top, .bar {
  position: absolute; left: 0; right: 0; display: flex; align-items: center; gap: 8px; padding: 14px;
  transition: opacity .25s; pointer-events: none;
}
.top > *, .bar > * { pointer-events: auto; }
.top { top: 0; background: linear-gradient(rgb(0 0 0 / .5), transparent); padding-bottom: 36px; }
.bar { bottom: 0; gap: 2px; padding: 40px 8px 8px; background: linear-gradient(transparent, rgb(0 0 0 / .68)); }
:host([data-quiet]) .bar, :host([data-quiet]) .top { opacity: 0; }
.spacer { flex: 1; }
.bar button { width: 42px; height: 42px; border-radius: 10px; transition: background-color .15s; }
.bar button:hover { background: rgb(255 255 255 / .16); }
.bar button[aria-pressed="true"] { background: rgb(255 255 255 / .2); }

.chip {
  display: inline-flex; align-items: center; gap: 6px; height: 26px; padding: 0 9px; border-radius: 7px;
  background: rgb(8 11 16 / .62); font-size: 13px; font-weight: 600; letter-spacing: .01em;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
.chip .icon { width: 16px; height: 16px; }
.live { background: #e0301e; letter-spacing: .06em; font-size: 12px; font-weight: 700; }
.live::before { content: ""; width: 7px; height: 7px; border-radius: 50%; background: #fff; animation: blink 2s infinite; }
.live .delay { font-weight: 600; letter-spacing: 0; }
.live.off { background: rgb(8 11 16 / .62); }
.live.off::before { background: #8d97a8; animation: none; }
@keyframes blink { 50% { opacity: .35; } }

input[type=range] {
  appearance: none; -webkit-appearance: none; width: 84px; height: 24px; margin-block: 0; margin-inline: 2px 8px; background: none; cursor: pointer;
}
input[type=range]::-webkit-slider-runnable-track { height: 4px; border-radius: 2px; background: rgb(255 255 255 / .45); }
input[type=range]::-moz-range-track { height: 4px; border-radius: 2px; background: rgb(255 255 255 / .45); }
input[type=range]::-webkit-slider-thumb { -webkit-appearance: none; width: 14px; height: 14px; margin-top: -5px; border-radius: 50%; background: #fff; }
input[type=range]::-moz-range-thumb { width: 14px; height: 14px; border: 0; border-radius: 50%; background: #fff; }

.cover {
  position: absolute; inset: 0; display: flex; flex-direction: column; align-items: center; justify-content: center;
  gap: 6px; padding: 24px 24px 56px; text-align: center; background: radial-gradient(120% 120% at 50% 35%, #1b2536 0%, #0a0e15 62%);
}
.cover.clear { background: rgb(4 6 10 / .66); }
.cover .title { font-size: clamp(17px, 3.4cqi, 26px); font-weight: 650; letter-spacing: -.01em; text-wrap: balance; }
.cover .hint { max-width: 46ch; color: #b9c3d3; font-size: clamp(14px, 2cqi, 16px); font-weight: 450; text-wrap: balance; }
.mark { position: relative; width: clamp(52px, 11cqi, 88px); aspect-ratio: 1; margin-bottom: clamp(8px, 2cqi, 18px); color: var(--player-accent); }
.mark .icon { width: 100%; height: 100%; }
.mark i { position: absolute; inset: 0; border: 2px solid currentColor; border-radius: 50%; opacity: 0; animation: ring 2.6s ease-out infinite; }
.mark i + i { animation-delay: .85s; }
.cover[data-state=failed] .mark, .cover[data-state=closed] .mark { color: #8d97a8; }
.cover[data-state=failed] .mark i, .cover[data-state=closed] .mark i { display: none; }
@keyframes ring { 0% { transform: scale(.62); opacity: .7; } 100% { transform: scale(1.5); opacity: 0; } }
.action {
  margin-top: 14px; min-height: 44px; padding: 0 22px; border-radius: 999px; background: #fff; color: #10151f; font-weight: 650;
}
.action:hover { background: #e7ecf4; }

.sound {
  position: absolute; inset-inline-end: 14px; top: 14px; min-height: 44px; padding-inline: 14px 18px;
  border-radius: 999px; background: #fff; color: #10151f; font-size: 15px; font-weight: 650; white-space: nowrap;
  box-shadow: 0 4px 20px rgb(0 0 0 / .45); animation: rise .3s ease-out;
}
.sound:hover { background: #e7ecf4; }
@keyframes rise { from { opacity: 0; transform: translateY(-8px); } }

.stats {
  position: absolute; top: 52px; inset-inline-start: 14px; max-width: calc(100% - 28px); max-height: calc(100% - 120px); overflow: auto;
  padding: 12px 14px; border-radius: 10px; background: rgb(8 11 16 / .82); font-size: 12.5px; line-height: 1.55;
  font-variant-numeric: tabular-nums;
}
.stats dl { display: grid; grid-template-columns: auto auto; gap: 1px 18px; margin: 0; }
.stats dt { color: #a6b1c3; font-weight: 450; }
.stats dd { margin: 0; text-align: end; white-space: nowrap; }
.stats .plots > div { display: contents; }
.stats .plots { grid-template-columns: auto minmax(64px, 1fr) auto; align-items: center; gap: 3px 14px; margin-bottom: 6px; }
.stats .plots dd { display: contents; }
.stats .plots span { text-align: end; white-space: nowrap; }
.sparkline { display: block; width: 100%; height: 16px; border-radius: 3px; background: rgb(255 255 255 / .08); fill: none; stroke: #8fc7ff; stroke-width: 1.5; }
.stats button { margin-top: 8px; padding: 4px 10px; border-radius: 7px; background: rgb(255 255 255 / .16); }
/* Words make room for the figures. */
:host([data-stats]) .cover { padding-inline-start: min(300px, 60%); }

.poster { position: absolute; inset: 0; z-index: -1; width: 100%; height: 100%; object-fit: cover; opacity: .5; }
.cover { isolation: isolate; }
slot[name=overlay] { display: block; position: absolute; inset: 0; pointer-events: none; }
::slotted([slot=overlay]) { pointer-events: auto; }

.menu {
  position: absolute; bottom: 56px; inset-inline-end: 8px; display: grid; min-width: 140px; max-height: calc(100% - 72px);
  overflow: auto; padding: 6px; border-radius: 12px; background: rgb(8 11 16 / .92);
}
.menu button { justify-content: flex-start; min-height: 40px; padding: 0 14px; border-radius: 8px; font-size: 14px; }
.menu button:hover { background: rgb(255 255 255 / .16); }
.menu button::before { content: ""; width: 8px; height: 8px; border-radius: 50%; }
.menu button[aria-checked=true]::before { background: var(--player-accent); }

.keys {
  position: absolute; inset: 0; margin: auto; width: fit-content; height: fit-content; max-width: calc(100% - 28px);
  max-height: calc(100% - 28px); overflow: auto; padding: 18px 22px; border-radius: 14px; background: rgb(8 11 16 / .92);
}
.keys dl { display: grid; grid-template-columns: auto auto; gap: 8px 20px; align-items: center; margin: 0; }
.keys dd { margin: 0; }
kbd {
  display: inline-block; min-width: 28px; padding: 2px 8px; border: 1px solid rgb(255 255 255 / .35); border-radius: 6px;
  font: inherit; font-size: 13px; text-align: center;
}

.meter {
  position: relative; width: min(60%, 280px); height: 8px; margin-top: 14px; overflow: hidden; border-radius: 4px;
  background: linear-gradient(90deg, #22a67a 0 62%, #e0a526 78%, #e0301e 96%);
}
.meter i { position: absolute; inset: 0; transform-origin: right; background: #2a3446; }
.meter b { position: absolute; inset: 0; border-left: 3px solid #fff; }

.token { display: grid; gap: 10px; width: min(100%, 400px); margin-top: 4px; }
.token div { display: flex; gap: 8px; }
.token input {
  all: unset; box-sizing: border-box; flex: 1; min-width: 0; height: 44px; padding: 0 14px; border: 1px solid #8d97a8;
  border-radius: 10px; background: rgb(8 11 16 / .6); text-align: start;
}
.token input::placeholder { color: #b9c3d3; }
.token button { min-height: 44px; padding: 0 16px; border-radius: 10px; background: #fff; color: #10151f; font-weight: 650; }
.token button:hover { background: #e7ecf4; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

@container (max-width: 480px) {
  input[type=range] { display: none; }
  .bar { padding-top: 28px; }
  .top { padding: 10px 10px 28px; }
  .sound { top: 8px; inset-inline-end: 8px; min-height: 44px; font-size: 14px; }
  .mark { display: none; }
  .stats { top: 44px; inset-inline-start: 10px; max-height: calc(100% - 56px); padding: 8px 12px; font-size: 11px; line-height: 1.4; }
  .cover { padding: 12px 16px 44px; gap: 3px; }
  .cover[data-state=failed], .cover[data-state=closed] { padding: 12px 16px; }
  .cover[data-state=failed] .mark, .cover[data-state=closed] .mark { display: none; }
  .action { margin-top: 8px; min-height: 40px; }
}
@container (max-width: 380px) {
  .bar button { width: 38px; }
}
@media (max-height: 500px) {
  .stats:not([hidden]) { display: grid; grid-template-columns: auto auto; column-gap: 24px; max-height: calc(100% - 64px); }
  .stats button { justify-self: start; }
}
@media (forced-colors: active) {
  .sparkline { stroke: CanvasText; }
  .chip, .stats, .menu, .keys, .sound, .action, .meter { border: 1px solid; }
  input[type=range] { forced-color-adjust: none; }
  .bar { background: Canvas; }
  .menu button[aria-checked=true] { outline: 2px solid Highlight; outline-offset: -2px; }
  .menu button[aria-checked=true]::before { background: Highlight; }
  .meter { forced-color-adjust: none; }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before { animation: none !important; transition: none !important; }
  .mark i { display: none; }
}
`;

export const SHEET = new CSSStyleSheet();
SHEET.replaceSync(STYLE);

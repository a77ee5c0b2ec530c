/** The page for addresses that lead nowhere. */

import { fillIcons } from './dom.js';
import { t, translatePage } from './words.js';

translatePage();
fillIcons();
document.title = t('missing-page-title');

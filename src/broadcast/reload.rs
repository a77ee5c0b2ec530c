//! Options that change while broadcasts run.

use std::sync::Arc;

use super::{Broadcasts, Options};
use crate::plan::Name;

impl Broadcasts {
    /// Takes over these options, and starts the sources that are new. Returns the broadcasts that
    /// run and have another plan from now on.
    pub fn reload(&self, options: Options) -> Vec<Name> {
        self.shared.transcodes.set_max(options.transcodes_max);
        self.shared.chats.reload(options.plans.clone());
        let options = Arc::new(options);
        let before = self.shared.options.replace(Arc::clone(&options));
        let has_changed = |name: &&Name| before.plans.of(name) != options.plans.of(name);
        let changed = self
            .shared
            .directory()
            .broadcasts
            .keys()
            .filter(has_changed)
            .cloned()
            .collect();
        for name in options.plans.with_source() {
            if let Err(error) = self.start_source(&name) {
                tracing::error!(%name, %error, "broadcast not started");
            }
        }
        changed
    }
}

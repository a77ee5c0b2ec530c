//! Whether the system has what another session needs.

use super::Error;
use crate::resources::{self, Amount, Asker};

/// Admits a session if the system has what it needs.
pub(super) fn admit(amount: Amount) -> Result<resources::Permit, Error> {
    let permit = resources::reserve(Asker::Client, amount);
    permit.map_err(|short| Error::Full(short.name()))
}

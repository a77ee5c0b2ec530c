//! Whether the system has what another session needs.

use super::Error;
use crate::resources::{self, Amount, Asker};

/// Admits a session if the system has what it needs.
pub(super) fn admit(amount: Amount) -> Result<resources::Permit, Error> {
    resources::reserve(Asker::Client, amount).map_err(|short| Error::Full(short.name()))
}

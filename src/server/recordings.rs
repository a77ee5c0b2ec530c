//! The folder of recordings, and what looks after it.

use std::fs;

use tokio::task::JoinSet;

use super::StartError;
use crate::{
    broadcast::Broadcasts,
    config::{Bytes, Config},
    recordings::{Recordings, Retention},
};

/// Creates the folder if it is missing, and starts what keeps it.
pub(super) fn keep(
    config: &Config,
    broadcasts: &Broadcasts,
    tasks: &mut JoinSet<()>,
) -> Result<Recordings, StartError> {
    let options = &config.recordings;
    if let Some(folder) = &options.directory {
        fs::create_dir_all(folder).map_err(|cause| StartError::System {
            what: "create the folder of recordings (recordings.directory)",
            cause,
        })?;
    }
    let recordings = Recordings::new(options.directory.clone(), broadcasts.events().clone());
    let bytes = |size: &Option<Bytes>| {
        let size = size.as_ref().map(|size| size.0);
        size.map(|size| u64::try_from(size).unwrap_or(u64::MAX))
    };
    let retention = Retention {
        max_age: options.max_age,
        max_bytes: bytes(&options.max_size),
        min_free: bytes(&options.min_free),
    };
    tasks.spawn(recordings.clone().follow());
    tasks.spawn(recordings.clone().retain(retention));
    Ok(recordings)
}

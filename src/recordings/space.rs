//! The free space of a file system.

use std::path::Path;

use gio::prelude::FileExt as _;

/// Bytes that may still be written below this folder, as far as the system says.
pub(super) fn free(directory: &Path) -> Option<u64> {
    let folder = gio::File::for_path(directory);
    let info =
        folder.query_filesystem_info(gio::FILE_ATTRIBUTE_FILESYSTEM_FREE, gio::Cancellable::NONE);
    let info = info
        .inspect_err(|error| tracing::warn!(%error, "cannot determine the free space"))
        .ok()?;
    Some(info.attribute_uint64(gio::FILE_ATTRIBUTE_FILESYSTEM_FREE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_how_much_is_free() {
        assert!(free(&std::env::temp_dir()).is_some_and(|bytes| bytes > 0));
        assert_eq!(free(Path::new("/nowhere")), None);
    }
}

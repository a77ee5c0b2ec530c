//! Files for browsers that take them compressed: each is compressed once, when it is first asked for.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::write::GzEncoder;

use super::files::PageFile;

/// Files that are kept compressed; all of ours fit.
const KEPT_MAX: usize = 256;
/// How hard files are compressed that are kept, and pages, which are made for each request.
const QUALITY: Quality = Quality { brotli: 9, gzip: 9 };
const QUALITY_AT_ONCE: Quality = Quality { brotli: 4, gzip: 5 };
/// Brotli's window, as a power of two: larger than any page.
const WINDOW: u32 = 20;
const BUFFER_BYTES: usize = 4096;

#[derive(Clone, Copy)]
struct Quality {
    brotli: u32,
    gzip: u32,
}

/// How content is coded (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn pack(self, content: &[u8], quality: Quality) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Brotli => {
                let mut writer =
                    brotli::CompressorWriter::new(Vec::new(), BUFFER_BYTES, quality.brotli, WINDOW);
                writer.write_all(content)?;
                writer.flush()?;
                Ok(writer.into_inner())
            }
            Self::Gzip => {
                let level = flate2::Compression::new(quality.gzip);
                let mut writer = GzEncoder::new(Vec::new(), level);
                writer.write_all(content)?;
                writer.finish()
            }
        }
    }
}

/// The original. The entity tag alone is not enough: two files of a folder may have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    path: String,
    etag: String,
    coding: Coding,
}

/// The files compressed so far.
#[derive(Default)]
pub(super) struct Compression {
    kept: Mutex<HashMap<Key, Bytes>>,
}

impl Compression {
    /// A file in this coding, which the next requests get, too. `None` if it cannot be compressed.
    pub(super) async fn pack(&self, path: &str, file: &PageFile, coding: Coding) -> Option<Bytes> {
        let key = Key {
            path: path.to_owned(),
            etag: file.etag.clone(),
            coding,
        };
        if let Some(packed) = self.lock().get(&key) {
            return Some(packed.clone());
        }
        let packed = pack(file, coding, QUALITY).await?;
        let mut kept = self.lock();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, packed.clone());
        Some(packed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Bytes>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is made for one request, in this coding. `None` if it cannot be compressed.
pub(super) async fn pack_at_once(file: &PageFile, coding: Coding) -> Option<Bytes> {
    pack(file, coding, QUALITY_AT_ONCE).await
}

async fn pack(file: &PageFile, coding: Coding, quality: Quality) -> Option<Bytes> {
    let content = file.content.clone();
    let packed = tokio::task::spawn_blocking(move || coding.pack(&content, quality)).await;
    packed.ok()?.ok().map(Bytes::from)
}

/// Whether files of this media type become smaller.
pub(super) fn is_worthwhile(kind: &str) -> bool {
    kind.starts_with("text/") || kind.ends_with("+xml") || kind.ends_with("json")
}

/// The best coding that the client takes (RFC 9110 §12.5.3).
pub(super) fn wanted(accepted: &str) -> Option<Coding> {
    [Coding::Brotli, Coding::Gzip]
        .into_iter()
        .find(|coding| accepts(accepted, coding.name()))
}

fn accepts(accepted: &str, coding: &str) -> bool {
    accepted.split(',').any(|member| {
        let (name, weight) = member.split_once(';').unwrap_or((member, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case(coding)
            && weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn clients_say_what_they_take() {
        for accepted in [
            "br",
            "gzip, deflate, br, zstd",
            "gzip;q=1, BR;q=0.5",
            "br ; q=1",
        ] {
            assert!(accepts(accepted, "br"), "{accepted}");
        }
        for accepted in ["", "gzip", "br;q=0", "br;q=0.0, gzip", "brr", "br;q=x"] {
            assert!(!accepts(accepted, "br"), "{accepted}");
        }
    }

    #[tokio::test]
    async fn files_are_compressed_once() {
        let compression = Compression::default();
        let text = "all the same ".repeat(100);
        let file = PageFile::of_text(text.clone());
        let gzip = compression.pack("a.js", &file, Coding::Gzip).await.unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*gzip)
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
        let brotli = compression
            .pack("a.js", &file, Coding::Brotli)
            .await
            .unwrap();
        let mut unpacked = String::new();
        brotli::Decompressor::new(&*brotli, BUFFER_BYTES)
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
        let again = compression
            .pack("a.js", &file, Coding::Brotli)
            .await
            .unwrap();
        assert_eq!(again.as_ptr(), brotli.as_ptr());
        assert_eq!(compression.lock().len(), 2);
    }

    #[tokio::test]
    async fn files_with_the_same_tag_are_kept_apart() {
        let compression = Compression::default();
        for (path, text) in [("a.js", "one"), ("b.js", "two")] {
            let file = PageFile {
                content: Bytes::from_static(text.as_bytes()),
                etag: "\"same\"".to_owned(),
            };
            let packed = compression.pack(path, &file, Coding::Gzip).await.unwrap();
            let mut unpacked = String::new();
            flate2::read::GzDecoder::new(&*packed)
                .read_to_string(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, text);
        }
    }
}

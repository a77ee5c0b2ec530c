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

/// What has been compressed so far.
#[derive(Default)]
pub(super) struct Compression {
    /// By entity tag.
    kept: Mutex<HashMap<(String, Coding), Bytes>>,
}

impl Compression {
    /// A file in this coding; `kept`: for the next requests, too.
    pub(super) async fn pack(&self, file: &PageFile, coding: Coding, kept: bool) -> Bytes {
        let key = (file.etag.clone(), coding);
        if kept && let Some(packed) = self.lock().get(&key) {
            return packed.clone();
        }
        let content = file.content.clone();
        let quality = if kept { QUALITY } else { QUALITY_AT_ONCE };
        let pack = move || coding.pack(&content, quality);
        // Neither fails: the compressors write to memory.
        let packed = tokio::task::spawn_blocking(pack).await;
        let packed = Bytes::from(packed.ok().and_then(Result::ok).unwrap_or_default());
        if kept {
            let mut kept = self.lock();
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
            kept.insert(key, packed.clone());
        }
        packed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Coding), Bytes>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let gzip = compression.pack(&file, Coding::Gzip, true).await;
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*gzip)
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
        let brotli = compression.pack(&file, Coding::Brotli, true).await;
        let mut unpacked = String::new();
        brotli::Decompressor::new(&*brotli, BUFFER_BYTES)
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
        let again = compression.pack(&file, Coding::Brotli, true).await;
        assert_eq!(again.as_ptr(), brotli.as_ptr());
        compression
            .pack(&PageFile::of_text(String::new()), Coding::Gzip, false)
            .await;
        assert_eq!(compression.lock().len(), 2);
    }
}

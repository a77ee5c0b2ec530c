//! Encrypted packets collected for segmented sends.

use std::time::Instant;

use crate::peer::srtp::Sender;

/// Where a stream writes: packets for one viewer, encrypted with its keys, at one moment.
pub(crate) struct Out<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) sender: &'a Sender,
    pub(crate) now: Instant,
}

/// Encrypted packets for one destination, back to back, ready for segmented sends.
#[derive(Default)]
pub(crate) struct Batch {
    /// The packets; new bytes are appended.
    pub(crate) bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// Where the next packet begins.
    pub(crate) fn begin(&self) -> usize {
        self.bytes.len()
    }

    /// Ends a packet at the end of the bytes.
    pub(crate) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Number of packets.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Number of bytes of all packets.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Empties the batch through `send(bytes, segment size)`: each call gets as many packets of
    /// equal size (the last may be shorter) as one segmented send may carry. Returns false as
    /// soon as a send fails; the rest is dropped.
    pub(crate) fn flush(
        &mut self,
        segments_max: usize,
        mut send: impl FnMut(&[u8], usize) -> bool,
    ) -> bool {
        /// Most payload bytes of one UDP datagram before segmentation.
        const BYTES_MAX: usize = 65_000;
        let mut complete = true;
        let mut start = 0;
        let mut ends = self.ends.iter().copied().peekable();
        while let Some(mut end) = ends.next() {
            let segment = end - start;
            let mut count = 1;
            let mut last = segment;
            while let Some(&next) = ends.peek() {
                let len = next - end;
                let fits = count < segments_max && next - start <= BYTES_MAX;
                // Only the last segment may be shorter.
                if last < segment || len > segment || !fits {
                    break;
                }
                (end, last, count) = (next, len, count + 1);
                ends.next();
            }
            complete = send(self.bytes.get(start..end).unwrap_or_default(), segment);
            if !complete {
                break;
            }
            start = end;
        }
        self.bytes.clear();
        self.ends.clear();
        complete
    }
}

//! A playlist that goes on after its sink has begun anew (RFC 8216, sections 4.3.3 and 6.2): players
//! that follow it see numbers that only grow, and a discontinuity.

use std::time::Duration;

use m3u8_rs::MediaPlaylist;

/// What is on the disk when a sink begins.
#[derive(Debug, Default)]
pub(super) struct Before {
    playlist: MediaPlaylist,
}

impl Before {
    /// `age`: since the playlist was written. Of one that has ended, or is older than what it lists, only
    /// the numbers go on.
    pub(super) fn new(playlist: MediaPlaylist, age: Duration) -> Self {
        let listed: f32 = playlist.segments.iter().map(|part| part.duration).sum();
        let mut before = Self { playlist };
        if before.playlist.end_list || age.as_secs_f32() > listed {
            before.drop_first(before.playlist.segments.len());
        }
        before
    }

    fn is_empty(&self) -> bool {
        self.next_sequence() == 0
    }

    /// The number of the segment that follows.
    fn next_sequence(&self) -> u64 {
        self.playlist.media_sequence + self.playlist.segments.len() as u64
    }

    /// Removes so many segments from the front.
    fn drop_first(&mut self, count: usize) {
        let playlist = &mut self.playlist;
        for _ in 0..count.min(playlist.segments.len()) {
            let dropped = playlist.segments.remove(0);
            playlist.media_sequence += 1;
            playlist.discontinuity_sequence += u64::from(dropped.discontinuity);
            if let Some(first) = playlist.segments.first_mut()
                && first.map.is_none()
            {
                first.map = dropped.map;
            }
        }
    }

    /// The whole playlist, with what a sink that began anew has written. It lists no more than `length`
    /// segments; 0 means any number.
    pub(super) fn followed_by(&mut self, written: MediaPlaylist, length: usize) -> MediaPlaylist {
        if self.is_empty() {
            return written;
        }
        // It has dropped some of its own already: nothing older is listed.
        let has_dropped = written.media_sequence > 0;
        let room = match length {
            _ if has_dropped => 0,
            0 => usize::MAX,
            length => length.saturating_sub(written.segments.len()),
        };
        self.drop_first(self.playlist.segments.len().saturating_sub(room));
        let mut whole = MediaPlaylist {
            media_sequence: self.playlist.media_sequence + written.media_sequence,
            // The one before its first segment has been dropped as well.
            discontinuity_sequence: self.playlist.discontinuity_sequence + u64::from(has_dropped),
            target_duration: written.target_duration.max(self.playlist.target_duration),
            segments: self.playlist.segments.clone(),
            ..written
        };
        let mut following = written.segments;
        if let Some(first) = following.first_mut()
            && !has_dropped
        {
            first.discontinuity = true;
        }
        whole.segments.append(&mut following);
        whole
    }
}

#[cfg(test)]
mod tests {
    use m3u8_rs::{Map, MediaSegment};

    use super::*;

    fn playlist(sequence: u64, names: &[&str]) -> MediaPlaylist {
        let mut segments: Vec<_> = names
            .iter()
            .map(|name| MediaSegment {
                uri: (*name).to_owned(),
                duration: 2.0,
                ..MediaSegment::default()
            })
            .collect();
        if let Some(first) = segments.first_mut() {
            first.map = Some(map(&first.uri));
        }
        MediaPlaylist {
            media_sequence: sequence,
            target_duration: 2,
            segments,
            ..MediaPlaylist::default()
        }
    }

    /// The init segment of a run that begins with this segment.
    fn map(first: &str) -> Map {
        Map {
            uri: format!("init-{first}"),
            ..Map::default()
        }
    }

    /// Number, discontinuities before it, and the segments: `|` marks a discontinuity, `(..)` an init segment.
    fn shown(playlist: &MediaPlaylist) -> (u64, u64, String) {
        let parts = playlist.segments.iter().map(|part| {
            let map = part.map.as_ref();
            let map = map.map_or_else(String::new, |map| format!("({})", map.uri));
            format!(
                "{}{map}{}",
                if part.discontinuity { "|" } else { "" },
                part.uri
            )
        });
        (
            playlist.media_sequence,
            playlist.discontinuity_sequence,
            parts.collect::<Vec<_>>().join(" "),
        )
    }

    #[test]
    fn segments_follow_with_a_discontinuity_and_leave_one_by_one() {
        let mut before = Before::new(playlist(7, &["a", "b", "c"]), Duration::from_secs(1));
        for (written, whole) in [
            (playlist(0, &["x"]), (8, 0, "(init-a)b c |(init-x)x")),
            (playlist(0, &["x", "y"]), (9, 0, "(init-a)c |(init-x)x y")),
            (playlist(0, &["x", "y", "z"]), (10, 0, "|(init-x)x y z")),
            (playlist(1, &["y", "z", "w"]), (11, 1, "(init-y)y z w")),
            (playlist(2, &["z", "w", "v"]), (12, 1, "(init-z)z w v")),
        ] {
            let (sequence, discontinuities, parts) = whole;
            let followed = before.followed_by(written, 3);
            assert_eq!(
                shown(&followed),
                (sequence, discontinuities, parts.to_owned())
            );
        }
    }

    #[test]
    fn a_third_run_counts_the_discontinuities_of_both() {
        let mut before = Before::new(playlist(0, &["a", "b"]), Duration::ZERO);
        let second = before.followed_by(playlist(0, &["m", "n"]), 0);
        let mut before = Before::new(second, Duration::ZERO);
        let third = before.followed_by(playlist(0, &["x"]), 3);
        assert_eq!(shown(&third), (2, 0, "|(init-m)m n |(init-x)x".to_owned()));
        let third = before.followed_by(playlist(0, &["x", "y", "z"]), 3);
        assert_eq!(shown(&third), (4, 1, "|(init-x)x y z".to_owned()));
        let third = before.followed_by(playlist(3, &["z", "u", "v"]), 3);
        assert_eq!(shown(&third), (7, 2, "(init-z)z u v".to_owned()));
    }

    #[test]
    fn what_is_over_is_not_listed_but_counted() {
        let ended = MediaPlaylist {
            end_list: true,
            ..playlist(3, &["a", "b"])
        };
        let stale = (playlist(3, &["a", "b"]), Duration::from_secs(5));
        for (before, age) in [(ended, Duration::ZERO), stale] {
            let whole = Before::new(before, age).followed_by(playlist(0, &["x"]), 6);
            assert_eq!(shown(&whole), (5, 0, "|(init-x)x".to_owned()));
            assert!(!whole.end_list);
        }
    }

    #[test]
    fn a_first_run_is_as_the_sink_writes_it() {
        let written = playlist(4, &["x", "y"]);
        assert_eq!(Before::default().followed_by(written.clone(), 2), written);
    }
}

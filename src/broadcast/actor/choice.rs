//! The actor's choice of a rendition for a viewer.

use std::time::Instant;

use super::{
    Actor,
    pipelines::{At, Place, RenditionPipeline, Step, Use},
};
use crate::{
    broadcast::Error,
    media::{Codec, Kind},
    peer::sdp::Offer,
    pipeline::{Demands, EncodedStream},
};

/// The rendition that is passed on as it comes.
pub(super) const SOURCE: &str = "source";

/// What a viewer wants and can do.
#[derive(Clone, Copy)]
pub(super) struct Wants<'a> {
    pub(super) offer: &'a Offer,
    /// The rendition that it asks for by name.
    pub(super) requested: Option<&'a str>,
    /// What has been negotiated already.
    pub(super) codec: Option<Codec>,
}

impl Wants<'_> {
    fn takes(&self, codec: Codec) -> bool {
        self.codec.is_none_or(|negotiated| negotiated == codec)
            && self.offer.choose(codec.kind(), &[codec]).is_some()
    }

    /// Why a source that is encoded like this will not do; `None` if it will.
    fn unfit(&self, codec: Codec, demands: &Demands) -> Option<String> {
        let not_taken = |what: String| Some(format!("a viewer does not take {codec}{what}"));
        if !self.takes(codec) {
            return not_taken(String::new());
        }
        let (profile, level) = (demands.profile.as_deref(), demands.level.as_deref());
        if !self.offer.decodes(codec, profile, None) {
            return not_taken(format!(" of profile {}", profile.unwrap_or_default()));
        }
        if !self.offer.decodes(codec, profile, level) {
            return not_taken(format!(" of level {}", level.unwrap_or_default()));
        }
        let reordered = "the source has B-frames";
        demands.reordered.then(|| reordered.to_owned())
    }
}

impl Actor {
    /// Whether there is such a rendition.
    pub(super) fn check_requested(&self, requested: Option<&str>) -> Result<(), Error> {
        let steps = || {
            let rendition_pipelines = self.rendition_pipelines.iter();
            let configured =
                rendition_pipelines.filter(|pipeline| pipeline.purpose == Use::Configured);
            configured.flat_map(|pipeline| &pipeline.steps)
        };
        match requested {
            Some(requested)
                if requested != SOURCE && !steps().any(|step| step.name == requested) =>
            {
                let mut known = vec![SOURCE.to_owned()];
                known.extend(steps().map(|step| step.name.clone()));
                known.dedup();
                Err(Error::NoRendition {
                    wanted: requested.to_owned(),
                    known: known.join(", "),
                })
            }
            _ => Ok(()),
        }
    }

    /// What will do for a viewer's track of this kind, best first. Empty if nothing does.
    pub(super) fn choices(&self, kind: Kind, wants: &Wants<'_>) -> Vec<At> {
        if wants.offer.choose(kind, &Codec::ALL).is_none() {
            return Vec::new();
        }
        if self.slate {
            return self.slate_choices(kind, wants);
        }
        let source = self.tracks.of(kind).and_then(|track| track.codec);
        let Some(source) = source else {
            return Vec::new();
        };
        let unfit = self.unfit(source, wants);
        if wants.requested == Some(SOURCE) {
            return wants
                .takes(source)
                .then_some(At::Source)
                .into_iter()
                .collect();
        }
        let mut choices: Vec<At> = self.preferred(kind, wants.requested).into_iter().collect();
        if unfit.is_none() {
            choices.push(At::Source);
        }
        let steps =
            [Use::Configured, Use::Automatic].map(|purpose| self.steps(kind, purpose, wants));
        let steps = steps.into_iter().flatten().map(|(place, _)| place);
        let (good, poor): (Vec<_>, Vec<_>) = steps.partition(|place| self.step_fits(*place, wants));
        choices.extend(good.into_iter().map(At::Step));
        // Better than nothing.
        if unfit.is_some() && wants.takes(source) {
            choices.push(At::Source);
        }
        choices.extend(poor.into_iter().map(At::Step));
        choices
    }

    /// Whether a viewer can show what comes from there well.
    pub(super) fn fits(&self, at: At, kind: Kind, wants: &Wants<'_>) -> bool {
        match at {
            At::Source => {
                let source = self.tracks.of(kind).and_then(|track| track.codec);
                source.is_none_or(|source| self.unfit(source, wants).is_none())
            }
            At::Step(place) => self.step_fits(place, wants),
        }
    }

    /// What has not run yet is believed to fit.
    fn step_fits(&self, place: Place, wants: &Wants<'_>) -> bool {
        let fits = |step: &Step| {
            let codec = step.codec?;
            wants.unfit(codec, &step.stream.demands())
        };
        self.step(place).is_some_and(|step| fits(step).is_none())
    }

    /// As [`Actor::choices`], when nobody feeds the broadcast. What the publisher would send, if
    /// it came back, comes first.
    fn slate_choices(&self, kind: Kind, wants: &Wants<'_>) -> Vec<At> {
        let usual = self.tracks.of(kind).and_then(|track| track.codec);
        let slate = self.steps(kind, Use::Slate, wants);
        let mut steps: Vec<_> = slate
            .chain(self.steps(kind, Use::SlateAutomatic, wants))
            .collect();
        let has_slate = self.rendition_pipelines.iter().any(|pipeline| {
            pipeline.purpose == Use::Slate && pipeline.steps.iter().any(|step| step.kind == kind)
        });
        if !has_slate {
            return Vec::new();
        }
        steps.sort_by_key(|(place, codec)| {
            let other = codec.is_some() && *codec != usual;
            (!self.step_fits(*place, wants), other)
        });
        let places = steps.into_iter().map(|(place, _)| At::Step(place));
        places.collect()
    }

    /// The renditions of one kind that may do for a viewer: those whose codec is unknown yet, too.
    fn steps<'a>(
        &'a self,
        kind: Kind,
        purpose: Use,
        wants: &'a Wants<'_>,
    ) -> impl Iterator<Item = (Place, Option<Codec>)> + 'a {
        let rendition_pipelines = self.rendition_pipelines.iter().enumerate();
        let rendition_pipelines =
            rendition_pipelines.filter(move |(_, pipeline)| pipeline.purpose == purpose);
        rendition_pipelines.flat_map(move |(at, pipeline)| {
            let steps = pipeline.steps.iter().enumerate();
            let fits = |step: &&Step| step.codec.is_none_or(|codec| wants.takes(codec));
            let of_kind = steps.filter(move |(_, step)| step.kind == kind && fits(step));
            of_kind.map(move |(number, step)| ((at, number), step.codec))
        })
    }

    /// The place of the rendition that a viewer asks for by name, if it is of this kind.
    pub(super) fn preferred(&self, kind: Kind, requested: Option<&str>) -> Option<At> {
        let requested = requested?;
        if requested == SOURCE {
            return Some(At::Source);
        }
        let rendition_pipelines = self.rendition_pipelines.iter().enumerate();
        let mut configured =
            rendition_pipelines.filter(|(_, pipeline)| pipeline.purpose == Use::Configured);
        configured.find_map(|(at, pipeline)| {
            let mut steps = pipeline.steps.iter();
            let step = steps.position(|step| step.kind == kind && step.name == requested)?;
            Some(At::Step((at, step)))
        })
    }

    /// Why the source will not do for a viewer; `None` if it will. Without automatic transcoding
    /// only the codec counts.
    pub(super) fn unfit(&self, source: Codec, wants: &Wants<'_>) -> Option<String> {
        let kind = source.kind();
        let stream = self.streams.of(kind).filter(|_| self.transcodes());
        let demands = stream.map(EncodedStream::demands).unwrap_or_default();
        if let Some(reason) = wants.unfit(source, &demands) {
            return Some(reason);
        }
        // Who watches already has its keyframe.
        let joins = kind == Kind::Video && wants.codec.is_none();
        (joins && self.gop.is_long && self.transcodes())
            .then(|| "the source makes keyframes too seldom".to_owned())
    }

    /// Whether media is transcoded unasked.
    pub(super) fn transcodes(&self) -> bool {
        !self.plan.automatic.is_empty()
    }

    /// Notes why an automatic rendition is needed.
    pub(super) fn note_reason(&mut self, (at, step): Place, wants: &Wants<'_>) {
        let Some(pipeline) = self.rendition_pipelines.get(at) else {
            return;
        };
        if !pipeline.purpose.is_automatic() || pipeline.reason.is_some() && pipeline.is_running() {
            return;
        }
        let kind = pipeline
            .steps
            .get(step)
            .map_or(Kind::Video, |step| step.kind);
        let source = self.tracks.of(kind).and_then(|track| track.codec);
        let reason = match source.filter(|_| !pipeline.purpose.is_slate()) {
            Some(source) => self.unfit(source, wants),
            None => Some("viewers do not take the slate as it is".to_owned()),
        };
        let (broadcast, pipeline) = (&self.name, pipeline.slot.text.name());
        if let Some(reason) = &reason {
            tracing::info!(%broadcast, pipeline, %kind, reason, "transcoding is needed");
        }
        if let Some(pipeline) = self.rendition_pipelines.get_mut(at) {
            pipeline.reason = reason.or_else(|| Some("the usual rendition has failed".to_owned()));
        }
    }

    pub(super) fn pipeline(&self, (at, _): Place) -> Option<&RenditionPipeline> {
        self.rendition_pipelines.get(at)
    }

    pub(super) fn step(&self, (at, step): Place) -> Option<&Step> {
        self.rendition_pipelines.get(at)?.steps.get(step)
    }
}

/// Looks whether the source makes keyframes often enough, or at least when it is asked: otherwise
/// who joins would wait.
#[derive(Debug, Default)]
pub(super) struct GopWatch {
    asked: Option<Instant>,
    /// Too much time is between keyframes; until the feed ends.
    pub(super) is_long: bool,
}

/// How long a source may take to make a keyframe that it is asked for.
const KEYFRAME_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

impl GopWatch {
    /// Returns true if the source is to be asked for a keyframe.
    pub(super) fn look(
        &mut self,
        now: Instant,
        keyframe_at: Option<Instant>,
        limit: std::time::Duration,
    ) -> bool {
        let Some(keyframe_at) = keyframe_at.filter(|_| !self.is_long) else {
            return false;
        };
        if now.saturating_duration_since(keyframe_at) < limit {
            self.asked = None;
            return false;
        }
        match self.asked {
            None => {
                self.asked = Some(now);
                true
            }
            Some(asked) => {
                self.is_long = now.saturating_duration_since(asked) >= KEYFRAME_PATIENCE;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_source_that_does_not_answer_has_long_gops() {
        let (begin, limit) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watch = GopWatch::default();
        assert!(!watch.look(at(100), None, limit), "nothing there");
        assert!(!watch.look(at(9), Some(begin), limit));
        assert!(watch.look(at(10), Some(begin), limit), "ask");
        assert!(!watch.look(at(11), Some(begin), limit) && !watch.is_long);
        assert!(!watch.look(at(12), Some(at(11)), limit) && !watch.is_long);
        assert!(watch.look(at(21), Some(at(11)), limit), "ask again");
        assert!(!watch.look(at(23), Some(at(11)), limit) && watch.is_long);
    }
}

//! What a viewer gets of one kind of media. Pure: a situation and a viewer's wants in, a ranking
//! and a decision out.
//!
//! A viewer keeps its rendition while it works. It leaves one that no longer delivers frames (its
//! pipeline has failed, nobody publishes, the slate has ended) or that it cannot show well
//! (B-frames), and returns on its own only to a rendition that it requested by name.

mod misfit;

pub use self::misfit::Misfit;
use crate::{
    media::{Codec, Kind},
    peer::sdp::Offer,
    stream::Demands,
};

/// The public name of the original: what the publisher sends, unchanged.
pub(super) const ORIGINAL: &str = "source";

/// A rendition that one of the broadcast's pipelines makes. Valid for the broadcast's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RenditionId(pub(super) usize);

/// Where the frames of a viewer's track come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TrackOrigin {
    /// As published.
    Original,
    /// Made by a pipeline.
    Rendition(RenditionId),
}

/// What a rendition pipeline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Named by the configuration: for viewers that request it or cannot decode the original.
    Configured,
    /// For viewers that can decode neither the original nor anything configured.
    Automatic,
    /// Shown while nobody publishes. Takes no input.
    Slate,
    /// Turns the slate into what viewers can decode.
    SlateAutomatic,
}

impl Use {
    /// Whether it is for when nobody publishes.
    pub(super) const fn is_slate(self) -> bool {
        matches!(self, Self::Slate | Self::SlateAutomatic)
    }

    /// Whether the server decides to run it.
    pub(super) const fn is_automatic(self) -> bool {
        matches!(self, Self::Automatic | Self::SlateAutomatic)
    }
}

/// The state of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenditionProgress {
    /// Its pipeline does not run and can be started.
    Idle,
    /// Its pipeline does not run, and too many others do.
    Full,
    /// Its pipeline runs but has not made a frame of it yet.
    Starting,
    /// It makes frames.
    Live,
    /// Its pipeline has failed and has made nothing since.
    Failed,
    /// Its pipeline is being stopped.
    Stopping,
}

impl RenditionProgress {
    /// Whether there is no point in waiting for it.
    const fn is_hopeless(self) -> bool {
        matches!(self, Self::Failed | Self::Full)
    }
}

/// What the publisher or source sends of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Original {
    pub(super) codec: Codec,
    pub(super) demands: Demands,
    /// Which fan-out rendition carries it.
    pub(super) carrier: u64,
}

/// A rendition to choose from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RenditionCandidate {
    pub(super) id: RenditionId,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) purpose: Use,
    /// Unknown before its first frame, unless its text or its name tells it.
    pub(super) codec: Option<Codec>,
    pub(super) demands: Demands,
    pub(super) progress: RenditionProgress,
    /// Which fan-out rendition carries it, while its pipeline runs.
    pub(super) carrier: Option<u64>,
}

/// What a broadcast shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Showing {
    /// Nothing: nobody publishes, or there is no frame yet.
    #[default]
    Nothing,
    /// What its publisher or source sends.
    Original,
    /// The slate.
    Slate,
}

/// Everything about a broadcast that the choice depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Situation {
    pub(super) showing: Showing,
    /// Media may be transcoded on the server's own decision.
    pub(super) transcodes: bool,
    /// The original leaves too much time between keyframes for viewers that join.
    pub(super) sparse_keyframes: bool,
    /// At most one of each kind.
    pub(super) originals: Vec<Original>,
    /// In the order of the configuration.
    pub(super) candidates: Vec<RenditionCandidate>,
}

impl Situation {
    fn is_slate(&self) -> bool {
        self.showing == Showing::Slate
    }

    fn original(&self, kind: Kind) -> Option<&Original> {
        let mut originals = self.originals.iter();
        originals.find(|original| original.codec.kind() == kind)
    }

    pub(super) fn candidate(&self, id: RenditionId) -> Option<&RenditionCandidate> {
        self.candidates.iter().find(|candidate| candidate.id == id)
    }

    /// The origin that a viewer requests by name, if there is one of this kind, and not in another
    /// codec than it has negotiated.
    pub(super) fn preferred(&self, wants: &Wants<'_>) -> Option<TrackOrigin> {
        let requested = wants.requested?;
        if requested == ORIGINAL {
            return Some(TrackOrigin::Original);
        }
        let mut candidates = self.candidates.iter();
        let candidate = candidates.find(|candidate| {
            candidate.purpose == Use::Configured
                && candidate.kind == wants.kind
                && candidate.name == requested
                && (wants.codec.is_none()
                    || candidate.codec.is_none_or(|codec| wants.accepts(codec)))
        });
        candidate.map(|candidate| TrackOrigin::Rendition(candidate.id))
    }

    /// Why the original does not suit a viewer; `None` if it does. Without automatic transcoding
    /// only the codec counts.
    fn misfit(&self, original: &Original, wants: &Wants<'_>) -> Option<Misfit> {
        if !self.transcodes {
            return wants.misfit(original.codec, &Demands::default());
        }
        let joins = wants.kind == Kind::Video && wants.codec.is_none();
        let needs_keyframe = joins || original.demands.keyless;
        let sparse = (needs_keyframe && self.sparse_keyframes).then_some(Misfit::SparseKeyframes);
        wants.misfit(original.codec, &original.demands).or(sparse)
    }

    /// Whether a viewer can show well what this origin delivers. One that has not run yet is
    /// assumed to suit.
    pub(super) fn suits(&self, origin: TrackOrigin, wants: &Wants<'_>) -> bool {
        match origin {
            TrackOrigin::Original => {
                let original = self.original(wants.kind);
                original.is_none_or(|original| self.misfit(original, wants).is_none())
            }
            TrackOrigin::Rendition(id) => self
                .candidate(id)
                .is_some_and(|candidate| wants.misfit_of(candidate).is_none()),
        }
    }

    /// Why an automatic rendition is needed.
    pub(super) fn reason(&self, id: RenditionId, wants: &Wants<'_>) -> Misfit {
        let of_slate = self
            .candidate(id)
            .is_some_and(|candidate| candidate.purpose.is_slate());
        match self.original(wants.kind) {
            Some(original) if !of_slate => self.misfit(original, wants).unwrap_or(Misfit::Failed),
            _ => Misfit::Slate,
        }
    }
}

/// What a viewer wants of one kind, and what it can decode.
#[derive(Clone, Copy)]
pub(super) struct Wants<'a> {
    pub(super) kind: Kind,
    pub(super) offer: &'a Offer,
    /// The rendition that it requests by name.
    pub(super) requested: Option<&'a str>,
    /// The negotiated codec; `None` for a viewer that joins.
    pub(super) codec: Option<Codec>,
}

impl Wants<'_> {
    fn accepts(&self, codec: Codec) -> bool {
        self.codec.is_none_or(|negotiated| negotiated == codec)
            && self.offer.choose(codec.kind(), &[codec]).is_some()
    }

    fn misfit(&self, codec: Codec, demands: &Demands) -> Option<Misfit> {
        let (profile, level) = (demands.profile.as_deref(), demands.level.as_deref());
        if !self.accepts(codec) {
            Some(Misfit::Codec { codec })
        } else if !self.offer.decodes(codec, profile, None) {
            Some(Misfit::Profile {
                codec,
                profile: profile.unwrap_or_default().into(),
            })
        } else if !self.offer.decodes(codec, profile, level) {
            Some(Misfit::Level {
                codec,
                level: level.unwrap_or_default().into(),
            })
        } else {
            demands.reordered.then_some(Misfit::Reordered)
        }
    }

    fn misfit_of(&self, candidate: &RenditionCandidate) -> Option<Misfit> {
        self.misfit(candidate.codec?, &candidate.demands)
    }
}

/// Every origin that will do for a viewer, best first. Empty if nothing does.
pub(super) fn ranked(situation: &Situation, wants: &Wants<'_>) -> Vec<TrackOrigin> {
    if wants.offer.choose(wants.kind, &Codec::ALL).is_none() {
        return Vec::new();
    }
    if situation.is_slate() {
        return ranked_slate(situation, wants);
    }
    let Some(original) = situation.original(wants.kind) else {
        return Vec::new();
    };
    let decodable = wants.accepts(original.codec);
    if wants.requested == Some(ORIGINAL) {
        return decodable
            .then_some(TrackOrigin::Original)
            .into_iter()
            .collect();
    }
    let suits = situation.misfit(original, wants).is_none();
    let mut ranking = Vec::from_iter(situation.preferred(wants));
    if suits {
        ranking.push(TrackOrigin::Original);
    }
    let first = ranking.first().copied();
    let candidates = || {
        let of = |purpose| acceptable(situation, purpose, wants);
        of(Use::Configured)
            .chain(of(Use::Automatic))
            .filter(move |candidate| first != Some(TrackOrigin::Rendition(candidate.id)))
    };
    let origin = |candidate: &RenditionCandidate| TrackOrigin::Rendition(candidate.id);
    let good = candidates().filter(|candidate| wants.misfit_of(candidate).is_none());
    ranking.extend(good.map(origin));
    if !suits && decodable {
        ranking.push(TrackOrigin::Original); // better than nothing
    }
    let poor = candidates().filter(|candidate| wants.misfit_of(candidate).is_some());
    ranking.extend(poor.map(origin));
    ranking
}

/// Like [`ranked`], for when nobody publishes. Whatever suits comes first, led by the codec that
/// the publisher would send if it came back.
fn ranked_slate(situation: &Situation, wants: &Wants<'_>) -> Vec<TrackOrigin> {
    let has_slate = situation
        .candidates
        .iter()
        .any(|candidate| candidate.purpose == Use::Slate && candidate.kind == wants.kind);
    if !has_slate {
        return Vec::new();
    }
    let usual = situation
        .original(wants.kind)
        .map(|original| original.codec);
    let of = |purpose| acceptable(situation, purpose, wants);
    let mut candidates: Vec<_> = of(Use::Slate).collect();
    // What the slate's own pipeline delivers, or will deliver once it runs again, need not be made
    // of it.
    let delivers = |codec| {
        let mut slates = of(Use::Slate);
        slates.any(|slate| {
            slate.codec.is_none_or(|of| of == codec) && wants.misfit_of(slate).is_none()
        })
    };
    let made = of(Use::SlateAutomatic);
    candidates.extend(made.filter(|made| made.codec.is_none_or(|codec| !delivers(codec))));
    candidates.sort_by_key(|candidate| {
        let unusual = candidate.codec.is_some() && candidate.codec != usual;
        (wants.misfit_of(candidate).is_some(), unusual)
    });
    candidates
        .into_iter()
        .map(|candidate| candidate.id)
        .map(TrackOrigin::Rendition)
        .collect()
}

/// The renditions for a purpose whose codec the viewer accepts or is not known yet.
fn acceptable<'a>(
    situation: &'a Situation,
    purpose: Use,
    wants: &'a Wants<'_>,
) -> impl Iterator<Item = &'a RenditionCandidate> {
    situation.candidates.iter().filter(move |candidate| {
        candidate.purpose == purpose
            && candidate.kind == wants.kind
            && candidate.codec.is_none_or(|codec| wants.accepts(codec))
    })
}

/// What a viewer that joins gets of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// This, at once. A rendition's pipeline is started if it is not running.
    Take(TrackOrigin),
    /// It waits for this rendition, which is started, or for a pipeline that is about to stop.
    Wait(Option<RenditionId>),
    /// It has waited long enough, or everything that would do has failed.
    NotReady,
    /// A suitable rendition must not start: too many others run.
    Full,
    /// Nothing will do.
    Nothing,
}

/// Decides for a viewer that joins. While it is `patient`, it waits for the best instead of taking
/// less.
pub(super) fn join(situation: &Situation, wants: &Wants<'_>, patient: bool) -> Join {
    let mut outcome = Join::Nothing;
    for origin in ranked(situation, wants) {
        let TrackOrigin::Rendition(id) = origin else {
            return Join::Take(origin);
        };
        let Some(candidate) = situation.candidate(id) else {
            continue;
        };
        outcome = match candidate.progress {
            RenditionProgress::Failed if patient => Join::Wait(None),
            RenditionProgress::Stopping if patient => return Join::Wait(None),
            RenditionProgress::Failed | RenditionProgress::Stopping => Join::NotReady,
            RenditionProgress::Full => Join::Full,
            _ if candidate.codec.is_some() => return Join::Take(origin),
            _ if patient => return Join::Wait(Some(id)),
            _ => Join::NotReady,
        };
    }
    outcome
}

/// Whether a viewer would get something better if fewer transcodes were running.
pub(super) fn lacks_room(situation: &Situation, wants: &Wants<'_>) -> bool {
    let best = ranked(situation, wants).into_iter().next();
    let Some(TrackOrigin::Rendition(id)) = best else {
        return false;
    };
    let candidate = situation.candidate(id);
    candidate.is_some_and(|candidate| candidate.progress == RenditionProgress::Full)
}

/// What a viewer gets now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) origin: TrackOrigin,
    pub(super) carrier: u64,
}

/// What happens to a viewer that watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    /// It switches to this origin, which makes frames.
    Switch(TrackOrigin),
    /// This rendition is started; it switches once the rendition makes frames.
    Start(RenditionId),
    /// It keeps a poor rendition: too many transcodes are running.
    Full,
}

/// Decides for a viewer that watches. It never switches to what makes no frames.
pub(super) fn next(situation: &Situation, wants: &Wants<'_>, present: Present) -> Next {
    if let Some(id) = awaits_start(situation, wants, present) {
        return Next::Start(id);
    }
    let preferred = situation.preferred(wants);
    let good = is_good(situation, wants, present);
    let settled = situation.is_slate() || preferred.is_none_or(|origin| origin == present.origin);
    if good && settled {
        return Next::Stay;
    }
    let mut ranking = ranked(situation, wants);
    if good {
        ranking.retain(|origin| preferred == Some(*origin));
    }
    let mut awaited = None;
    for origin in ranking {
        if awaited.is_some() && !situation.suits(origin, wants) {
            break; // only a stopgap: the awaited rendition is starting
        }
        if let Some(carrier) = live_carrier(situation, origin, wants) {
            let same = present == Present { origin, carrier };
            return if same {
                Next::Stay
            } else {
                Next::Switch(origin)
            };
        }
        if let TrackOrigin::Rendition(id) = origin {
            let hopeless = situation
                .candidate(id)
                .is_none_or(|candidate| candidate.progress.is_hopeless());
            awaited = awaited.or_else(|| (!hopeless).then_some(id));
        }
    }
    match awaited {
        Some(id) => Next::Start(id),
        None if lacks_room(situation, wants) => Next::Full,
        None => Next::Stay,
    }
}

/// The rendition that a viewer was promised before its connection was up, if it has yet to start.
fn awaits_start(situation: &Situation, wants: &Wants<'_>, present: Present) -> Option<RenditionId> {
    let TrackOrigin::Rendition(id) = present.origin else {
        return None;
    };
    let candidate = situation.candidate(id)?;
    let promised = candidate.progress == RenditionProgress::Idle
        && candidate.carrier == Some(present.carrier)
        && candidate.purpose.is_slate() == situation.is_slate();
    let requested = situation.preferred(wants) == Some(present.origin);
    (promised && (requested || situation.suits(present.origin, wants))).then_some(id)
}

/// Whether a viewer gets what it can show.
fn is_good(situation: &Situation, wants: &Wants<'_>, present: Present) -> bool {
    let suits = situation.suits(present.origin, wants);
    match present.origin {
        TrackOrigin::Original => {
            let same = situation
                .original(wants.kind)
                .is_some_and(|original| original.carrier == present.carrier);
            let unchanged = !situation.transcodes || wants.requested == Some(ORIGINAL);
            same && !situation.is_slate() && (unchanged || suits)
        }
        TrackOrigin::Rendition(id) => situation.candidate(id).is_some_and(|candidate| {
            let in_time = candidate.purpose.is_slate() == situation.is_slate();
            let requested = situation.preferred(wants) == Some(present.origin);
            candidate.carrier == Some(present.carrier)
                && !candidate.progress.is_hopeless()
                && in_time
                && (requested || suits)
        }),
    }
}

/// The carrier of an origin's frames, if there are any in the viewer's codec.
fn live_carrier(situation: &Situation, origin: TrackOrigin, wants: &Wants<'_>) -> Option<u64> {
    match origin {
        TrackOrigin::Original => {
            let original = situation.original(wants.kind)?;
            let live = situation.showing == Showing::Original;
            let fits = live && Some(original.codec) == wants.codec;
            fits.then_some(original.carrier)
        }
        TrackOrigin::Rendition(id) => {
            let candidate = situation.candidate(id)?;
            let live = candidate.progress == RenditionProgress::Live;
            let fits = live && candidate.codec.is_some() && candidate.codec == wants.codec;
            fits.then_some(candidate.carrier).flatten()
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

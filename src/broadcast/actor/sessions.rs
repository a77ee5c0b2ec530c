//! The sessions of a broadcast: created, started, sent commands, and removed.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use tracing::Instrument;

use super::{Actor, Child, Member, Pending, respond};
use crate::{
    broadcast::{
        Created, Reply, Session,
        action::{InputStart, Switched, Switching, View},
        attendee::Attendee,
        participation::Invitation,
        publisher::PublisherTask,
        session::{Applicant, Command, SwitchCommand},
        viewer::ViewerTask,
    },
    chat::Guest,
    peer::{End, sdp::Role},
};

impl Actor {
    /// Creates a session and adds it to the directory. Returns its number; if there is
    /// no room, the client gets the error.
    pub(super) fn admit(
        &mut self,
        role: Role,
        applicant: Applicant,
        token: Option<Arc<str>>,
        reply: Reply<Created>,
    ) -> Option<u64> {
        let number = self.shared.number();
        let mut applicant = applicant;
        if let Some(cluster) = &self.shared.cluster {
            applicant.node = cluster.incarnation().into();
        }
        let made = Session::new(number, role, self.name.clone(), token, &applicant);
        let made = made.and_then(|(session, commands)| {
            self.shared.register(&session)?;
            Ok((session, commands))
        });
        match made {
            Ok((session, commands)) => {
                let pending = Some(Pending {
                    commands,
                    offer: applicant.offer,
                    guest: applicant.guest,
                    reply,
                });
                self.members.insert(number, Member { session, pending });
                Some(number)
            }
            Err(error) => {
                respond(reply, Err(error));
                None
            }
        }
    }

    /// Forgets a session, and with it its URL.
    pub(super) fn forget(&mut self, number: u64) -> Option<Member> {
        let member = self.members.remove(&number)?;
        self.shared.unregister(&member.session.id);
        Some(member)
    }

    /// Forgets a session whose task has ended by itself, and tells those who wait for its end.
    pub(super) fn forget_ended(&mut self, number: u64, why: End) {
        if let Some(member) = self.forget(number) {
            member.session.stop.end(why);
        }
    }

    pub(super) fn start_publisher(&mut self, number: u64, input: InputStart) {
        let Some((session, pending)) = self.begin(number) else {
            return;
        };
        let plan = self.parts.plan();
        let mut options = self.shared.options.now().publisher.clone();
        options.engine = plan.publisher_engine.unwrap_or(options.engine);
        if let Some(max) = session.bitrate_max {
            options.bitrate_max = options.bitrate_max.min(max);
        }
        let sinks = input
            .gate
            .sinks(&input.tracks, &input.streams, &self.reports);
        let span = session.span();
        let task = PublisherTask {
            invitation: self.invite(Guest {
                publishes: true,
                speaks: true,
                ..pending.guest
            }),
            session,
            first_check: self.shared.options.now().first_check,
            commands: pending.commands,
            offer: pending.offer,
            sinks,
            options,
            fanout: self.shared.fanout.clone(),
            pulse: input.pulse,
            counters: Arc::clone(&self.shared.counters),
        };
        let child = self
            .children
            .spawn(task.run(pending.reply).instrument(span));
        self.child_names
            .insert(child.id(), Child::Publisher(number));
    }

    pub(super) fn start_viewer(&mut self, number: u64, view: View) {
        let Some((session, pending)) = self.begin(number) else {
            return;
        };
        let plan = self.parts.plan();
        let mut options = self.shared.options.now().viewer.clone();
        options.engine = plan.viewer_engine.unwrap_or(options.engine);
        options.webrtcbin.workers = self.viewer_workers.clone();
        let span = session.span();
        let task = ViewerTask {
            invitation: self.invite(pending.guest),
            session,
            first_check: self.shared.options.now().first_check,
            commands: pending.commands,
            offer: pending.offer,
            tracks: view.tracks,
            options,
            fanout: self.shared.fanout.clone(),
            keyframe_wanted: view.keyframe,
            reports: self.reports.clone(),
            counters: Arc::clone(&self.shared.counters),
        };
        let child = self
            .children
            .spawn(task.run(pending.reply).instrument(span));
        self.child_names.insert(child.id(), Child::Viewer(number));
    }

    fn invite(&self, guest: Guest) -> Invitation {
        Invitation {
            chats: self.shared.chats.clone(),
            broadcast: self.name.clone(),
            guest,
        }
    }

    /// The session with this number, and what its task needs to start.
    pub(super) fn begin(&mut self, number: u64) -> Option<(Arc<Session>, Pending)> {
        let member = self.members.get_mut(&number)?;
        Some((Arc::clone(&member.session), member.pending.take()?))
    }

    pub(super) fn switch(
        &mut self,
        switching: &Switching,
        switched: &mut BTreeMap<Switched, usize>,
    ) {
        let Some(member) = self.members.get(&switching.session) else {
            return;
        };
        let command = Command::Switch(SwitchCommand {
            kind: switching.kind,
            track: switching.track.clone(),
            keyframe: switching.keyframe.clone(),
        });
        if member.session.commands.try_send(command).is_err() {
            return; // its task is busy: the parts try again
        }
        if let Some(change) = self.parts.switched(switching) {
            *switched.entry(change).or_default() += 1;
        }
    }

    /// The sessions, oldest first, and what each viewer receives.
    pub(super) fn attendees(&self) -> Vec<Attendee> {
        self.members
            .iter()
            .map(|(number, member)| Attendee {
                session: Arc::clone(&member.session),
                tracks: self.parts.received(*number),
            })
            .collect()
    }

    pub(super) fn request_keyframe(&self, number: u64) {
        let Some(member) = self.members.get(&number) else {
            return;
        };
        if member.session.commands.try_send(Command::Keyframe).is_ok() {
            self.shared
                .counters
                .keyframe_requests
                .fetch_add(1, Ordering::Relaxed);
        }
    }
}

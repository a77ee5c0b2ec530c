//! What some do at the cost of all, and how it is bounded.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// Somebody who reads or does not, as they like.
#[derive(Default)]
struct Reader {
    is_full: AtomicBool,
    taken: AtomicUsize,
    refused: AtomicUsize,
}

impl ParcelSink for Arc<Reader> {
    fn take(&self, _: &Parcel) -> bool {
        let is_full = self.is_full.load(Ordering::Relaxed);
        let count = if is_full { &self.refused } else { &self.taken };
        count.fetch_add(1, Ordering::Relaxed);
        !is_full
    }

    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn comes_again(&self) -> bool {
        true
    }
}

impl Room {
    fn name(&mut self, number: u64) -> String {
        let standing = self.heard_of(number, "standing").pop().unwrap();
        standing["name"].as_str().unwrap().to_owned()
    }
}

#[test]
fn who_does_not_read_is_offered_little_and_sent_away() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "");
    let reader = Arc::new(Reader::default());
    let sink = Box::new(Arc::clone(&reader));
    room.conversation
        .join(viewer(), None, sink, room.now)
        .unwrap();
    assert_eq!(reader.taken.load(Ordering::Relaxed), 1);
    reader.is_full.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        room.pass(2);
        room.ask(mina, say("hi")).unwrap();
    }
    // The first text that found no room, and none after it.
    assert_eq!(reader.refused.load(Ordering::Relaxed), 1);
    room.pass(10);
    assert_eq!(room.conversation.participants.len(), 1);
    assert_eq!(Arc::strong_count(&reader), 1, "its stream ends");
}

#[test]
fn who_joins_makes_nobody_hear_more_often() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "");
    room.pass(2);
    room.heard(mina);
    room.ask(mina, say("hi")).unwrap();
    let late = room.enter(viewer(), "", "");
    assert_eq!(room.heard(mina), Vec::<Value>::new());
    assert_eq!(room.heard(late)[0]["history"][0]["text"], "hi");
    room.ask(mina, say("again")).unwrap();
    room.pass(1);
    assert_eq!(room.heard_of(mina, "message").len(), 2);
    assert_eq!(room.heard_of(late, "message")[0]["text"], "again");
}

#[test]
fn a_name_that_many_want_is_not_searched_for_long() {
    let mut room = Room::new(rules());
    for _ in 0..20 {
        room.enter(viewer(), "", "");
    }
    let names: Vec<String> = (0..12)
        .map(|_| {
            let number = room.enter(viewer(), "A", "");
            room.name(number)
        })
        .collect();
    assert_eq!(names[..3], ["A", "A 2", "A 3"]);
    assert_eq!(names[8..], ["A 9", "A 30", "A 31", "A 32"]);
    // A name is free once its holder has left.
    room.conversation.leave(21, room.now);
    let next = room.enter(viewer(), "a", "");
    assert_eq!(room.name(next), "a");
}

#[test]
fn names_that_look_alike_are_the_same() {
    let mut room = Room::new(rules());
    room.enter(viewer(), "Mina", "a");
    for (name, shown) in [
        ("Mi\u{200d}na", "Mi\u{200d}na 2"),
        ("Mi\u{ad}na", "Mina 3"),
        ("\u{3164}\u{200d}", ""),
    ] {
        let number = room.enter(viewer(), name, "");
        assert_eq!(room.name(number), shown);
    }
}

#[test]
fn moderators_get_their_names_from_those_who_have_them() {
    let mut room = Room::new(rules());
    let borrower = room.enter(viewer(), "Moderator", "b");
    let moderator = room.moderator();
    assert_eq!(room.name(moderator), "Moderator");
    assert_eq!(room.name(borrower), "Moderator 2");
    let second = room.moderator();
    assert_eq!(room.name(second), "Moderator 3");
}

#[test]
fn a_ban_is_lifted_after_they_have_left() {
    let mut room = Room::new(rules());
    let (moderator, mina) = (room.moderator(), room.enter(at(1), "Mina", "m"));
    room.ask(mina, say("spam")).unwrap();
    room.ask(moderator, ChatRequest::Ban { member: mina })
        .unwrap();
    room.conversation.leave(mina, room.now);
    let back = room.enter(at(1), "New", "n");
    assert_eq!(room.ask(back, say("back")), Err(ChatRefusal::Banned));
    room.heard(back);
    let pardon = ChatRequest::Timeout {
        member: mina,
        seconds: 0,
    };
    room.ask(moderator, pardon).unwrap();
    assert_eq!(room.heard_of(back, "standing")[0]["speaks"], true);
    room.ask(back, say("thank you")).unwrap();
    assert!(room.conversation.sanctions.is_empty());
    // Under the number that they have now as well.
    for request in [
        ChatRequest::Ban { member: back },
        ChatRequest::Timeout {
            member: back,
            seconds: 0,
        },
    ] {
        room.ask(moderator, request).unwrap();
    }
    assert!(room.conversation.sanctions.is_empty());
}

#[test]
fn scripts_moderate_without_a_seat() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "");
    room.pass(2);
    room.heard(mina);
    let script = Guest {
        moderates: true,
        ..viewer()
    };
    for text in ["one", "two"] {
        let request = say(text);
        room.conversation
            .once(&script, "Studio", request, room.now)
            .unwrap();
    }
    room.pass(2);
    let heard = room.heard(mina);
    let kinds: Vec<_> = heard.iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["message", "message"], "the count of people stays");
    assert_eq!(heard[1]["name"], "Studio");
    let refused = room
        .conversation
        .once(&viewer(), "Studio", say("three"), room.now);
    assert_eq!(refused, Err(ChatRefusal::NotModerator));
}

#[test]
fn what_nobody_has_used_is_forgotten_at_once() {
    let mut room = Room::new(rules());
    let reader = room.enter(viewer(), "Reader", "");
    room.conversation.leave(reader, room.now);
    assert_eq!(room.conversation.expires(), Some(room.now));
}

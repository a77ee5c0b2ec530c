//! Abuse: what a few people do at everybody's cost is bounded.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// A participant who reads or not, as the test likes.
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
fn a_participant_that_does_not_read_is_offered_little_and_disconnected() {
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
fn joining_makes_nobody_hear_more_often() {
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
fn unused_conversations_are_forgotten_at_once() {
    let mut room = Room::new(rules());
    let reader = room.enter(viewer(), "Reader", "");
    room.conversation.leave(reader, room.now);
    assert_eq!(room.conversation.expires(), Some(room.now));
}

#[test]
fn an_address_gets_a_quarter_of_the_pace() {
    let mut room = Room::new(rules());
    let many: Vec<u64> = (0..40).map(|_| room.enter(at(1), "One", "")).collect();
    let said = many.iter().filter(|one| room.ask(**one, say("hi")).is_ok());
    assert_eq!(said.count(), 10);
    let other = room.enter(at(2), "Other", "");
    room.ask(other, say("hi")).unwrap();
}

#[test]
fn coming_again_restores_nothing() {
    let mut room = Room::new(ChatRules {
        slow: Duration::from_mins(1),
        ..rules()
    });
    let mina = room.enter(at(1), "Mina", "a");
    room.ask(mina, say("one")).unwrap();
    room.pass(20);
    room.conversation.leave(mina, room.now);
    let again = room.enter(at(1), "June", "b");
    let wait = Err(ChatRefusal::Slow(Duration::from_secs(40)));
    assert_eq!(room.ask(again, say("two")), wait);
    // Others of the household need not wait as long.
    let other = room.enter(at(1), "Other", "c");
    room.ask(other, say("hello")).unwrap();
}

#[test]
fn slow_mode_counts_an_address_as_ten_people() {
    let mut room = Room::new(ChatRules {
        slow: Duration::from_secs(10),
        ..rules()
    });
    let many: Vec<u64> = (0..40).map(|_| room.enter(at(1), "One", "")).collect();
    let mut taken = 0;
    for one in many {
        taken += usize::from(room.ask(one, say("hi")).is_ok());
        room.now += Duration::from_millis(250);
    }
    assert_eq!(taken, 10);
}

#[test]
fn data_to_the_publisher_has_a_pace() {
    let mut room = Room::new(rules());
    let publisher = Guest {
        publishes: true,
        ..viewer()
    };
    let publisher = room.enter(publisher, "", "");
    let control = ChatRequest::Control { data: json!(1) };
    let crowd: Vec<u64> = (0..30).map(|_| room.enter(at(1), "", "")).collect();
    for one in crowd {
        let _ = room.ask(one, control.clone());
    }
    assert_eq!(room.heard_of(publisher, "control").len(), 4);
    for last in 2..100 {
        let one = room.enter(at(last), "", "");
        let _ = room.ask(one, control.clone());
    }
    assert_eq!(room.heard_of(publisher, "control").len(), 12);
}

#[test]
fn a_claim_ends_with_its_session() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "");
    let slow = ChatRequest::Slow { seconds: 1 };
    let now = room.now;
    assert_eq!(room.conversation.promote(mina, 7, now), Ok(true));
    assert_eq!(room.conversation.promote(mina, 7, now), Ok(false));
    assert_eq!(room.conversation.promote(mina, 8, now), Ok(true));
    room.conversation.demote(mina, 7, now);
    room.ask(mina, slow.clone()).unwrap();
    room.conversation.demote(mina, 8, now);
    assert_eq!(room.ask(mina, slow), Err(ChatRefusal::NotModerator));
    let standing = room.heard_of(mina, "standing").pop().unwrap();
    assert_eq!(standing["moderator"], false);
}

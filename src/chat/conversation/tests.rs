use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::chat::{Parcel, ParcelSink};

mod abuse;

/// A conversation in virtual time, and what each participant has been told.
struct Room {
    conversation: Conversation,
    now: Instant,
    inboxes: HashMap<u64, Arc<Mutex<Vec<Parcel>>>>,
}

fn rules() -> ChatRules {
    ChatRules {
        chat: true,
        data: true,
        slow: Duration::ZERO,
    }
}

fn viewer() -> Guest {
    Guest {
        speaks: true,
        ..Guest::default()
    }
}

fn at(last: u8) -> Guest {
    let client = crate::client::ClientAddress::new([192, 0, 2, last].into());
    Guest {
        network: Some(client.network()),
        ..viewer()
    }
}

fn say(text: &str) -> ChatRequest {
    ChatRequest::Say {
        text: text.to_owned(),
        id: Some("own".to_owned()),
    }
}

impl Room {
    fn new(rules: ChatRules) -> Self {
        let now = Instant::now();
        Self {
            conversation: Conversation::new(rules, now),
            now,
            inboxes: HashMap::new(),
        }
    }

    fn enter(&mut self, guest: Guest, name: &str, device: &str) -> u64 {
        let inbox = Arc::<Mutex<Vec<Parcel>>>::default();
        let into = Arc::clone(&inbox);
        let sink: ChatSink = Box::new(move |parcel: &Parcel| {
            into.lock().unwrap().push(parcel.clone());
            true
        });
        let number = self.conversation.join(guest, None, sink, self.now).unwrap();
        self.inboxes.insert(number, inbox);
        let (name, device) = (name.to_owned(), device.to_owned());
        self.ask(number, ChatRequest::Join { name, device })
            .unwrap();
        number
    }

    fn moderator(&mut self) -> u64 {
        let guest = Guest {
            moderates: true,
            ..viewer()
        };
        self.enter(guest, "Moderator", "")
    }

    fn ask(&mut self, number: u64, request: ChatRequest) -> Result<(), ChatRefusal> {
        self.conversation.request(number, request, self.now)
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.conversation.deliver(self.now);
    }

    /// The events that somebody has been told since the last look.
    fn heard(&mut self, number: u64) -> Vec<Value> {
        let parcels = std::mem::take(&mut *self.inboxes[&number].lock().unwrap());
        let events = parcels.iter().map(|parcel| {
            let events: Vec<Value> = serde_json::from_str(&parcel.text).unwrap();
            events
        });
        events.flatten().collect()
    }

    fn heard_of(&mut self, number: u64, kind: &str) -> Vec<Value> {
        let mut events = self.heard(number);
        events.retain(|event| event["type"] == kind);
        events
    }
}

#[test]
fn everybody_hears_what_is_said_and_latecomers_read_it() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "m");
    let june = room.enter(viewer(), "June", "j");
    room.ask(mina, say("  hello\n there ")).unwrap();
    room.pass(2);
    let heard = room.heard(june);
    let message = heard.iter().find(|event| event["type"] == "message");
    assert_eq!(message.unwrap()["text"], "hello there");
    assert_eq!(message.unwrap()["from"], mina);
    let people = heard.iter().find(|event| event["type"] == "people");
    assert_eq!(people.unwrap()["count"], 2);
    let late = room.enter(viewer(), "", "");
    let hello = room.heard(late).remove(0);
    assert_eq!(hello["history"][0]["name"], "Mina");
    assert_eq!(hello["people"], 3);
    // Nobody is told the same twice.
    assert_eq!(room.heard_of(late, "message"), Vec::<Value>::new());
    assert_eq!(
        room.ask(late, say("anonymous")),
        Err(ChatRefusal::NameMissing)
    );
}

#[test]
fn the_history_has_a_hundred_messages() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "");
    for number in 0..HISTORY + 20 {
        room.pass(3);
        room.ask(mina, say(&number.to_string())).unwrap();
    }
    let late = room.enter(viewer(), "", "");
    let hello = room.heard(late).remove(0);
    let history = hello["history"].as_array().unwrap();
    assert_eq!(history.len(), HISTORY);
    assert_eq!(history[0]["text"], "20");
}

#[test]
fn floods_are_refused_and_cost_nobody_else_anything() {
    let mut room = Room::new(rules());
    let flood = room.enter(viewer(), "Flood", "");
    let calm = room.enter(viewer(), "Calm", "");
    let taken = (0..1000).filter(|_| room.ask(flood, say("x")).is_ok());
    assert_eq!(taken.count(), 5);
    assert!(room.ask(calm, say("still here")).is_ok());
    // The answers to a flood are bounded as well.
    assert!(room.heard(flood).len() < 25);
    let long = "x".repeat(TEXT_CHARS_MAX + 1);
    assert_eq!(
        room.ask(calm, say(&long)),
        Err(ChatRefusal::TooLong(TEXT_CHARS_MAX))
    );
    assert_eq!(room.ask(calm, say(" \u{202e} ")), Err(ChatRefusal::Empty));
}

#[test]
fn everybody_together_has_a_pace() {
    let mut room = Room::new(rules());
    let many: Vec<u64> = (0..100).map(|_| room.enter(viewer(), "One", "")).collect();
    let said = many.iter().filter(|one| room.ask(**one, say("hi")).is_ok());
    assert_eq!(said.count(), 40);
}

#[test]
fn slow_mode_holds_for_everybody_but_moderators() {
    let mut room = Room::new(ChatRules {
        slow: Duration::from_secs(10),
        ..rules()
    });
    let mina = room.enter(viewer(), "Mina", "");
    let moderator = room.moderator();
    room.ask(mina, say("one")).unwrap();
    room.pass(4);
    let refused = room.ask(mina, say("two"));
    assert_eq!(refused, Err(ChatRefusal::Slow(Duration::from_secs(6))));
    let told = room.heard_of(mina, "refused").remove(0);
    assert_eq!((&told["seconds"], &told["id"]), (&json!(6), &json!("own")));
    for text in ["a", "b"] {
        room.ask(moderator, say(text)).unwrap();
    }
    let slow = |seconds| ChatRequest::Slow { seconds };
    assert_eq!(room.ask(mina, slow(0)), Err(ChatRefusal::NotModerator));
    room.ask(moderator, slow(0)).unwrap();
    room.ask(mina, say("two")).unwrap();
    room.pass(1);
    assert_eq!(room.heard_of(mina, "slow")[0]["seconds"], 0);
}

#[test]
fn moderators_delete_and_silence() {
    let mut room = Room::new(rules());
    let (moderator, mina) = (room.moderator(), room.enter(at(1), "Mina", "m"));
    room.ask(mina, say("spam")).unwrap();
    room.ask(moderator, ChatRequest::Delete { message: 1 })
        .unwrap();
    let again = room.ask(moderator, ChatRequest::Delete { message: 1 });
    assert_eq!(again, Err(ChatRefusal::Missing("message")));
    let timeout = ChatRequest::Timeout {
        member: mina,
        seconds: 60,
    };
    room.ask(moderator, timeout).unwrap();
    let standing = room.heard_of(mina, "standing").pop().unwrap();
    assert_eq!(
        (&standing["speaks"], &standing["silent"]),
        (&json!(false), &json!(60))
    );
    // Coming back helps no more than waiting for less.
    room.conversation.leave(mina, room.now);
    room.pass(20);
    let back = room.enter(at(1), "Mina", "m");
    let silent = ChatRefusal::TimedOut(Duration::from_secs(40));
    assert_eq!(room.ask(back, say("again")), Err(silent));
    // Others of the household may speak meanwhile.
    let other = room.enter(at(1), "Other", "o");
    room.ask(other, say("hello")).unwrap();
    room.pass(41);
    room.ask(back, say("sorry")).unwrap();
}

#[test]
fn a_ban_is_for_good_for_the_household_and_deletes_what_was_said() {
    let mut room = Room::new(rules());
    let (moderator, mina) = (room.moderator(), room.enter(at(1), "Mina", "m"));
    let june = room.enter(at(2), "June", "j");
    room.ask(mina, say("spam")).unwrap();
    room.ask(june, say("hello")).unwrap();
    // Participants who have left can be banned by their messages.
    room.conversation.leave(mina, room.now);
    let ban = ChatRequest::Ban { member: mina };
    assert_eq!(room.ask(june, ban.clone()), Err(ChatRefusal::NotModerator));
    room.ask(moderator, ban).unwrap();
    let back = room.enter(at(1), "New", "another");
    assert_eq!(room.ask(back, say("back")), Err(ChatRefusal::Banned));
    let reaction = REACTIONS[0].to_owned();
    assert_eq!(
        room.ask(back, ChatRequest::React { reaction }),
        Err(ChatRefusal::Banned)
    );
    let hello = room.heard(back).remove(0);
    assert_eq!(hello["history"].as_array().unwrap().len(), 1);
    room.pass(3600);
    assert_eq!(room.ask(back, say("back")), Err(ChatRefusal::Banned));
    room.ask(june, say("fine")).unwrap();
}

#[test]
fn names_are_not_borrowed() {
    let mut room = Room::new(rules());
    let first = room.enter(viewer(), "Mina", "a");
    let second = room.enter(viewer(), "mina", "b");
    // The same browser, in another tab.
    let third = room.enter(viewer(), "Mina", "a");
    let mut name = |number| {
        let standing = room.heard_of(number, "standing").pop().unwrap();
        standing["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(first), "Mina");
    assert_eq!(name(second), "mina 2");
    assert_eq!(name(third), "Mina");
}

#[test]
fn reactions_are_counted_and_told_together() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "", "");
    let react = |reaction: &str| ChatRequest::React {
        reaction: reaction.to_owned(),
    };
    for _ in 0..3 {
        room.ask(mina, react(REACTIONS[0])).unwrap();
    }
    assert_eq!(
        room.ask(mina, react("<b>")),
        Err(ChatRefusal::Missing("reaction"))
    );
    room.pass(1);
    let told = room.heard_of(mina, "reactions");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["added"][REACTIONS[0]], 3);
}

#[test]
fn data_reaches_viewers_and_control_the_publisher() {
    let mut room = Room::new(rules());
    let publisher = room.enter(
        Guest {
            publishes: true,
            ..viewer()
        },
        "",
        "",
    );
    let mina = room.enter(viewer(), "Mina", "");
    let data = |data| ChatRequest::Data { data };
    assert_eq!(
        room.ask(mina, data(json!(1))),
        Err(ChatRefusal::NotModerator)
    );
    room.ask(publisher, data(json!({"score": 3}))).unwrap();
    let parcel = room.inboxes[&mina].lock().unwrap().pop().unwrap();
    assert!(parcel.is_timed && parcel.text.starts_with("[{\"type\":\"data\""));
    let large = json!("x".repeat(DATA_BYTES_MAX));
    assert!(room.ask(publisher, data(large)).is_err());
    let control = ChatRequest::Control {
        data: json!("left"),
    };
    room.ask(mina, control).unwrap();
    let heard = room.heard_of(publisher, "control");
    assert_eq!(
        (&heard[0]["name"], &heard[0]["data"]),
        (&json!("Mina"), &json!("left"))
    );
    let mut off = Room::new(ChatRules {
        data: false,
        ..rules()
    });
    let moderator = off.moderator();
    assert_eq!(
        off.ask(moderator, data(json!(1))),
        Err(ChatRefusal::Off("data"))
    );
}

#[test]
fn a_reader_only_reads() {
    let mut room = Room::new(rules());
    let reader = room.enter(Guest::default(), "Reader", "");
    assert_eq!(room.ask(reader, say("hi")), Err(ChatRefusal::NotAllowed));
    assert_eq!(room.heard(reader)[0]["speaks"], false);
}

#[test]
fn a_participant_that_falls_behind_gets_everything_again() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "");
    let inbox = Arc::<Mutex<Vec<Parcel>>>::default();
    let into = Arc::clone(&inbox);
    // Room for one parcel at a time.
    let sink: ChatSink = Box::new(move |parcel: &Parcel| {
        let mut inbox = into.lock().unwrap();
        let has_room = inbox.is_empty();
        if has_room {
            inbox.push(parcel.clone());
        }
        has_room
    });
    room.conversation
        .join(viewer(), None, sink, room.now)
        .unwrap();
    for text in ["one", "two"] {
        room.ask(mina, say(text)).unwrap();
        room.pass(2);
    }
    inbox.lock().unwrap().clear();
    room.pass(2);
    let text = inbox.lock().unwrap().pop().unwrap().text;
    assert!(text.contains("\"hello\"") && text.contains("one") && text.contains("two"));
}

#[test]
fn many_listeners_are_told_less_often() {
    let mut room = Room::new(rules());
    for _ in 0..1000 {
        let sink: ChatSink = Box::new(|_: &Parcel| true);
        room.conversation
            .join(viewer(), None, sink, room.now)
            .unwrap();
    }
    room.pass(2);
    let mina = room.enter(viewer(), "Mina", "");
    room.ask(mina, say("hi")).unwrap();
    assert_eq!(
        room.conversation.due().unwrap() - room.now,
        Duration::from_micros(250) * 1001
    );
}

#[test]
fn keys_are_secret() {
    let mut room = Room::new(rules());
    let sink: ChatSink = Box::new(|_: &Parcel| true);
    let number = room
        .conversation
        .join(viewer(), Some("secret"), sink, room.now)
        .unwrap();
    assert_eq!(room.conversation.holder("1-secret"), Some(number));
    for wrong in ["1-guess", "2-secret", "", "secret"] {
        assert_eq!(room.conversation.holder(wrong), None, "{wrong}");
    }
}

#[test]
fn a_conversation_is_forgotten_once_it_is_empty() {
    let mut room = Room::new(rules());
    let mina = room.enter(viewer(), "Mina", "");
    assert_eq!(room.conversation.expires(), None);
    room.ask(mina, say("hi")).unwrap();
    room.pass(5);
    room.conversation.leave(mina, room.now);
    assert_eq!(room.conversation.expires(), Some(room.now + MEMORY));
}

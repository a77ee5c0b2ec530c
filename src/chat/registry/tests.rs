use serde_json::json;

use super::*;
use crate::{chat::Parcel, plan::Pattern};

fn chats() -> Chats {
    let settings = crate::plan::Settings {
        chat: Some(true),
        data: Some(true),
        ..Default::default()
    };
    Chats::new(Plans::new(vec![(Pattern::any(), settings)], Vec::new()))
}

#[test]
fn strangers_make_no_conversations() {
    let chats = chats();
    for number in 0..100 {
        let name: Name = Name::new(&format!("x{number}")).unwrap();
        let say = ChatRequest::Say {
            text: "hi".to_owned(),
            id: None,
        };
        assert_eq!(
            chats.request(&name, "1-any", say),
            Err(ChatRefusal::Missing("participant"))
        );
        chats.announce(&name, json!(1)).unwrap();
        // Nor do those who only look in.
        let sink: ChatSink = Box::new(|_: &Parcel| true);
        drop(chats.join(&name, Guest::default(), sink).unwrap());
    }
    chats.round(awake::now());
    assert_eq!(chats.conversations().len(), 0);
}

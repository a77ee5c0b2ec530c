use super::*;
use crate::access::web_server::serve;
use aws_lc_rs::hmac;

const SECRET: &str = "a-shared-secret";

fn callback(url: Uri) -> Callback {
    Callback::new(CallbackOptions {
        url,
        secret: Secret::new(SECRET).unwrap(),
        timeout: Duration::from_millis(500),
        lifetime: Duration::from_secs(30),
    })
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn question(broadcast: &Name) -> Question<'_> {
    Question {
        role: Role::Publisher,
        broadcast,
        token: Some("their-token"),
        client: IpAddr::from([192, 0, 2, 1]),
        user_agent: "obs",
        runs: false,
    }
}

#[tokio::test]
async fn questions_are_signed_and_answers_kept() {
    let (url, asked) = serve(|_| Some((200, r#"{"allow": true}"#.to_owned()))).await;
    let callback = callback(url);
    let (a, b) = (name("a"), name("b"));
    for broadcast in [&a, &a, &b, &a] {
        let permit = callback.ask(&question(broadcast)).await.unwrap();
        assert_eq!(permit.broadcast, *broadcast);
        assert_eq!((permit.user, permit.bitrate), (None, None));
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    let request = &asked[0];
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    let signed = [header("aerial-timestamp").as_bytes(), b".", request.body()].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let expected = crate::outbound::hex(hmac::sign(&key, &signed).as_ref());
    assert_eq!(header("aerial-signature"), format!("sha256={expected}"));
    assert_eq!(request.uri().query(), Some("key=1"));
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "action": "publish", "broadcast": "a", "token": "their-token",
            "client": "192.0.2.1", "user_agent": "obs",
        })
    );
}

#[tokio::test]
async fn answers_rename_and_limit_and_deny() {
    let text = r#"{"allow": true, "broadcast": "b", "user": "ada", "bitrate": 800, "lifetime": 5}"#;
    let (url, _) = serve(move |_| Some((200, text.to_owned()))).await;
    let permit = callback(url).ask(&question(&name("a"))).await.unwrap();
    assert_eq!(permit.broadcast, name("b"));
    assert_eq!(permit.user.as_deref(), Some("ada"));
    assert_eq!(permit.bitrate, Some(800_000));
    let left = permit.until - Instant::now();
    assert!(left <= Duration::from_secs(5) && left > Duration::from_secs(3));
    for (status, text, reason) in [
        (
            200,
            r#"{"allow": false, "reason": "not today"}"#,
            "not today",
        ),
        (200, r#"{"allow": false}"#, "not allowed"),
        (403, "", "not allowed"),
        (401, "", "not allowed"),
    ] {
        let (url, _) = serve(move |_| Some((status, text.to_owned()))).await;
        let denied = callback(url).ask(&question(&name("a"))).await;
        assert_eq!(denied, Err(CallbackError::Denied(reason.to_owned())));
    }
}

#[tokio::test]
async fn without_a_usable_answer_nobody_is_let_in() {
    for answer in [
        None,
        Some((500, r#"{"allow": true}"#)),
        Some((302, "")),
        Some((200, "")),
        Some((200, r#"{"allow": "yes"}"#)),
        Some((200, r#"{"allow": true, "only_from": "10.0.0.0/8"}"#)),
        Some((200, r#"{"allow": true, "broadcast": "../x"}"#)),
    ] {
        let (url, asked) = serve(move |_| {
            let (status, text) = answer?;
            Some((status, text.to_owned()))
        })
        .await;
        let callback = callback(url);
        for _ in 0..2 {
            let asked = callback.ask(&question(&name("a"))).await;
            assert_eq!(asked, Err(CallbackError::Unavailable), "{answer:?}");
        }
        assert_eq!(asked.lock().unwrap().len(), 2, "failures are not kept");
    }
}

#[tokio::test]
async fn running_sessions_do_not_wait_for_new_clients() {
    let (url, _) = serve(|_| Some((200, r#"{"allow": true}"#.to_owned()))).await;
    let callback = callback(url);
    let all = u32::try_from(QUESTIONS_MAX).unwrap();
    let _taken = callback.questions.acquire_many(all).await.unwrap();
    let a = name("a");
    let mut question = question(&a);
    assert_eq!(
        callback.ask(&question).await,
        Err(CallbackError::Unavailable)
    );
    assert!(!callback.has_answer(&question));
    question.runs = true;
    assert!(callback.ask(&question).await.is_ok());
    assert!(callback.has_answer(&question));
}

/// More questions than are sent at once, to a server that does not answer: all end in time, and none
/// lets anybody in.
#[tokio::test]
async fn questions_are_bounded_and_end_in_time() {
    let (url, asked) = serve(|_| None).await;
    let callback = callback(url);
    let names: Vec<_> = (0..3 * QUESTIONS_MAX)
        .map(|n| name(&n.to_string()))
        .collect();
    let questions: Vec<_> = names.iter().map(question).collect();
    let all = questions.iter().map(|question| callback.ask(question));
    let answers = futures_util::future::join_all(all).await;
    assert!(
        answers
            .iter()
            .all(|answer| *answer == Err(CallbackError::Unavailable))
    );
    assert!(asked.lock().unwrap().len() <= 2 * QUESTIONS_MAX);
}

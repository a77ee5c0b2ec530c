use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::json;

use super::*;
use crate::access::web_server::{AskedRequests, serve};

fn key() -> EncodingKey {
    EncodingKey::from_ed_pem(include_bytes!("../../../tests/keys/ed25519.pem")).unwrap()
}

/// A set with one key of this id.
fn set(id: &str) -> String {
    let mut jwk = Jwk::from_encoding_key(&key(), Algorithm::EdDSA).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    json!({ "keys": [jwk] }).to_string()
}

fn token(id: &str) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(id.to_owned());
    let claims = json!({ "exp": 4_000_000_000_u64, "aerial": { "watch": "*" } });
    encode(&header, &claims, &key()).unwrap()
}

fn issuer(url: Uri) -> Arc<Issuer> {
    let options = JwtOptions {
        issuer: None,
        audience: None,
        claim: "aerial".to_owned(),
        leeway: Duration::ZERO,
    };
    let origin = KeyOrigin::Url(url, Duration::from_mins(10));
    Arc::new(Issuer::new(options, origin))
}

fn count(asked: &AskedRequests) -> usize {
    asked.lock().unwrap().len()
}

/// Makes the next unknown key fetch again.
fn let_time_pass(issuer: &Issuer) {
    issuer.fetched_mut().tried = Instant::now().checked_sub(FETCH_INTERVAL);
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_for_a_new_one() {
    let (url, asked) = serve(|count| Some((200, set(if count == 1 { "a" } else { "b" })))).await;
    let issuer = issuer(url);
    assert_eq!(count(&asked), 0, "not before the first token");
    for _ in 0..3 {
        assert!(issuer.verify(&token("a")).await.is_ok());
    }
    assert_eq!(count(&asked), 1);
    // Unknown keys cannot cause more than one fetch per interval.
    for _ in 0..3 {
        assert_eq!(
            issuer.verify(&token("b")).await.err(),
            Some(JwtError::UnknownKey)
        );
    }
    assert_eq!(count(&asked), 1);
    let_time_pass(&issuer);
    assert!(issuer.verify(&token("b")).await.is_ok());
    assert!(issuer.verify(&token("a")).await.is_err(), "it is no more");
    assert_eq!(count(&asked), 2);
}

#[tokio::test]
async fn many_tokens_at_once_cause_one_fetch() {
    let (url, asked) = serve(|_| Some((200, set("a")))).await;
    let issuer = issuer(url);
    let token = token("a");
    let all = (0..50).map(|_| issuer.verify(&token));
    let verified = futures_util::future::join_all(all).await;
    assert!(verified.iter().all(Result::is_ok));
    assert_eq!(count(&asked), 1);
}

#[tokio::test]
async fn keys_stay_while_their_server_fails() {
    for wrong in [
        (500, set("a")),
        (200, "{}".to_owned()),
        (200, "x".repeat(1 << 20)),
    ] {
        let answer = move |count| {
            Some(if count == 1 {
                (200, set("a"))
            } else {
                wrong.clone()
            })
        };
        let (url, asked) = serve(answer).await;
        let issuer = issuer(url);
        assert!(issuer.verify(&token("a")).await.is_ok());
        let_time_pass(&issuer);
        assert!(issuer.verify(&token("b")).await.is_err());
        assert!(issuer.verify(&token("a")).await.is_ok());
        assert_eq!(count(&asked), 2);
    }
}

#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    let (url, _) = serve(|_| Some((404, String::new()))).await;
    assert_eq!(
        issuer(url).verify(&token("a")).await.err(),
        Some(JwtError::UnknownKey)
    );
    let nobody = issuer("http://127.0.0.1:1/".parse().unwrap());
    assert!(nobody.verify(&token("a")).await.is_err());
}

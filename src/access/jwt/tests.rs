use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::{access::Right, peer::sdp::Role, plan::Name};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

macro_rules! key {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/keys/", $name))
    };
}

fn options() -> JwtOptions {
    JwtOptions {
        issuer: None,
        audience: None,
        claim: "aerial".to_owned(),
        leeway: Duration::from_secs(10),
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Claims that are all right, with these changes; `null` removes one.
fn claims(changes: &Json) -> Json {
    let mut claims = json!({
        "sub": "ada",
        "exp": now() + 600,
        "aerial": { "publish": "live-*, studio", "watch": ["*-hd"], "bitrate": 3000 },
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn signed(changes: &Json) -> String {
    let key = EncodingKey::from_secret(SECRET).unwrap();
    encode(&Header::new(Algorithm::HS256), &claims(changes), &key).unwrap()
}

fn verified(options: &JwtOptions, changes: &Json) -> Result<Holder, JwtError> {
    JwtKeys::read(SECRET)
        .unwrap()
        .verify(options, &signed(changes))
}

fn private_keys() -> [(Algorithm, EncodingKey); 4] {
    [
        (Algorithm::HS256, EncodingKey::from_secret(SECRET).unwrap()),
        (
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(key!("rsa.pem")).unwrap(),
        ),
        (
            Algorithm::ES256,
            EncodingKey::from_ec_pem(key!("p256.pem")).unwrap(),
        ),
        (
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(key!("ed25519.pem")).unwrap(),
        ),
    ]
}

/// The file for each of the private keys.
fn files() -> [&'static [u8]; 4] {
    [
        SECRET,
        key!("rsa.pub.pem"),
        key!("p256.pub.pem"),
        key!("ed25519.pub.pem"),
    ]
}

fn set(keys: &[Jwk]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": keys })).unwrap()
}

#[test]
fn each_algorithm_is_that_of_its_key() {
    for (signer, (algorithm, key)) in private_keys().into_iter().enumerate() {
        let token = encode(&Header::new(algorithm), &claims(&json!({})), &key).unwrap();
        let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        let of_set = JwtKeys::read(&set(&[jwk])).unwrap();
        assert!(of_set.verify(&options(), &token).is_ok(), "{algorithm:?}");
        for (reader, file) in files().into_iter().enumerate() {
            let verified = JwtKeys::read(file).unwrap().verify(&options(), &token);
            let expected = (reader != signer).then_some(JwtError::UnknownKey);
            assert_eq!(verified.err(), expected, "{algorithm:?} {reader}");
        }
    }
}

/// The trick that verifiers fall for which believe the header: a public key as the secret of HS256.
#[test]
fn a_public_key_is_no_secret() {
    for file in files().into_iter().skip(1) {
        let key = EncodingKey::from_secret(file).unwrap();
        let token = encode(&Header::new(Algorithm::HS256), &claims(&json!({})), &key).unwrap();
        let verified = JwtKeys::read(file).unwrap().verify(&options(), &token);
        assert_eq!(verified.err(), Some(JwtError::UnknownKey));
    }
    // No signature at all: {"alg":"none"}.
    let payload = signed(&json!({})).split('.').nth(1).unwrap().to_owned();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let keys = JwtKeys::read(SECRET).unwrap();
    assert!(keys.verify(&options(), &unsigned).is_err());
}

#[test]
fn a_file_that_looks_like_a_key_is_not_used_as_a_secret() {
    let pem = key!("rsa.pub.pem").as_slice();
    let rest: &[u8] = &[b'x'; 64];
    for file in [
        [b"\xef\xbb\xbf", pem].concat(),
        [b"# the issuer's key\n", pem].concat(),
        [b"\xff\xfe", rest].concat(),
        [b"[", rest].concat(),
        [b"\x30\x82", rest].concat(),
        [b"\x30\x2a", rest].concat(),
        [b"\x30\x59", rest].concat(),
    ] {
        assert!(JwtKeys::read(&file).is_err(), "{:?}", &file[..3]);
    }
    assert!(JwtKeys::read(rest).is_ok());
}

#[test]
fn secrets_of_a_set_are_long_and_not_public() {
    let secret = |bytes: usize| {
        let key = EncodingKey::from_secret(&vec![b'x'; bytes]).unwrap();
        set(&[Jwk::from_encoding_key(&key, Algorithm::HS256).unwrap()])
    };
    assert!(JwtKeys::read(&secret(32)).is_ok());
    assert!(JwtKeys::read(&secret(31)).is_err());
    assert!(JwtKeys::of_public_set(&secret(32)).is_err());
}

#[test]
fn rights_are_in_one_claim() {
    let holder = verified(&options(), &json!({})).unwrap();
    let name = |text| Name::new(text).unwrap();
    assert_eq!((holder.name(), holder.bitrate()), ("ada", Some(3_000_000)));
    assert!(holder.may(Role::Publisher, &name("live-1")));
    assert!(holder.may(Role::Publisher, &name("studio")));
    assert!(!holder.may(Role::Publisher, &name("a-hd")));
    assert!(holder.may(Role::Viewer, &name("a-hd")));
    assert!(!holder.has(Right::Metrics) && !holder.has(Right::Admin));
    let admin = json!({ "https://example.org/rights": { "admin": true }, "aerial": null });
    let named = JwtOptions {
        claim: "https://example.org/rights".to_owned(),
        ..options()
    };
    let holder = verified(&named, &admin).unwrap();
    assert!(holder.has(Right::Admin) && !holder.may_any(Role::Publisher));
}

#[test]
fn expiry_counts_with_the_leeway() {
    let leeway = options().leeway.as_secs();
    let holder = verified(&options(), &json!({ "exp": now() - leeway + 5 })).unwrap();
    assert!(holder.expires().unwrap() > SystemTime::now());
    let expired = verified(&options(), &json!({ "exp": now() - leeway - 2 }));
    assert_eq!(expired.err(), Some(JwtError::Expired));
    assert!(verified(&options(), &json!({ "nbf": now() + leeway - 5 })).is_ok());
    assert!(verified(&options(), &json!({ "nbf": now() + leeway + 60 })).is_err());
}

#[test]
fn wrong_claims_are_named() {
    let strict = JwtOptions {
        issuer: Some("https://issuer.example".to_owned()),
        audience: Some("aerial".to_owned()),
        ..options()
    };
    let right = json!({ "iss": "https://issuer.example", "aud": ["x", "aerial"] });
    assert!(verified(&strict, &right).is_ok());
    for (options, changes, words) in [
        (&strict, json!({ "aud": "aerial" }), "`iss`"),
        (&strict, json!({ "iss": "https://issuer.example" }), "`aud`"),
        (
            &strict,
            json!({ "iss": "https://other.example", "aud": "aerial" }),
            "(iss)",
        ),
        (
            &strict,
            json!({ "iss": "https://issuer.example", "aud": "x" }),
            "(aud)",
        ),
        (&options(), json!({ "exp": null }), "`exp`"),
        (&options(), json!({ "aerial": null }), "`aerial`"),
        (
            &options(),
            json!({ "aerial": { "watch": "a b" } }),
            "`watch`",
        ),
        (
            &options(),
            json!({ "aerial": { "watch": "*", "only_from": "10.0.0.0/8" } }),
            "`only_from`",
        ),
    ] {
        let error = verified(options, &changes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let keys = JwtKeys::read(SECRET).unwrap();
    for text in ["", "a.b", "a.b.c", "a.b.c.d", &".".repeat(100_000)] {
        assert_eq!(keys.verify(&options(), text).err(), Some(JwtError::NotJwt));
    }
}

#[test]
fn keys_of_a_set_are_chosen_by_their_id_and_purpose() {
    let [_, (_, rsa), _, (_, ed)] = private_keys();
    let jwk = |key: &EncodingKey, algorithm, id: &str, purpose| {
        let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        jwk.common.public_key_use = Some(purpose);
        jwk
    };
    let ed_key = jwk(&ed, Algorithm::EdDSA, "new", PublicKeyUse::Signature);
    let rsa_key = jwk(&rsa, Algorithm::RS256, "old", PublicKeyUse::Encryption);
    let keys = JwtKeys::read(&set(&[ed_key, rsa_key.clone()])).unwrap();
    let token = |key: &EncodingKey, algorithm, id: &str| {
        let mut header = Header::new(algorithm);
        header.kid = Some(id.to_owned());
        encode(&header, &claims(&json!({})), key).unwrap()
    };
    let verify = |token: String| keys.verify(&options(), &token).err();
    assert_eq!(verify(token(&ed, Algorithm::EdDSA, "new")), None);
    let unknown = Some(JwtError::UnknownKey);
    assert_eq!(verify(token(&ed, Algorithm::EdDSA, "other")), unknown);
    assert_eq!(verify(token(&rsa, Algorithm::RS256, "old")), unknown);
    assert!(
        JwtKeys::read(&set(&[rsa_key])).is_err(),
        "not for signatures"
    );
}

#[test]
fn unusable_key_files_are_refused_without_their_content() {
    for (file, words) in [
        (&b"hunter2"[..], "32"),
        (key!("rsa.pem"), "private"),
        (b"{\"keys\": [\"hunter2\"]}", "JWK"),
        (b"{\"keys\": []}", "HS256"),
        (
            b"-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----\n",
            "PEM",
        ),
    ] {
        let error = JwtKeys::read(file).map(drop).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

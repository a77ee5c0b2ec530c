//! Trickle fragments.

use super::*;

const GOOD: &str = "a=ice-ufrag:riAt\r\na=ice-pwd:liagNiLAe0isiLRg66/jA5\r\n\
     m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
     a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";

fn read(text: &str) -> Fragment {
    Fragment::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn remote() -> Remote {
    publish(OBS).unwrap().remote()
}

/// Row W-95a.
#[test]
fn a_fragment_is_read() {
    let fragment = read(GOOD);
    assert_eq!(fragment.mids, ["0"]);
    assert!(fragment.end_of_candidates);
    assert_eq!(fragment.change(&remote()), Ok(Change::Trickle));
}

/// Row W-95g.
#[test]
fn text_that_is_no_fragment_is_malformed() {
    for text in [
        "",
        "\r\n",
        "garbage",
        "{\"candidate\":\"candidate:1 1 udp\"}",
        "v=0\r\n",
        "a=x\r\n",
    ] {
        let result = Fragment::parse(text.as_bytes());
        assert!(matches!(result, Err(Error::Malformed(_))), "{text:?}");
    }
    assert!(Fragment::parse(&[0xFE, 0xFF]).is_err());
    assert!(Fragment::parse(&vec![b'\n'; FRAGMENT_BYTES_MAX + 1]).is_err());
}

/// Row W-95h.
#[test]
fn unusable_candidates_are_dropped() {
    let text = GOOD.replace(
        "a=end",
        "a=candidate:2 1 udp 2122260223 a1b2.local 61764 typ host\r\n\
         a=candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n\
         a=candidate:4 1 quic 1518280447 192.0.2.1 9 typ host\r\n\
         a=candidate:5 0 udp 2122260223 192.0.2.1 61765 typ host\r\n\
         a=candidate:6 1 udp 2122260223 client.example 61764 typ host\r\n\
         a=candidate:\r\na=end",
    );
    assert_eq!(read(&text).change(&remote()), Ok(Change::Trickle));
}

/// Row W-95i.
#[test]
fn fragments_seen_in_the_wild_are_read() {
    let candidate = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
    let credentials = "a=ice-ufrag:riAt\r\na=ice-pwd:liagNiLAe0isiLRg66/jA5\r\n";
    let shapes = [
        GOOD.replace("UDP/TLS/RTP/SAVPF 0", "RTP/AVP 0"),
        format!("{credentials}m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\n{candidate}"),
        format!("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{credentials}{candidate}"),
        format!("a=group:BUNDLE 0 1\r\na=ice-options:trickle\r\n{GOOD}"),
        format!("{GOOD}m=video 9 RTP/AVP 0\r\na=mid:1\r\n{credentials}{candidate}"),
        format!("{credentials}a=end-of-candidates\r\n"),
        "a=end-of-candidates".to_owned(),
        GOOD.replace(candidate, &candidate.repeat(20)),
        GOOD.replace("\r\n", "\n"),
    ];
    for shape in shapes {
        let fragment = read(&shape);
        assert_eq!(fragment.change(&remote()), Ok(Change::Trickle), "{shape}");
    }
}

/// Row W-95j.
#[test]
fn an_unknown_mid_is_malformed() {
    let change = read(&GOOD.replace("a=mid:0", "a=mid:9")).change(&remote());
    assert!(matches!(change, Err(Error::Malformed(_))));
}

/// Row W-96b.
#[test]
fn a_restart_changes_both_credentials() {
    let pwd = GOOD.replace("liag", "LIAG");
    let ufrag = GOOD.replace("riAt", "RIAT");
    let both = pwd.replace("riAt", "RIAT");
    assert_eq!(read(&both).change(&remote()), Ok(Change::Restart), "W-96a");
    for half in [pwd, ufrag] {
        assert!(
            matches!(read(&half).change(&remote()), Err(Error::Malformed(_))),
            "W-96d"
        );
    }
    let contradiction = format!("{GOOD}a=ice-ufrag:othr\r\n");
    assert!(Fragment::parse(contradiction.as_bytes()).is_err());
}

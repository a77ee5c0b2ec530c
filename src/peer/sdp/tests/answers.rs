//! The content of answers, to viewers and to publishers.

use super::{offers::without, *};

/// Splits an answer at its m= lines; the first part is the session's.
fn parts(answer: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = answer
        .match_indices("\r\nm=")
        .map(|(at, _)| at + 2)
        .collect();
    starts.insert(0, 0);
    starts.push(answer.len());
    starts
        .windows(2)
        .filter_map(|range| answer.get(range[0]..range[1]))
        .collect()
}

/// W-28, W-77, W-81, W-83, W-86 and W-91: true of every answer.
pub(super) fn assert_well_formed(name: &str, offer: &Offer, answer: &str) {
    assert!(
        answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"),
        "{name}"
    );
    assert!(answer.len() < 8192, "{name}: {} bytes", answer.len());
    assert_eq!(
        answer.matches('\n').count(),
        answer.matches("\r\n").count(),
        "{name}"
    );
    assert!(!answer.contains("\r\n\r\n"), "{name}");
    let parts = parts(answer);
    let [session, sections @ ..] = &parts[..] else {
        panic!("{name}")
    };
    assert_eq!(sections.len(), offer.media.len(), "{name}");
    let mut accepted = Vec::new();
    for (section, media) in sections.iter().zip(&offer.media) {
        let mut words = section.split_ascii_whitespace();
        let head = (words.next(), words.next(), words.next());
        let medium = format!("m={}", media.line.medium);
        let port = if media.is_track() { "9" } else { "0" };
        assert_eq!(
            head,
            (Some(&*medium), Some(port), Some(&*media.line.protocol)),
            "{name}"
        );
        assert!(
            section.contains(&format!("\r\na=mid:{}\r\n", media.mid)),
            "{name}"
        );
        if media.is_track() {
            accepted.push(media.mid.as_str());
            let setup = format!("\r\na=setup:{}\r\n", offer.setup.answer().name());
            assert!(
                section.contains("\r\na=rtcp-mux\r\n") && section.contains(&setup),
                "{name}"
            );
            assert_eq!(
                section.contains("a=rtcp-mux-only"),
                media.rtcp_mux_only,
                "{name}"
            );
            assert_eq!(section.contains("a=rtcp-rsize"), media.rtcp_rsize, "{name}");
        }
    }
    match &offer.bundle {
        Some(mids) => {
            let mut group: Vec<&str> = mids.iter().map(String::as_str).collect();
            group.retain(|mid| accepted.contains(mid));
            let line = format!("a=group:BUNDLE {}\r\n", group.join(" "));
            assert_eq!(
                session.contains(&line),
                !group.is_empty(),
                "{name}: {session}"
            );
        }
        None => assert!(!session.contains("BUNDLE"), "{name}"),
    }
    assert_eq!(answer.matches("a=end-of-candidates").count(), 1, "{name}");
}

#[test]
fn viewers_answers() {
    for (name, text) in VIEWERS {
        let offer = view(text).unwrap();
        let answer = viewer_answer(&offer, &sections(&offer, Codec::H264), &transport());
        assert_well_formed(name, &offer, &answer);
        let parts = parts(&answer);
        assert!(parts[0].contains("a=ice-lite\r\n"), "W-87");
        assert!(
            parts[1].starts_with("m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n"),
            "E-13 {name}"
        );
        assert!(
            parts[2].starts_with("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
            "E-13 {name}"
        );
        for part in &parts[1..3] {
            assert!(part.contains("\r\na=sendonly\r\n"), "E-10");
            assert!(part.contains("\r\na=msid:a000003e8 a000003e8-"), "E-11");
        }
        assert!(parts[1].contains("a=ssrc-group:FID 1000 1001\r\n"), "E-12");
        assert!(parts[1].contains("a=ssrc:1000 cname:a000003e8\r\n"), "E-12");
        assert!(parts[1].contains("a=ssrc:1001 cname:a000003e8\r\n"), "E-12");
        assert!(parts[2].contains("a=ssrc:2000 cname:a000003e8\r\n"), "E-12");
        assert!(!parts[2].contains("FID"), "E-12");
        assert!(
            parts[1].contains(
                "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
            ),
            "W-80"
        );
        let feedback: Vec<&str> = parts[1].lines().filter(|l| l.contains("rtcp-fb")).collect();
        let expected = [
            "a=rtcp-fb:102 ccm fir",
            "a=rtcp-fb:102 nack",
            "a=rtcp-fb:102 nack pli",
        ];
        assert_eq!(feedback, expected, "W-88");
        assert!(!answer.contains("extmap"), "W-89");
        assert_eq!(parts[1].matches("a=candidate:").count(), 2, "W-86");
        assert!(parts[1].ends_with("a=end-of-candidates\r\n"), "W-83");
    }
}

#[test]
fn the_answer_offers_what_the_engine_implements() {
    let transport = Transport {
        ice_lite: false,
        extensions_used: &["urn:ietf:params:rtp-hdrext:sdes:mid"],
        feedback_used: &["transport-cc"],
        ..transport()
    };
    let offer = view(fixture!("chrome-whep-av")).unwrap();
    let answer = viewer_answer(&offer, &sections(&offer, Codec::Vp8), &transport);
    let extensions: Vec<&str> = answer
        .lines()
        .filter(|line| line.contains("extmap"))
        .collect();
    assert_eq!(
        extensions,
        ["a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid"; 2]
    );
    assert!(answer.contains("a=rtcp-fb:96 transport-cc\r\n"));
    assert!(!answer.contains("goog-remb") && !answer.contains("ice-lite"));
}

/// Row E-21.
#[test]
fn a_track_that_the_broadcast_lacks_is_inactive_in_the_bundle() {
    let offer = view(fixture!("chrome-whep-av")).unwrap();
    let mut sections = sections(&offer, Codec::Vp8);
    sections[0] = Section::Inactive;
    let answer = viewer_answer(&offer, &sections, &transport());
    assert_well_formed("E-21", &offer, &answer);
    let video = parts(&answer)[1];
    assert!(video.starts_with("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"));
    assert!(video.contains("\r\na=inactive\r\n") && !video.contains("a=ssrc"));
    assert!(
        video.contains("a=candidate:"),
        "the tagged section keeps the transport"
    );
}

#[test]
fn publishers_answers() {
    for (name, text) in publishers() {
        let offer = publish(&text).unwrap();
        let choices = offer.choose_publish().unwrap();
        let engine = engine_answer(&offer, &choices);
        let answer = publisher_answer(&offer, &choices, &engine, transport()).unwrap();
        assert_well_formed(name, &offer, &answer);
        for section in &parts(&answer)[1..] {
            assert!(section.contains("\r\na=recvonly\r\n"), "W-78 {name}");
        }
        for leaked in [
            "host-1",
            "fe80",
            "TCP",
            "sprop-",
            "simulcast",
            "OPUS",
            "127.0.0.1 5",
        ] {
            assert!(!answer.contains(leaked), "{name}: {leaked}");
        }
        let transport = transport();
        let candidates = answer.matches("a=candidate:").count();
        assert_eq!(candidates, transport.candidates.len(), "{name}: W-84, W-85");
        let ufrag = format!("a=ice-ufrag:{}\r\n", transport.ice_ufrag);
        assert!(
            answer.contains(&ufrag) && !answer.contains("wxyz"),
            "{name}"
        );
    }
}

/// Row W-80.
#[test]
fn the_offered_h264_parameters_are_repeated() {
    let offer = publish(OBS).unwrap();
    let choices = offer.choose_publish().unwrap();
    let answer = publisher_answer(
        &offer,
        &choices,
        &engine_answer(&offer, &choices),
        transport(),
    )
    .unwrap();
    let fmtp =
        "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n";
    assert!(answer.contains(fmtp), "{answer}");
    assert!(answer.contains("a=rtpmap:111 opus/48000/2\r\n"));
}

/// RFC 7587 §6.1: a browser sends in mono unless the other side wants stereo.
#[test]
fn sound_is_kept_as_it_is() {
    let browser = fixture!("chrome-whep-av").replace("a=recvonly", "a=sendonly");
    let mono = browser.replace("useinbandfec=1", "useinbandfec=1;stereo=0;sprop-stereo=1");
    for text in [&browser, &mono] {
        let offer = publish(text).unwrap();
        let choices = offer.choose_publish().unwrap();
        let answer = publisher_answer(
            &offer,
            &choices,
            &engine_answer(&offer, &choices),
            transport(),
        )
        .unwrap();
        let fmtp = "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n";
        assert!(answer.contains(fmtp), "{answer}");
    }
}

#[test]
fn stereo_is_announced_to_viewers_who_want_it() {
    let fmtp = |offered: &str, stereo| {
        let text = fixture!("chrome-whep-av").replace("useinbandfec=1", offered);
        let offer = view(&text).unwrap();
        let (_, format) = offer.choose(Kind::Audio, &[Codec::Opus]).unwrap();
        format.to_send(stereo).fmtp.unwrap()
    };
    assert_eq!(
        fmtp("stereo=1", true),
        "minptime=10;stereo=1;sprop-stereo=1"
    );
    assert_eq!(fmtp("stereo=1", false), "minptime=10;stereo=1");
    assert_eq!(fmtp("useinbandfec=1", true), "minptime=10;useinbandfec=1");
    assert_eq!(
        fmtp("stereo=0; sprop-stereo=1", true),
        "minptime=10;stereo=0"
    );
}

#[test]
fn only_who_takes_no_pli_is_asked_by_fir() {
    let only_fir = |text: &str| {
        let offer = publish(text).unwrap();
        let (_, format) = offer.choose(Kind::Video, &[Codec::Vp8]).unwrap();
        format.takes_only_fir()
    };
    let browser = fixture!("chrome-whep-av").replace("a=recvonly", "a=sendonly");
    assert!(!only_fir(&browser));
    let fir = without(&browser, "a=rtcp-fb:96 nack pli");
    assert!(only_fir(&fir));
    assert!(!only_fir(&without(&fir, "a=rtcp-fb:96 ccm fir")));
}

#[test]
fn refusals_and_failures_of_an_engine_are_distinguished() {
    let offer = publish(OBS).unwrap();
    let choices = offer.choose_publish().unwrap();
    let engine = engine_answer(&offer, &choices);
    let result = |text: &str| publisher_answer(&offer, &choices, text, transport());
    let mismatch = |text: &str| matches!(result(text), Err(Error::CodecMismatch(_)));
    assert!(mismatch(&engine.replace("a=recvonly", "a=inactive")));
    assert!(mismatch(&engine.replace("m=video 9", "m=video 0")));
    assert!(mismatch(&engine.replace("SAVPF 96", "SAVPF 97")));
    let failed = |text: &str| matches!(result(text), Err(Error::Engine(_)));
    assert!(failed(""));
    assert!(failed(&engine.replace("a=mid:1", "a=mid:7")));
    assert!(failed(&engine.replace("a=setup:active", "a=setup:passive")));
    let reached = engine_transport(&engine).unwrap();
    assert_eq!(reached.ice_ufrag, "wxyz");
    assert_eq!(reached.candidate, "127.0.0.1:50001".parse().unwrap());
    assert_eq!(reached.fingerprint, [0xcd; 32]);
    let failed = |text: &str| matches!(engine_transport(text), Err(Error::Engine(_)));
    assert!(failed(""));
    assert!(failed(&engine.replace("a=ice-pwd", "a=x")));
    assert!(failed(&engine.replace("a=candidate", "a=x")));
    assert!(failed(&engine.replace("sha-256", "sha-1")));
}

#[test]
fn rtx_is_answered_only_if_the_engine_takes_it() {
    let offer = publish(fixture!("ffmpeg-av")).unwrap();
    let choices = offer.choose_publish().unwrap();
    let engine = engine_answer(&offer, &choices);
    let answer = publisher_answer(&offer, &choices, &engine, transport()).unwrap();
    assert!(answer.contains("SAVPF 106 105\r\n") && answer.contains("a=fmtp:105 apt=106\r\n"));
    let engine = engine.replace("106 105", "106");
    let answer = publisher_answer(&offer, &choices, &engine, transport()).unwrap();
    assert!(answer.contains("SAVPF 106\r\n") && !answer.contains("105"));
}

#[test]
fn congestion_control_is_promised_only_if_webrtcbin_does_it() {
    let text = fixture!("chrome-whep-av").replace("a=recvonly", "a=sendonly");
    let offer = publish(&text).unwrap();
    let choices = offer.choose_publish().unwrap();
    let created = engine_answer(&offer, &choices);
    let without = publisher_answer(&offer, &choices, &created, transport()).unwrap();
    assert!(!without.contains("extmap") && !without.contains("transport-cc"));
    assert!(!without.contains("start-bitrate"));

    let local = local_description(&section_extensions(&offer), &created);
    let with = publisher_answer(&offer, &choices, &local, transport()).unwrap();
    let uri = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    assert_eq!(
        with.matches("a=extmap").count(),
        1,
        "only the video section offers it"
    );
    assert!(with.contains(&format!("\r\na=extmap:4 {uri}\r\n")));
    assert!(with.contains("\r\na=rtcp-fb:96 transport-cc\r\n"));
    assert!(with.contains("\r\na=fmtp:96 x-google-start-bitrate=1500\r\n"));
    assert_eq!(with.matches("start-bitrate").count(), 1, "only the picture");
    assert!(!with.contains("goog-remb"));

    let obs = publish(OBS).unwrap();
    let created = engine_answer(&obs, &obs.choose_publish().unwrap());
    assert_eq!(
        local_description(&section_extensions(&obs), &created),
        created
    );
}

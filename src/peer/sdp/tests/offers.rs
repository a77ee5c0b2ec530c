//! Which offers are accepted, which are malformed (400) and which unsupported (422).

use super::*;

fn assert_malformed(row: &str, text: &str) {
    match publish(text) {
        Err(Error::Malformed(_)) => {}
        other => panic!("{row}: {:?}", other.map(|offer| offer.media)),
    }
}

fn assert_unsupported(row: &str, text: &str) {
    match publish(text) {
        Err(Error::Unsupported(_)) => {}
        other => panic!("{row}: {:?}", other.map(|offer| offer.media)),
    }
}

/// The text without the lines that start like this.
pub(super) fn without(text: &str, start: &str) -> String {
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with(start))
        .collect();
    kept.join("\r\n") + "\r\n"
}

/// Rows W-41, W-42.
#[test]
fn text_that_is_no_sdp_is_malformed() {
    for text in [
        "",
        "\r\n",
        "v=0\r\n",
        "v=1\r\n",
        "hello",
        "{\"type\":\"offer\",\"sdp\":\"v=0\"}",
    ] {
        assert_malformed("W-42", text);
    }
    let bytes = [0xFF_u8, 0x00, 0x9F, 0x3D];
    assert!(matches!(
        Offer::parse(&bytes, Role::Viewer),
        Err(Error::Malformed(_))
    ));
    assert_malformed("no m=", OBS.split("m=").next().unwrap());
    assert_malformed(
        "too large",
        &format!("{OBS}{}", "a=x\r\n".repeat(OFFER_BYTES_MAX / 5)),
    );
}

/// Row W-42.
#[test]
fn an_offer_cut_in_an_m_line_is_malformed() {
    for (name, text) in publishers() {
        for (start, _) in text.match_indices("\nm=") {
            let end = text.get(start + 1..).unwrap().find('\n').unwrap() + start + 1;
            for cut in start + 2..end {
                assert_malformed(name, text.get(..cut).unwrap());
            }
        }
    }
}

/// Row W-44.
#[test]
fn line_ends_do_not_matter() {
    let crlf = OBS.replace('\n', "\r\n");
    assert_eq!(
        publish(&crlf).unwrap().media.len(),
        publish(OBS).unwrap().media.len()
    );
    assert!(publish(OBS.trim_end()).is_ok());
}

/// Rows W-45 to W-48.
#[test]
fn transport_attributes_are_needed() {
    assert_malformed("W-45", &without(OBS, "a=ice-ufrag"));
    assert_malformed("W-45", &without(OBS, "a=ice-pwd"));
    assert_malformed("W-45", &OBS.replace("a=ice-ufrag:riAt", "a=ice-ufrag:riA"));
    assert_malformed(
        "W-45",
        &OBS.replace("liagNiLAe0isiLRg66/jA5", "liagNiLAe0isiLRg66/jA"),
    );
    let no_dtls = without(OBS, "a=fingerprint");
    assert_malformed("W-46", &no_dtls);
    assert_malformed("W-46", &OBS.replace("sha-256 AC:", "sha-256 "));
    let md5 = "a=fingerprint:md5 01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10\nm=audio";
    assert_unsupported("W-47", &no_dtls.replace("m=audio", md5));
    assert!(
        publish(&OBS.replace("m=audio", md5)).is_ok(),
        "W-47: beside sha-256"
    );
    let crypto = "a=rtcp-mux\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc";
    assert!(publish(&OBS.replace("a=rtcp-mux", crypto)).is_ok(), "W-48");
    assert_malformed("W-48", &no_dtls.replace("a=rtcp-mux", crypto));
    assert_malformed("W-69", &without(OBS, "a=setup"));
    assert_malformed("W-69", &OBS.replace("a=setup:actpass", "a=setup:holdconn"));
    assert!(
        publish(&OBS.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")).is_ok(),
        "W-73"
    );
    assert_malformed("W-73", &no_dtls.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"));
    assert_malformed("W-73", &OBS.replace("UDP/TLS/RTP/SAVPF 96", "TCP/XYZ 96"));
}

#[test]
fn publishers_fixtures_are_accepted() {
    for (name, text) in publishers() {
        let offer = publish(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let choices = offer
            .choose_publish()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            choices.iter().all(|c| matches!(c, Choice::Receive(_))),
            "{name}"
        );
        let setup = match name {
            "neg-active" => Setup::Active,
            "ffmpeg-av" | "ffmpeg-video-only" => Setup::Passive,
            _ => Setup::Actpass,
        };
        assert_eq!(offer.setup, setup, "{name}");
        let simulcast = name == "obs-32.1-simulcast";
        assert_eq!(
            offer.media.iter().any(|m| m.rids == ["0", "1", "2"]),
            simulcast,
            "{name}"
        );
    }
    assert_eq!(
        publish(fixture!("ffmpeg-video-only")).unwrap().bundle,
        Some(vec!["1".to_owned()])
    );
}

/// Rows W-50 to W-58.
#[test]
fn unsuitable_offers_are_unsupported() {
    for (row, text) in REFUSED {
        assert_unsupported(row, text);
    }
    let video = OBS.get(OBS.find("m=video").unwrap()..).unwrap();
    let two = format!(
        "{}{}",
        OBS.replace("BUNDLE 0 1", "BUNDLE 0 1 2"),
        video.replace("mid:1", "mid:2")
    );
    assert_unsupported("W-53", &two);
    assert_unsupported("W-58", &OBS.replace("BUNDLE 0 1", "BUNDLE 0"));
    assert_unsupported("mixed", &OBS.replacen("a=sendonly", "a=recvonly", 1));
    assert_malformed("two equal mids", &OBS.replace("a=mid:1", "a=mid:0"));
    assert_malformed("no mid", &OBS.replace("a=mid:1\n", ""));
}

/// Rows W-52 to W-61.
#[test]
fn liberties_are_accepted() {
    assert!(publish(&without(OBS, "a=sendonly")).is_ok(), "W-52");
    assert!(publish(&without(OBS, "a=msid")).is_ok(), "W-55");
    let single = without(fixture!("ffmpeg-video-only"), "a=group");
    assert!(publish(&single).is_ok(), "W-59");
    assert_eq!(
        publish(&without(&single, "a=mid")).unwrap().media[0].mid,
        "0",
        "W-59"
    );
    let offer = publish(fixture!("rfc9725-example")).unwrap();
    assert!(offer.media.iter().all(|section| !section.rejected), "W-61");
}

/// Rows W-64, W-65.
#[test]
fn candidates_may_be_missing_or_useless() {
    let candidates = "a=rtcp-mux\n\
         a=candidate:1 1 udp 2122260223 6ba1.local 50000 typ host\n\
         a=candidate:2 1 udp 2122260223 192.0.2.3 50000 typ host generation 0 ufrag riAt\n\
         a=candidate:3 2 udp 2122260222 192.0.2.3 50001 typ host\n\
         a=candidate:4 1 tcp 1518280447 192.0.2.3 9 typ host tcptype active";
    let offer = publish(OBS).unwrap();
    let more = publish(&OBS.replace("a=rtcp-mux", candidates)).unwrap();
    assert_eq!(more.media.len(), offer.media.len(), "W-64, W-65");
    let other =
        OBS.replace("a=rtcp-mux", candidates)
            .replacen("a=ice-ufrag:riAt", "a=ice-ufrag:othr", 1);
    assert_eq!(
        publish(&other).unwrap().ice_ufrag,
        "othr",
        "the tagged section's transport"
    );
}

/// Rows W-70, W-71.
#[test]
fn a_track_without_usable_codec_refuses_the_offer() {
    let mismatch = |text: &str| {
        matches!(
            publish(text).unwrap().choose_publish(),
            Err(Error::CodecMismatch(_))
        )
    };
    assert!(
        mismatch(&fixture!("ffmpeg-video-only").replace("H264/90000", "H263/90000")),
        "W-70"
    );
    assert!(mismatch(&OBS.replace("H264/90000", "theora/90000")), "W-71");
    assert!(mismatch(&OBS.replace("opus/48000/2", "PCMU/8000")), "W-71");
    assert!(
        mismatch(&OBS.replace("opus/48000/2", "opus/48000/1")),
        "W-71"
    );
    assert!(
        !mismatch(&OBS.replace("opus/48000/2", "OPUS/48000")),
        "GStreamer"
    );
}

/// Row W-72.
#[test]
fn a_data_channel_is_rejected_and_no_more() {
    let text = fixture!("chrome-whep-datachannel").replace("a=recvonly", "a=sendonly");
    let offer = publish(&text).unwrap();
    let choices = offer.choose_publish().unwrap();
    assert!(matches!(
        choices[..],
        [Choice::Receive(_), Choice::Receive(_), Choice::Rejected]
    ));
    assert!(!offer.normalised(&choices).contains("m=application"));
    let answer = publisher_answer(
        &offer,
        &choices,
        &engine_answer(&offer, &choices),
        transport(),
    )
    .unwrap();
    assert!(answer.contains("\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"));
    let data_only = format!(
        "v=0\r\n{}",
        text.get(text.find("m=application").unwrap()..).unwrap()
    );
    assert_unsupported("no tracks", &data_only);
}

/// An offer's video section twice, one of them inactive.
fn with_a_spare_section(text: &str, spare_first: bool) -> String {
    let video = text.find("m=video").unwrap();
    let end = text.get(video + 1..).unwrap().find("\nm=");
    let end = end.map_or(text.len(), |end| video + 1 + end + 1);
    let (before, after) = (text.get(..video).unwrap(), text.get(end..).unwrap());
    let section = text.get(video..end).unwrap();
    let mid = section
        .lines()
        .find(|line| line.starts_with("a=mid:"))
        .unwrap()
        .trim();
    let mut spare = section.replace(mid, "a=mid:spare");
    for direction in ["a=sendonly", "a=recvonly", "a=sendrecv"] {
        spare = spare.replace(direction, "a=inactive");
    }
    let sections = if spare_first {
        [&spare, section]
    } else {
        [section, &spare]
    };
    let before = before.replace("a=group:BUNDLE", "a=group:BUNDLE spare");
    format!("{before}{}{after}", sections.concat())
}

#[test]
fn an_inactive_section_beside_an_active_one_of_its_kind_does_no_harm() {
    for spare_first in [true, false] {
        let text = fixture!("chrome-whep-av").replace("a=recvonly", "a=sendonly");
        let text = with_a_spare_section(&text, spare_first);
        let offer = publish(&text).unwrap();
        let choices = offer.choose_publish().unwrap();
        let received = choices
            .iter()
            .filter(|choice| matches!(choice, Choice::Receive(_)));
        assert_eq!((received.count(), choices.len()), (2, 3));
        let answer = publisher_answer(
            &offer,
            &choices,
            &engine_answer(&offer, &choices),
            transport(),
        )
        .unwrap();
        answers::assert_well_formed("spare", &offer, &answer);
        assert_eq!(answer.matches("a=inactive").count(), 1, "{answer}");
        assert_eq!(answer.matches("a=recvonly").count(), 2, "{answer}");

        let text = with_a_spare_section(fixture!("chrome-whep-av"), spare_first);
        let offer = view(&text).unwrap();
        let (at, _) = offer.choose(Kind::Video, &[Codec::Vp8]).unwrap();
        assert_ne!(offer.media[at].mid, "spare");
    }
    // Two that are active are too many for a publisher, and one that is inactive is too few.
    let two = with_a_spare_section(OBS, true).replace("a=inactive", "a=sendonly");
    assert!(matches!(publish(&two), Err(Error::Unsupported(_))));
    let inactive = fixture!("chrome-whep-av").replacen("a=recvonly", "a=inactive", 1);
    let offer = view(&inactive).unwrap();
    let wanted = [Kind::Video, Kind::Audio].map(|kind| offer.wants(kind));
    assert_eq!(wanted.iter().filter(|wanted| **wanted).count(), 1);
}

/// Rows E-15 to E-19.
#[test]
fn viewers_may_offer_in_any_direction_that_receives_and_order() {
    for (name, text) in VIEWERS {
        assert!(view(text).is_ok(), "{name}");
        let sendrecv = view(&text.replace("a=recvonly", "a=sendrecv")).unwrap();
        assert!(
            sendrecv.choose(Kind::Video, &[Codec::H264]).is_some(),
            "E-15 {name}"
        );
        for direction in ["a=sendonly", "a=inactive"] {
            let refused = view(&text.replace("a=recvonly", direction));
            assert!(matches!(refused, Err(Error::Unsupported(_))), "E-16 {name}");
        }
        let no_mux = view(&without(text, "a=rtcp-mux"));
        assert!(matches!(no_mux, Err(Error::Unsupported(_))), "E-17 {name}");
        let no_bundle = view(&without(text, "a=group"));
        assert!(
            matches!(no_bundle, Err(Error::Unsupported(_))),
            "E-17 {name}"
        );
    }
    let receiving = fixture!("neg-recvonly");
    assert!(
        view(receiving)
            .unwrap()
            .choose(Kind::Audio, &[Codec::Opus])
            .is_some(),
        "E-19"
    );
}

/// Rows E-23 to E-27.
#[test]
fn the_codec_is_chosen_from_what_both_sides_have() {
    let h264_only = view(fixture!("chrome-whep-h264-only")).unwrap();
    assert_eq!(h264_only.choose(Kind::Video, &[Codec::Vp8]), None, "E-23");

    let both = view(fixture!("chrome-whep-av")).unwrap();
    let codec = |wanted: &[Codec]| both.choose(Kind::Video, wanted).unwrap().1.codec;
    assert_eq!(
        codec(&[Codec::H264, Codec::Vp8]),
        Some(Codec::Vp8),
        "offerer's order"
    );

    let many = fixture!("chrome-whep-h264-only")
        .replace("SAVPF 102 103", "SAVPF 98 99 100 102 103 104")
        .replace(
            "a=rtpmap:102",
            "a=rtpmap:98 H264/90000\n\
             a=fmtp:98 packetization-mode=0;profile-level-id=42e01f\n\
             a=rtpmap:99 H264/90000\n\
             a=fmtp:99 packetization-mode=1;profile-level-id=640c1f\n\
             a=rtpmap:100 H264/90000\n\
             a=fmtp:100 packetization-mode=1;profile-level-id=42e034\n\
             a=rtpmap:104 H264/90000\n\
             a=fmtp:104 packetization-mode=1;profile-level-id=42E01F\n\
             a=rtpmap:102",
        );
    let many = view(&many).unwrap();
    let (_, format) = many.choose(Kind::Video, &[Codec::H264]).unwrap();
    assert_eq!((format.pt, format.rtx), (102, Some(103)), "E-24");

    let bare = without(fixture!("chrome-whep-h264-only"), "a=fmtp:102");
    assert!(
        view(&bare)
            .unwrap()
            .choose(Kind::Video, &[Codec::H264])
            .is_some(),
        "E-25"
    );
    let mode_0 = fixture!("chrome-whep-h264-only").replace("mode=1", "mode=0");
    let mode_0 = view(&mode_0).unwrap();
    assert_eq!(mode_0.choose(Kind::Video, &[Codec::H264]), None);
    let lack = mode_0.lack(Codec::H264);
    assert!(lack.contains("packetization-mode=1"), "{lack}");
    assert!(!mode_0.lack(Codec::Vp8).contains("packetization"));

    let exotic = fixture!("chrome-whep-av")
        .replace("SAVPF 111 63", "SAVPF 112 9 111 63 110")
        .replace(
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:112 multiopus/48000/6\na=fmtp:112 channel_mapping=0,4,1,2,3,5\n\
             a=rtpmap:110 telephone-event/48000\na=rtpmap:111 OPUS/48000/2\na=rtcp-fb:111 nack",
        );
    let exotic = view(&exotic).unwrap();
    let (_, opus) = exotic.choose(Kind::Audio, &[Codec::Opus]).unwrap();
    assert_eq!(opus.pt, 111, "E-27");
    assert!(opus.feedback.contains(&"nack".to_owned()), "E-26");
}

#[test]
fn a_section_with_port_0_is_not_in_use() {
    let text = fixture!("chrome-whep-av").replace("m=video 9", "m=video 0");
    let offer = view(&text).unwrap();
    assert_eq!(offer.choose(Kind::Video, &[Codec::Vp8]), None);
    let answer = viewer_answer(&offer, &sections(&offer, Codec::Vp8), &transport());
    assert!(
        answer.contains("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"),
        "{answer}"
    );
    assert!(answer.contains("a=group:BUNDLE 1\r\n"));
    assert!(
        answer.ends_with("a=end-of-candidates\r\n"),
        "candidates in the accepted section"
    );
}

#[test]
fn one_payload_type_for_audio_and_video_is_unsupported() {
    let text = OBS.replace(" 96", " 111").replace(":96", ":111");
    let result = publish(&text).unwrap().choose_publish();
    assert!(matches!(result, Err(Error::Unsupported(_))), "{result:?}");
}

#[test]
fn normalised_offers_mean_the_same() {
    for (name, text) in publishers() {
        let text = text.replace(
            "a=rtcp-mux\n",
            "a=rtcp-mux\na=candidate:1 1 udp 2122260223 192.0.2.3 50000 typ host\n",
        );
        let offer = publish(&text).unwrap();
        let normalised = offer.normalised(&offer.choose_publish().unwrap());
        assert!(
            normalised.starts_with("v=0\r\n") && normalised.ends_with("\r\n"),
            "{name}"
        );
        for gone in [
            "group:LS",
            "bundle-only",
            "simulcast",
            "rid:",
            "sendrecv",
            "goog-remb",
            "a=candidate",
        ] {
            assert!(!normalised.contains(gone), "{name}: {gone}");
        }
        let again = publish(&normalised).unwrap();
        assert_eq!(
            (again.ice_ufrag, again.ice_pwd),
            (offer.ice_ufrag, offer.ice_pwd),
            "{name}"
        );
        assert_eq!(
            (again.fingerprint, again.setup),
            (offer.fingerprint, offer.setup),
            "{name}"
        );
        for (media, original) in again.media.iter().zip(&offer.media) {
            assert_eq!(
                (&media.mid, media.kind),
                (&original.mid, original.kind),
                "{name}"
            );
            assert_eq!(media.direction, Direction::Sendonly, "{name}");
            assert_eq!(media.ssrcs, original.ssrcs, "{name}");
            assert!(media.formats.len() <= 2, "{name}: one codec and its RTX");
        }
    }
}

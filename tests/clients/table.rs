//! `docs/clients.md` says what tests show and nothing else.

use std::fs;

use serde_json::Value;

use crate::documents::expect_table;

const DOCUMENT: &str = include_str!("../../docs/clients.md");
const REQUIREMENTS: &str = include_str!("../requirements.txt");
const PACKAGES: &str = include_str!("../browser/package.json");
const LOCK: &str = include_str!("../gstreamer/Cargo.lock");
const HEAD: &str = "| Client | Version | Publishes | Watches |";

/// A row and the tests that prove it.
struct Tested {
    client: &'static str,
    version: Version,
    publishes: &'static str,
    watches: &'static str,
    /// Files below `tests`, and the names of tests in them.
    tests: &'static [(&'static str, &'static str)],
}

enum Version {
    /// Whatever version Debian 12 has; the newest one seen.
    Debian(&'static str),
    /// As `tests/requirements.txt` pins it.
    Python(&'static str),
    /// As `tests/browser/package.json` pins it.
    Npm(&'static str),
    /// As `tests/gstreamer/Cargo.lock` pins it.
    Crate(&'static str),
    /// Contained in a pinned package, as its test checks.
    Within(&'static str, &'static str),
}

impl Version {
    fn text(&self) -> String {
        match self {
            Self::Debian(seen) => format!("Debian 12's ({seen})"),
            Self::Python(package) => python(package),
            Self::Npm(package) => {
                let packages: Value = serde_json::from_str(PACKAGES).unwrap();
                let version = packages["devDependencies"][package].as_str();
                version.unwrap().to_owned()
            }
            Self::Crate(name) => {
                let (_, after) = LOCK.split_once(&format!("name = \"{name}\"\n")).unwrap();
                let version = after.strip_prefix("version = \"").unwrap();
                version.split('"').next().unwrap().to_owned()
            }
            Self::Within(version, package) => {
                format!("{version} (`{package}` {})", python(package))
            }
        }
    }
}

fn python(package: &str) -> String {
    let mut pins = REQUIREMENTS
        .lines()
        .filter_map(|line| line.split_once("=="));
    pins.find(|(name, _)| *name == package)
        .unwrap()
        .1
        .to_owned()
}

const NOTHING: &str = "–";
const ALL: &str = "H264, H265, VP8, VP9, AV1";

const CLIENTS: [Tested; 9] = [
    Tested {
        client: "Chromium",
        version: Version::Debian("156"),
        publishes: "H264, VP8, VP9, AV1",
        watches: "H264, VP8, VP9, AV1",
        tests: &[
            ("browser/codecs.test.js", "Chromium: H264, VP8, VP9 and AV1"),
            (
                "browser/publish.test.js",
                "camera and microphone arrive as they were sent",
            ),
        ],
    },
    Tested {
        client: "Firefox ESR",
        version: Version::Debian("153"),
        publishes: "VP8, VP9, AV1",
        watches: "H264, VP8, VP9, AV1",
        tests: &[
            ("browser/codecs.test.js", "Firefox: VP8, VP9 and AV1"),
            ("browser/firefox.test.js", "Firefox: H264 plays"),
            (
                "browser/firefox.test.js",
                "Firefox: what its publish page sends plays in Firefox and in Chromium, until it stops",
            ),
        ],
    },
    Tested {
        client: "FFmpeg",
        version: Version::Within(super::ffmpeg::VERSION, "imageio-ffmpeg"),
        publishes: "H264",
        watches: NOTHING,
        tests: &[
            ("clients/ffmpeg.rs", "ffmpeg_publishes"),
            ("clients/ffmpeg.rs", "ffmpeg_publishes_to_the_direct_engine"),
        ],
    },
    Tested {
        client: "aiortc",
        version: Version::Python("aiortc"),
        publishes: "H264, VP8",
        watches: "H264, VP8",
        tests: &[
            ("aiortc/mod.rs", "vp8_with_every_srtp_profile"),
            ("aiortc/mod.rs", "h264_to_independent_peers"),
        ],
    },
    Tested {
        client: "GStreamer's webrtcbin",
        version: Version::Debian("1.22"),
        publishes: ALL,
        watches: ALL,
        tests: &[
            ("webrtcbin/matrix.rs", "h264"),
            ("webrtcbin/matrix.rs", "h265"),
            ("webrtcbin/matrix.rs", "vp8"),
            ("webrtcbin/matrix.rs", "vp9"),
            ("webrtcbin/matrix.rs", "av1"),
        ],
    },
    Tested {
        client: "GStreamer's `whipclientsink`, `whepclientsrc`",
        version: Version::Crate("gst-plugin-webrtc"),
        publishes: "H264, VP8",
        watches: "H264, VP8",
        tests: &[
            ("clients/gstreamer.rs", "gst_plugins_rs_with_h264"),
            (
                "clients/gstreamer.rs",
                "gst_plugins_rs_with_vp8_on_the_other_engines",
            ),
        ],
    },
    Tested {
        client: "`@eyevinn/whip-web-client`",
        version: Version::Npm("@eyevinn/whip-web-client"),
        publishes: "VP8",
        watches: NOTHING,
        tests: &[EYEVINN],
    },
    Tested {
        client: "`@eyevinn/webrtc-player`",
        version: Version::Npm("@eyevinn/webrtc-player"),
        publishes: NOTHING,
        watches: "VP8",
        tests: &[EYEVINN],
    },
    Tested {
        client: "`whip-whep` (medooze)",
        version: Version::Npm("whip-whep"),
        publishes: "H264",
        watches: "H264",
        tests: &[(
            "browser/embed.test.js",
            "medooze: whip-whep publishes and watches, and both restart ICE",
        )],
    },
];

const EYEVINN: (&str, &str) = (
    "browser/embed.test.js",
    "Eyevinn: whip-web-client publishes, webrtc-player watches",
);

/// Whether a file has a test of this name that is not skipped.
fn has(file: &str, name: &str) -> bool {
    let path = format!("{}/tests/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    if file.starts_with("browser/") {
        return lines
            .iter()
            .any(|line| line.starts_with(&format!("test('{name}', async")));
    }
    let begins = format!("fn {name}() {{");
    let named = lines.iter().position(|line| *line == begins);
    named.is_some_and(|at| at > 0 && lines[at - 1] == "#[test]")
}

#[test]
fn the_clients_that_are_listed_have_tests() {
    let rows = CLIENTS.map(|tested| {
        for (file, name) in tested.tests {
            assert!(
                has(file, name),
                "{}: no test {name} in {file}",
                tested.client
            );
        }
        let Tested {
            client,
            version,
            publishes,
            watches,
            ..
        } = tested;
        format!(
            "| {client} | {} | {publishes} | {watches} |",
            version.text()
        )
    });
    expect_table(DOCUMENT, HEAD, &rows);
}

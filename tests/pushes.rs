//! Outputs that push a broadcast to another server, each to a real one.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    outputs::{folder, server, status, wait_for_output},
    rtc::{Client, Mode, clip},
    support::{PATIENCE, Server, free_port, wait_for},
};

/// How long a picture may take from a publisher through a push to a viewer of the other server. What
/// waits until it is due comes a second late.
const DELAY_MAX: Duration = Duration::from_millis(600);

/// A program that is ended when it is dropped.
struct Program(Child);

impl Program {
    fn start(mut command: Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Err: it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// FFmpeg, which takes a stream and says how large each picture is.
struct StreamReceiver(Program);

impl StreamReceiver {
    fn start(url: &str) -> Self {
        let mut command = Command::new("ffprobe");
        command
            .args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0"])
            .args(["-show_entries", "frame=width"])
            .arg(url)
            .stdout(Stdio::piped());
        Self(Program::start(command))
    }

    /// The widths of the pictures, once the stream has ended.
    fn widths(mut self) -> Vec<u32> {
        let mut lines = String::new();
        let mut output = self.0.0.stdout.take().unwrap();
        output.read_to_string(&mut lines).unwrap();
        // Side data leaves empty lines.
        let widths = lines.lines().map(|line| line.trim_matches(','));
        let widths = widths.filter(|width| !width.is_empty()).map(str::parse);
        widths.collect::<Result<_, _>>().unwrap()
    }
}

/// The width of each picture in a file, as FFmpeg decodes it.
pub(crate) fn widths(file: &Path) -> Vec<u32> {
    StreamReceiver::start(file.to_str().unwrap()).widths()
}

/// Checks that many pictures 320 pixels wide were followed by many 640 wide.
fn expect_one_change(name: &str, widths: &[u32]) {
    let changes = widths.windows(2).filter(|two| two[0] != two[1]).count();
    assert_eq!(changes, 1, "{name}: {widths:?}");
    for width in [320, 640] {
        let count = widths.iter().filter(|of| **of == width).count();
        assert!(count >= 60, "{name}: {count} of {width}");
    }
}

/// A UDP port that is free at the moment.
fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn wait_for_port(port: u16) {
    wait_for("a server", || TcpStream::connect(("127.0.0.1", port)).ok());
}

/// nginx with its RTMP module, which writes what is pushed to it into FLV files.
fn rtmp_server(folder: &Path) -> (Program, String) {
    let port = free_port();
    let text = include_str!("peers/rtmp.conf")
        .replace("FOLDER", folder.to_str().unwrap())
        .replace("PORT", &port.to_string());
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, text).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(configuration);
    let program = Program::start(command);
    wait_for_port(port);
    (program, format!("rtmp://127.0.0.1:{port}/live/a"))
}

/// GStreamer's own RTSP server, from Python, which writes the picture into this file.
fn rtsp_server(file: &Path) -> (Program, String) {
    let port = free_port();
    let launch = format!(
        // rtspclientsink announces its last pad first.
        "( rtpopusdepay name=depay0 ! fakesink
           rtph264depay name=depay1 ! h264parse config-interval=-1
             ! video/x-h264,stream-format=byte-stream,alignment=au
             ! filesink location={} buffer-mode=unbuffered )",
        file.display()
    );
    let mut command = Command::new("/usr/bin/python3");
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rtsp_server.py");
    command.args([server, &port.to_string(), &launch, "records"]);
    let program = Program::start(command);
    wait_for_port(port);
    (program, format!("rtsp://127.0.0.1:{port}/x"))
}

/// Another Aerial, which writes the picture of its broadcast `a` into this file.
fn whip_server(file: &Path) -> (Server, String) {
    let text = "appsrc name=video ! h264parse config-interval=-1
        ! video/x-h264,stream-format=byte-stream,alignment=au
        ! filesink location=${file} buffer-mode=unbuffered";
    let folder = folder("resized-pushes-far", &[], &[("raw.launch", text)]);
    let config = format!(
        "[broadcasts.a]\noutputs = [\"raw.launch\"]\nvars = {{ file = \"{}\" }}\n",
        file.display()
    );
    let server = server(&folder, &config, &["--timeouts.grace=500ms"]);
    let url = format!("http://{}/whip/a", server.address);
    (server, url)
}

/// The ready-made pushes as files in which each has an address of its own.
fn addressed(urls: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |(name, url): &(&str, &str)| {
        let path = format!("{}/pipelines/{name}.launch", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("${url}"), "{text}");
        (format!("{name}.launch"), text.replace("${url}", url))
    };
    urls.iter().map(text).collect()
}

#[test]
fn a_change_of_resolution_interrupts_no_push() {
    let far = folder("resized-pushes-received", &[], &[]);
    let received = |name: &str| -> PathBuf { far.join(name) };
    let (_nginx, flv) = rtmp_server(&far);
    let (_python, rtp) = rtsp_server(&received("rtsp.h264"));
    let (mut aerial, whip) = whip_server(&received("whip.h264"));
    let srt = format!("srt://127.0.0.1:{}", free_udp_port());
    let listener = StreamReceiver::start(&format!("{srt}?mode=listener"));
    let urls = [
        ("rtmp-push", flv.as_str()),
        ("rtsp-push", &rtp),
        ("srt-push", &srt),
        ("whip-push", &whip),
    ];
    let texts = addressed(&urls);
    let own: Vec<_> = texts
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    let folder = folder("resized-pushes", &[], &own);
    let names: Vec<_> = texts.iter().map(|(name, _)| name).collect();
    let config = format!("[broadcasts.a]\noutputs = {names:?}\n");
    let mut server = server(&folder, &config, &["--timeouts.grace=30s"]);
    let small = Client::live(&server, "a", &clip::H264);
    for (output, _) in urls {
        wait_for_output(&server, "a", output, "running");
    }
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(60);
    server.delete(&small.session).expect(200);
    let large = Client::live(&server, "a", &clip::H264_LARGE);
    viewer.wait_for_frames(90);
    server.delete(&large.session).expect(200);
    for (output, _) in urls {
        let status = status(&server, "a", output).unwrap();
        assert_eq!(status["restarts"], 0, "{status}");
        assert!(status["error"].is_null(), "{status}");
    }
    server.signal("TERM");
    server.wait_for_exit();
    aerial.signal("TERM");
    aerial.wait_for_exit();
    expect_one_change("srt", &listener.widths());
    for file in ["a.flv", "rtsp.h264", "whip.h264"] {
        expect_one_change(file, &widths(&received(file)));
    }
}

#[test]
fn a_broadcast_is_pushed_to_another_server_and_again_when_that_comes_back() {
    let far = Server::start(&[]);
    let folder = folder("whip-push", &["whip-push.launch"], &[]);
    let config = format!(
        "[broadcasts.near]\noutputs = [\"whip-push.launch\"]\n\
         vars = {{ url = \"http://{}/whip/far\" }}\n",
        far.address
    );
    let server = server(&folder, &config, &[]);
    let publisher = Client::live(&server, "near", &clip::H264);
    far.wait_for_state("far", "live");
    wait_for_output(&server, "near", "whip-push", "running");
    let viewer = Client::watch(&far, "far");
    viewer.wait_for_frames(60);
    viewer.wait_for_all();
    assert_eq!(far.count("publishers"), 1);
    assert!(delay(&publisher, &viewer) < DELAY_MAX);
    publisher.set(Mode::Normal);
    viewer.wait_for_frames(10);

    // It says goodbye when there is nothing left to push.
    server.delete(&publisher.session).expect(200);
    wait_for("end of the push", || {
        (far.count("publishers") == 0).then_some(())
    });
    drop(viewer);
    drop(far);
    // Without a server it is retried, and nothing else is affected.
    let _publisher = Client::live(&server, "near", &clip::H264);
    let near = Client::watch(&server, "near");
    wait_for("failure", || {
        let failed = status(&server, "near", "whip-push")?;
        failed["error"].is_string().then_some(())
    });
    near.wait_for_frames(30);
    near.wait_for_all();
}

/// How long after its publisher has fallen silent a viewer still gets pictures.
fn delay(publisher: &Client, viewer: &Client) -> Duration {
    publisher.set(Mode::Mute);
    let silent = Instant::now();
    let (mut seen, mut last) = (viewer.seen_pictures(), Duration::ZERO);
    while silent.elapsed() < last + 2 * DELAY_MAX {
        let now = viewer.seen_pictures();
        if now > seen {
            (seen, last) = (now, silent.elapsed());
        }
        thread::sleep(Duration::from_millis(5));
    }
    last
}

/// The first offer that is posted here, which is refused.
fn offer(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    wait_for("an offer", || {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).unwrap();
        request.extend_from_slice(&part[..length]);
        let text = std::str::from_utf8(&request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        (length == Some(body.len())).then_some(())
    });
    let refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(refusal).unwrap();
    String::from_utf8(request).unwrap()
}

#[test]
fn a_whip_push_offers_to_send_lost_packets_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder("whip-push-offer", &["whip-push.launch"], &[]);
    let address = listener.local_addr().unwrap();
    let config = format!(
        "[broadcasts.a]\noutputs = [\"whip-push.launch\"]\nvars = {{ url = \"http://{address}/\" }}\n"
    );
    let server = server(&folder, &config, &[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let offer = offer(&listener);
    for line in ["a=rtcp-fb:96 nack\r\n", "a=rtcp-fb:96 nack pli\r\n"] {
        assert!(offer.contains(line), "{offer}");
    }
    assert!(offer.contains(" rtx/90000\r\n"), "{offer}");
}

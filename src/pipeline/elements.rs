//! Which Debian package has which element, and which elements Aerial always needs.

use gst::prelude::*;
use gstreamer as gst;

use super::Error;

/// Elements needed whatever the pipelines' texts contain.
const REQUIRED: &str = "\
     appsink appsrc capsfilter rtpbin rtpjitterbuffer webrtcbin nicesrc nicesink dtlsenc dtlsdec \
     srtpenc srtpdec h264parse h265parse vp9parse av1parse rtph264pay rtph265pay rtpvp8pay \
     rtpvp9pay rtpav1pay rtpopuspay rtph264depay rtph265depay rtpvp8depay rtpvp9depay rtpav1depay \
     rtpopusdepay";

/// Debian 12: package, and the elements of it that pipelines are likely to name.
const PACKAGES: &[(&str, &str)] = &[
    (
        "libgstreamer1.0-0",
        "capsfilter queue queue2 tee identity fakesink fakesrc filesrc filesink fdsrc fdsink \
         valve input-selector output-selector typefind multiqueue clocksync concat funnel \
         streamiddemux",
    ),
    (
        "gstreamer1.0-plugins-base",
        "appsink appsrc videotestsrc audiotestsrc videoconvert videoscale videorate audioconvert \
         audioresample audiorate audiomixer opusenc opusdec vorbisenc vorbisdec theoraenc \
         theoradec oggmux oggdemux decodebin decodebin3 uridecodebin uridecodebin3 parsebin \
         playbin playbin3 encodebin volume tcpserversink tcpclientsrc compositor \
         videoconvertscale giosrc giosink ",
    ),
    (
        "gstreamer1.0-plugins-good",
        "rtpbin rtpjitterbuffer rtph264pay rtph265pay rtpvp8pay rtpvp9pay rtpopuspay rtph264depay \
         rtph265depay rtpvp8depay rtpvp9depay rtpopusdepay rtspsrc udpsrc udpsink vp8enc vp8dec \
         vp9enc vp9dec qtdemux mp4mux qtmux matroskamux matroskademux webmmux flvmux flvdemux \
         splitmuxsink multifilesrc multifilesink jpegenc jpegdec pngenc pngdec v4l2src \
         v4l2h264enc ximagesrc souphttpsrc pulsesrc pulsesink level videocrop videoflip imagefreeze \
         wavenc wavparse lamemp3enc mpg123audiodec autoaudiosrc autovideosrc hlsdemux2 dashdemux2 \
         deinterlace aacparse mpegaudioparse avidemux rtpulpfecenc shout2send cutter",
    ),
    (
        "gstreamer1.0-plugins-bad",
        "webrtcbin dtlsenc dtlsdec srtpenc srtpdec h264parse h265parse vp9parse av1parse av1enc \
         av1dec x265enc openh264enc openh264dec opusparse hlssink hlssink2 hlsdemux mpegtsmux \
         tsdemux tsparse srtsrc srtsink srtserversrc srtclientsrc rtmpsrc rtmpsink rtmp2src \
         rtmp2sink voaacenc faad dashsink ristsrc ristsink \
         kmssink waylandsink nvh264enc vah264enc msdkh264enc fakevideosink fakeaudiosink \
         timecodestamper codectimestamper h264timestamper mpegpsdemux proxysrc proxysink \
         intervideosrc zbar bs2b curlhttpsink",
    ),
    (
        "gstreamer1.0-plugins-ugly",
        "x264enc asfdemux a52dec mpeg2dec rmdemux",
    ),
    ("gstreamer1.0-nice", "nicesrc nicesink"),
    (
        "gstreamer1.0-x",
        "clockoverlay timeoverlay textoverlay textrender ximagesink",
    ),
    (
        "gstreamer1.0-gl",
        "glupload gldownload glimagesink gltestsrc glshader",
    ),
    ("gstreamer1.0-alsa", "alsasrc alsasink"),
    ("gstreamer1.0-rtsp", "rtspclientsink"),
    ("gstreamer1.0-fdkaac", "fdkaacenc fdkaacdec"),
    ("gstreamer1.0-wpe", "wpesrc"),
    (
        "gstreamer1.0-vaapi",
        "vaapih264enc vaapih265enc vaapidecodebin vaapipostproc",
    ),
    ("gstreamer1.0-pipewire", "pipewiresrc pipewiresink"),
    ("gstreamer1.0-libcamera", "libcamerasrc"),
    (
        "gstreamer1.0-libav",
        "avdec_h264 avdec_h265 avdec_aac avenc_aac avdec_vp8 avdec_vp9 avdec_av1 avdec_mp3 \
         avdec_ac3 avdec_opus avmux_flv",
    ),
];

/// The Debian package that has an element, if it is known.
pub(crate) fn package(element: &str) -> Option<&'static str> {
    PACKAGES
        .iter()
        .find(|(_, names)| names.split_ascii_whitespace().any(|name| name == element))
        .map(|&(package, _)| package)
}

/// The error for an element that does not exist.
pub(crate) fn missing(element: &str) -> Error {
    Error::MissingElement {
        element: element.to_owned(),
        package: package(element).map(Into::into),
    }
}

/// Checks that every element Aerial always needs exists.
pub(crate) fn check() -> Result<(), Error> {
    match REQUIRED
        .split_ascii_whitespace()
        .find(|name| gst::ElementFactory::find(name).is_none())
    {
        Some(name) => Err(missing(name)),
        None => Ok(()),
    }
}

/// Makes an element with properties given as text, as gst-launch would.
pub(crate) fn make(
    factory: &'static str,
    properties: &[(&str, &str)],
) -> Result<gst::Element, Error> {
    let mut builder = gst::ElementFactory::make(factory);
    for (name, value) in properties {
        builder = builder.property_from_str(name, value);
    }
    builder.build().map_err(|_| missing(factory))
}

/// The elements of this factory in a bin or pipeline, and in the bins inside it.
pub(crate) fn of_factory(
    bin: &gst::Bin,
    factory: &'static str,
) -> impl Iterator<Item = gst::Element> + use<> {
    bin.iterate_recurse()
        .into_iter()
        .flatten()
        .filter(move |element: &gst::Element| {
            element
                .factory()
                .is_some_and(|made_by| made_by.name() == factory)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_required_element_is_there_and_its_package_is_known() {
        crate::pipeline::init().unwrap();
        for element in REQUIRED.split_ascii_whitespace() {
            let linked_in = element.starts_with("rtpav1");
            assert!(linked_in || package(element).is_some(), "{element}");
        }
    }

    #[test]
    fn missing_element_names_the_package() {
        let text = missing("x264enc").to_string();
        assert!(text.contains("x264enc"), "{text}");
        assert!(text.contains("gstreamer1.0-plugins-ugly"), "{text}");
        assert!(missing("nonsense").to_string().contains("nonsense"));
    }
}

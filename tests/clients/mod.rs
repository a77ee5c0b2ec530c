//! Programs that people publish and watch with. Browsers are in `tests/browser`.

mod ffmpeg;
mod gstreamer;
mod table;

//! Pipeline files: from the operator's folder, or the built-in ones.

use std::{borrow::Cow, ffi::OsStr, fs, path::Path};

use rust_embed::RustEmbed;

use super::{Error, ValueOrigin};
use crate::plan::{PipelineFile, SlateFile};

#[derive(RustEmbed)]
#[folder = "pipelines/"]
struct BuiltIn;

/// Pipelines that make media viewers can decode, best first.
const AUTOMATIC: [&str; 7] = [
    "h264.launch",
    "vp8.launch",
    "opus.launch",
    "h264-small.launch",
    "vp9.launch",
    "av1.launch",
    "h265.launch",
];
/// Shows a picture.
const PICTURE: &str = "picture.launch";

/// Reads `file` from `directory`, or from the built-in pipelines.
pub(super) fn read(
    directory: Option<&Path>,
    file: &str,
    origin: &ValueOrigin,
) -> Result<PipelineFile, Error> {
    let description = match directory {
        Some(directory) => read_from(directory, file, origin)?,
        None => BuiltIn::get(file)
            .map(|embedded| String::from_utf8_lossy(&embedded.data).into_owned())
            .ok_or_else(|| missing(file, origin, "the built-in pipelines", BuiltIn::iter()))?,
    };
    Ok(PipelineFile {
        file: file.to_owned(),
        text: description.into(),
    })
}

/// The built-in pipelines that make what viewers can decode.
pub(super) fn automatic() -> Vec<PipelineFile> {
    AUTOMATIC.into_iter().filter_map(built_in).collect()
}

fn built_in(file: &str) -> Option<PipelineFile> {
    let embedded = BuiltIn::get(file)?;
    Some(PipelineFile {
        file: file.to_owned(),
        text: String::from_utf8_lossy(&embedded.data).into(),
    })
}

/// Reads a slate: a pipeline file, or a picture from the same folder or elsewhere.
pub(super) fn slate(
    directory: Option<&Path>,
    file: &str,
    origin: &ValueOrigin,
) -> Result<SlateFile, Error> {
    let ending = Path::new(file).extension().and_then(OsStr::to_str);
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    if !["png", "jpg", "jpeg"].contains(&ending.as_str()) {
        return Ok(SlateFile {
            file: read(directory, file, origin)?,
            picture: None,
        });
    }
    let picture = directory
        .map(|directory| directory.join(file))
        .filter(|path| path.is_file());
    let picture = picture.unwrap_or_else(|| file.into());
    fs::File::open(&picture).map_err(|cause| Error::Unreadable {
        path: picture.clone(),
        cause,
    })?;
    Ok(SlateFile {
        file: read(None, PICTURE, origin)?,
        picture: Some(picture.display().to_string()),
    })
}

fn read_from(directory: &Path, file: &str, origin: &ValueOrigin) -> Result<String, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| Error::Unreadable { path, cause }
    };
    let known: Vec<_> = fs::read_dir(directory)
        .map_err(unreadable(directory))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".launch"))
        .collect();
    // Only names that the folder itself lists: a name cannot point outside it.
    if !known.iter().any(|name| name == file) {
        let known = known.into_iter().map(Cow::Owned);
        return Err(missing(
            file,
            origin,
            &directory.display().to_string(),
            known,
        ));
    }
    let path = directory.join(file);
    fs::read_to_string(&path).map_err(unreadable(&path))
}

fn missing(
    file: &str,
    origin: &ValueOrigin,
    place: &str,
    known: impl Iterator<Item = Cow<'static, str>>,
) -> Error {
    let mut known: Vec<_> = known.collect();
    known.sort();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Error::NoPipeline {
        origin: origin.clone(),
        file: file.to_owned(),
        place: place.to_owned(),
        known,
    }
}

//! Pipeline files: from the operator's folder, or the built-in ones.

use std::{borrow::Cow, fs, path::Path};

use rust_embed::RustEmbed;

use super::{Error, Origin};
use crate::broadcast::Text;

#[derive(RustEmbed)]
#[folder = "pipelines/"]
#[include = "*.launch"]
struct BuiltIn;

/// Reads `file` from `directory`, or from the built-in pipelines.
pub(super) fn read(directory: Option<&Path>, file: &str, origin: &Origin) -> Result<Text, Error> {
    let description = match directory {
        Some(directory) => read_from(directory, file, origin)?,
        None => BuiltIn::get(file)
            .map(|embedded| String::from_utf8_lossy(&embedded.data).into_owned())
            .ok_or_else(|| missing(file, origin, "the built-in pipelines", BuiltIn::iter()))?,
    };
    Ok(Text {
        file: file.to_owned(),
        text: description.into(),
    })
}

fn read_from(directory: &Path, file: &str, origin: &Origin) -> Result<String, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Unreadable { path, source }
    };
    let entries = fs::read_dir(directory).map_err(unreadable(directory))?;
    let known: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".launch"))
        .collect();
    // Only names that the folder itself lists: a source cannot point out of it.
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
    origin: &Origin,
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

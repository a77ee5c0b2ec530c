//! Pipeline files as they are in the configuration.

use std::sync::Arc;

/// A pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineFile {
    /// Name of the file in the pipelines folder.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
}

impl PipelineFile {
    /// The file's name without `.launch`: the pipeline's name in log and API.
    pub fn name(&self) -> &str {
        self.file.strip_suffix(".launch").unwrap_or(&self.file)
    }
}

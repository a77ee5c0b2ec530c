//! All code of the server, and where the things it names are defined.

use super::names::{Names, Path, Source};

/// A chain of re-exports longer than this is a circle.
const STEPS_MAX: usize = 32;

/// Every module's names.
pub(super) struct Code {
    source: Source,
    files: Vec<Path>,
}

impl Code {
    /// `files` are module paths and texts.
    pub(super) fn read(files: &[(Path, String)]) -> Self {
        let mut source = Source::default();
        for (module, text) in files {
            source.read(text, module);
        }
        Self {
            source,
            files: files.iter().map(|(module, _)| module.clone()).collect(),
        }
    }

    /// The modules that are compiled into the server.
    pub(super) fn modules(&self) -> impl Iterator<Item = (&Path, &Names)> {
        let tests = &self.source.test_modules;
        self.source
            .modules
            .iter()
            .filter(|(module, _)| !tests.iter().any(|test| module.starts_with(test)))
    }

    /// The file that a path leads into.
    pub(super) fn file(&self, path: &[String]) -> Option<&Path> {
        self.files
            .iter()
            .filter(|file| path.starts_with(file))
            .max_by_key(|file| file.len())
    }

    fn knows(&self, path: &[String]) -> bool {
        self.files.iter().any(|file| file == path) || self.source.modules.contains_key(path)
    }

    /// The path from the root of the item that `module` names, through imports and re-exports;
    /// `None` for names from outside.
    pub(super) fn resolve(&self, module: &[String], path: &[String]) -> Option<Path> {
        let modules = &self.source.modules;
        let (mut here, mut rest) = self.begin(module, path)?;
        for _ in 0..STEPS_MAX {
            let Some((name, after)) = rest.split_first() else {
                return Some(here);
            };
            let mut child = here.clone();
            child.push(name.clone());
            let import = modules.get(&here).and_then(|names| names.imports.get(name));
            if self.knows(&child) {
                (here, rest) = (child, after.to_vec());
            } else if let Some([import]) = import.map(Vec::as_slice)
                && let Some((place, mut path)) = self.begin(&here, import)
                && [place.as_slice(), &path].concat() != child
            {
                path.extend_from_slice(after);
                (here, rest) = (place, path);
            } else {
                return Some([here, rest].concat());
            }
        }
        Some([here, rest].concat())
    }

    /// Where a path begins, and the rest of it.
    fn begin(&self, module: &[String], path: &[String]) -> Option<(Path, Path)> {
        let mut here = module.to_vec();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" | "aerial" => return Some((Vec::new(), rest[1..].to_vec())),
            "self" => return Some((here, rest[1..].to_vec())),
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    here.pop();
                    rest = &rest[1..];
                }
                return Some((here, rest.to_vec()));
            }
            _ => {}
        }
        let mut child = here.clone();
        child.push(rest[0].clone());
        if self.knows(&child) {
            return Some((here, rest.to_vec()));
        }
        let names = self.source.modules.get(module)?;
        // A name that is imported as itself (`use serde;`) is a library.
        let imports = names.imports.get(&rest[0])?;
        let import = imports.iter().find(|import| import[0] != rest[0])?;
        let (place, mut path) = self.begin(module, import)?;
        path.extend_from_slice(&rest[1..]);
        Some((place, path))
    }
}

//! The names in a source file: every path, and every word of its code (comments and strings are not
//! code). Modules compiled only for tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

pub(super) type Path = Vec<String>;

/// One module's code.
#[derive(Default, Debug)]
pub(super) struct Names {
    /// Paths as written, with `use` trees expanded.
    pub(super) paths: Vec<Path>,
    /// Names that `use` introduces: name to path, as written.
    pub(super) imports: BTreeMap<String, Vec<Path>>,
    /// Types, traits and aliases that other files can name.
    pub(super) types: Vec<String>,
    /// Every identifier.
    pub(super) words: BTreeSet<String>,
}

/// The modules found in one file by their paths.
#[derive(Default, Debug)]
pub(super) struct Source {
    pub(super) modules: BTreeMap<Path, Names>,
    /// Modules in files of their own that only tests see.
    pub(super) test_modules: Vec<Path>,
}

impl Source {
    pub(super) fn read(&mut self, text: &str, module: &[String]) {
        let tokens: TokenStream = text.parse().expect("the file is Rust");
        self.walk(&tokens.into_iter().collect::<Vec<_>>(), module);
    }

    fn walk(&mut self, tokens: &[TokenTree], module: &[String]) {
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            if let Some(name) = visible_type(rest) {
                let names = self.modules.entry(module.to_vec()).or_default();
                names.types.push(name);
            }
            at += if let Some(length) = self.test_item(rest, module) {
                length
            } else if word(rest, 0).as_deref() == Some("use") {
                self.import(rest, module)
            } else if let Some(length) = self.inline_module(rest, module) {
                length
            } else {
                self.path_or_group(rest, module)
            };
        }
    }

    /// `#[cfg(test)]` and its item; the length of both. Items that other conditions include are not
    /// part of the server either.
    fn test_item(&mut self, tokens: &[TokenTree], module: &[String]) -> Option<usize> {
        let attribute = |at: usize| match (tokens.get(at)?, tokens.get(at + 1)?) {
            (TokenTree::Punct(hash), TokenTree::Group(group)) if hash.as_char() == '#' => {
                Some(group.stream().to_string().replace(' ', ""))
            }
            _ => None,
        };
        let condition = attribute(0)?;
        if condition != "cfg(test)" && !condition.starts_with("cfg(any(test,") {
            return None;
        }
        let mut at = 2;
        while attribute(at).is_some() {
            at += 2;
        }
        if word(tokens, at)? == "pub" {
            at += 1 + usize::from(matches!(tokens.get(at + 1), Some(TokenTree::Group(_))));
        }
        let item = word(tokens, at)?;
        // Anything else (a field, an arm) counts as code.
        if ![
            "mod", "fn", "use", "impl", "struct", "enum", "const", "static",
        ]
        .contains(&&*item)
        {
            return None;
        }
        if item == "mod" && is_punct(tokens.get(at + 2), ';') {
            let mut path = module.to_vec();
            path.push(word(tokens, at + 1)?);
            self.test_modules.push(path);
        }
        let body = |token: &TokenTree| match token {
            TokenTree::Group(group) => item != "use" && group.delimiter() == Delimiter::Brace,
            other => is_punct(Some(other), ';'),
        };
        let end = tokens[at..].iter().position(body)?;
        Some(at + end + 1)
    }

    fn inline_module(&mut self, tokens: &[TokenTree], module: &[String]) -> Option<usize> {
        let name = (word(tokens, 0)? == "mod").then(|| word(tokens, 1))??;
        let TokenTree::Group(body) = tokens.get(2)? else {
            return None;
        };
        let inner: Vec<_> = module.iter().cloned().chain([name]).collect();
        self.walk(&body.stream().into_iter().collect::<Vec<_>>(), &inner);
        Some(3)
    }

    /// A whole `use` item.
    fn import(&mut self, tokens: &[TokenTree], module: &[String]) -> usize {
        let length = tokens.iter().position(|token| is_punct(Some(token), ';'));
        let length = length.unwrap_or(tokens.len());
        let names = self.modules.entry(module.to_vec()).or_default();
        collect_words(&tokens[..length], &mut names.words);
        tree(&tokens[1..length], &[], names);
        length + 1
    }

    fn path_or_group(&mut self, tokens: &[TokenTree], module: &[String]) -> usize {
        if let TokenTree::Group(group) = &tokens[0] {
            self.walk(&group.stream().into_iter().collect::<Vec<_>>(), module);
            return 1;
        }
        let mut path: Path = word(tokens, 0).into_iter().collect();
        let mut length = 1;
        while !path.is_empty() && is_separator(&tokens[length..]) {
            let Some(next) = word(tokens, length + 2) else {
                break;
            };
            path.push(next);
            length += 3;
        }
        let names = self.modules.entry(module.to_vec()).or_default();
        names.words.extend(path.iter().cloned());
        if path.len() > 1 {
            names.paths.push(path);
        }
        length
    }
}

/// The name of a type that is declared here and not private.
fn visible_type(tokens: &[TokenTree]) -> Option<String> {
    if word(tokens, 0)? != "pub" {
        return None;
    }
    let at = 1 + usize::from(matches!(tokens.get(1), Some(TokenTree::Group(_))));
    let item = word(tokens, at)?;
    ["struct", "enum", "trait", "type", "union"]
        .contains(&&*item)
        .then(|| word(tokens, at + 1))?
}

/// Expands a `use` tree: `a::{b, c as d}` is `a::b` and `a::c`.
fn tree(tokens: &[TokenTree], before: &[String], names: &mut Names) {
    let mut path = before.to_vec();
    let mut name = None;
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(ident) if ident == "as" => {
                name = word(tokens, at + 1);
                at += 1;
            }
            TokenTree::Ident(ident) if ident == "self" && !path.is_empty() => {}
            TokenTree::Ident(ident) => path.push(plain(&ident.to_string())),
            TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".into()),
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for branch in inner.split(|token| is_punct(Some(token), ',')) {
                    if !branch.is_empty() {
                        tree(branch, &path, names);
                    }
                }
                return;
            }
            _ => {}
        }
        at += 1;
    }
    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
    names.imports.entry(name).or_default().push(path.clone());
    names.paths.push(path);
}

fn collect_words(tokens: &[TokenTree], words: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                words.insert(plain(&ident.to_string()));
            }
            TokenTree::Group(group) => {
                collect_words(&group.stream().into_iter().collect::<Vec<_>>(), words);
            }
            _ => {}
        }
    }
}

fn word(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at)? {
        TokenTree::Ident(ident) => Some(plain(&ident.to_string())),
        _ => None,
    }
}

fn plain(ident: &str) -> String {
    ident.trim_start_matches("r#").to_owned()
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    is_punct(tokens.first(), ':') && is_punct(tokens.get(1), ':')
}

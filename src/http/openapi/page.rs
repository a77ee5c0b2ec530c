//! The API's document as a page: plain HTML, readable without a script.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

use crate::http::pages::escape;

/// Methods in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Where the shapes of documents are in the document.
const SCHEMAS: &str = "#/components/schemas/";

const HEAD: &str = r#"<!doctype html>
<html lang="en">
  <head>
    <!-- part head -->
    <link rel="stylesheet" href="{root}css/api.css" />
  </head>
  <body>
    <header class="head">
      <a class="brand" href="{root}">{site.name}</a>
    </header>
    <main class="api">
"#;
const END: &str = "    </main>\n  </body>\n</html>\n";

/// The page.
pub(super) fn of(document: &OpenApi) -> String {
    // The document has been made from the same types: it is JSON.
    let document = serde_json::to_value(document).unwrap_or_default();
    let info = at(&document, "/info");
    let mut page = format!(
        "{HEAD}<h1>API</h1>\n<p>{}</p>\n<p>Version {}. <a href=\"openapi.json\">openapi.json</a></p>\n",
        prose(&info["description"]),
        prose(&info["version"])
    );
    let groups = by_tag(&document);
    for tag in at(&document, "/tags").as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        let operations = groups.get(name).map(Vec::as_slice).unwrap_or_default();
        add(
            &mut page,
            &format!(
                "<section>\n<h2 id=\"{name}\">{name}</h2>\n<p>{}</p>\n",
                prose(&tag["description"])
            ),
        );
        for operation in operations {
            operation.write(&mut page);
        }
        add(&mut page, "</section>\n");
    }
    add(&mut page, "<section>\n<h2 id=\"schemas\">Documents</h2>\n");
    for (name, schema) in object(at(&document, "/components/schemas")) {
        add(
            &mut page,
            &format!(
                "<article id=\"schema-{name}\">\n<h3>{name}</h3>\n<p>{}</p>\n",
                prose(&schema["description"])
            ),
        );
        members(&mut page, schema);
        add(&mut page, "</article>\n");
    }
    add(&mut page, "</section>\n");
    page + END
}

struct Shown<'a> {
    path: &'a str,
    method: &'a str,
    /// Those of the path.
    parameters: &'a Value,
    operation: &'a Value,
}

/// Operations by their first tag, in the order of the document.
fn by_tag(document: &Value) -> BTreeMap<&str, Vec<Shown<'_>>> {
    let mut groups: BTreeMap<&str, Vec<Shown<'_>>> = BTreeMap::new();
    for (path, item) in object(&document["paths"]) {
        for method in METHODS {
            let operation = &item[method];
            let Some(tag) = at(operation, "/tags/0").as_str() else {
                continue;
            };
            groups.entry(tag).or_default().push(Shown {
                path,
                method,
                parameters: &item["parameters"],
                operation,
            });
        }
    }
    groups
}

impl Shown<'_> {
    fn write(&self, page: &mut String) {
        let Self {
            path,
            method,
            operation,
            ..
        } = self;
        let id = operation["operationId"].as_str().unwrap_or_default();
        let method = method.to_uppercase();
        add(
            page,
            &format!(
                "<article id=\"{id}\">\n<h3><span class=\"method\">{method}</span> <code>{path}</code></h3>\n<p>{}</p>\n",
                prose(&operation["summary"])
            ),
        );
        if operation["description"].is_string() {
            add(
                page,
                &format!("<p>{}</p>\n", prose(&operation["description"])),
            );
        }
        if let Some(right) = at(operation, "/security/0/token/0").as_str() {
            add(
                page,
                &format!("<p>Needs the right <code>{right}</code>.</p>\n"),
            );
        }
        self.write_parameters(page);
        if operation["requestBody"].is_object() {
            add(page, "<h4>Body</h4>\n<ul>\n");
            contents(page, &operation["requestBody"]);
            add(page, "</ul>\n");
        }
        add(page, "<h4>Answers</h4>\n<ul>\n");
        for (status, response) in object(&operation["responses"]) {
            add(
                page,
                &format!(
                    "<li><code>{status}</code> {}</li>\n",
                    prose(&response["description"])
                ),
            );
            if status.starts_with('2') {
                contents(page, response);
            }
        }
        add(page, "</ul>\n</article>\n");
    }

    fn write_parameters(&self, page: &mut String) {
        let lists = [self.parameters, &self.operation["parameters"]];
        let all: Vec<_> = lists
            .iter()
            .filter_map(|list| list.as_array())
            .flatten()
            .collect();
        if all.is_empty() {
            return;
        }
        add(page, "<h4>Parameters</h4>\n<ul>\n");
        for parameter in all {
            add(
                page,
                &format!(
                    "<li><code>{}</code> ({}) {}</li>\n",
                    prose(&parameter["name"]),
                    prose(&parameter["in"]),
                    prose(&parameter["description"])
                ),
            );
        }
        add(page, "</ul>\n");
    }
}

/// The types of a body.
fn contents(page: &mut String, body: &Value) {
    for (kind, content) in object(&body["content"]) {
        let kind = escape(kind);
        add(
            page,
            &format!(
                "<li><code>{kind}</code>: {}</li>\n",
                shape(&content["schema"])
            ),
        );
    }
}

/// The members of an object, or the values of a word.
fn members(page: &mut String, schema: &Value) {
    let parts = ["allOf", "anyOf", "oneOf"];
    for part in parts
        .iter()
        .filter_map(|parts| schema[*parts].as_array())
        .flatten()
    {
        if part["$ref"].is_string() {
            add(page, &format!("<p>With all of {}</p>\n", shape(part)));
        } else {
            members(page, part);
        }
    }
    let properties = object(&schema["properties"]);
    if properties.is_empty() {
        if schema["enum"].is_array() {
            add(page, &format!("<p>{}</p>\n", shape(schema)));
        }
        return;
    }
    add(page, "<ul>\n");
    for (name, member) in properties {
        let (name, about) = (escape(name), prose(&member["description"]));
        add(
            page,
            &format!("<li><code>{name}</code>: {}. {about}</li>\n", shape(member)),
        );
    }
    add(page, "</ul>\n");
}

/// A type in a few words.
fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix(SCHEMAS))
    {
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("<code>{}</code>", escape(word)))
            .collect();
        return words.join(", ");
    }
    for parts in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[parts].as_array() {
            let parts: Vec<_> = parts.iter().map(shape).collect();
            return parts.join(" or ");
        }
    }
    if schema["items"].is_object() {
        return format!("list of {}", shape(&schema["items"]));
    }
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        _ => "any value".to_owned(),
    }
}

/// Text with `code`.
fn prose(text: &Value) -> String {
    let text = escape(text.as_str().unwrap_or_default());
    let mut parts = text.split('`');
    let mut out = parts.next().unwrap_or_default().to_owned();
    while let Some(code) = parts.next() {
        let after = parts.next().unwrap_or_default();
        add(&mut out, &format!("<code>{code}</code>{after}"));
    }
    out
}

/// What is at this place; nothing if there is no such place.
fn at<'a>(value: &'a Value, place: &str) -> &'a Value {
    value.pointer(place).unwrap_or(&Value::Null)
}

fn object(value: &Value) -> &Map<String, Value> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&EMPTY)
}

fn add(page: &mut String, text: &str) {
    page.push_str(text);
}

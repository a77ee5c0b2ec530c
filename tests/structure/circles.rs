//! Circles: modules that name each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::{code::Code, names::Path};

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Groups of rooms (the folders and files of `src`) that need each other.
pub(super) fn between_rooms(code: &Code) -> Vec<Vec<String>> {
    circles(&graph(code, |file| file.first().cloned()))
}

/// Groups of files that need each other. Names that a file takes from the `mod.rs` above it do not
/// count: that is shared by the whole folder.
pub(super) fn between_files(code: &Code) -> Vec<Vec<String>> {
    let mut graph = graph(code, |file| Some(file.join("::")));
    for (file, others) in &mut graph {
        others.retain(|other| !file.starts_with(&format!("{other}::")) && !other.is_empty());
    }
    circles(&graph)
}

/// Which node names which; `node` groups files.
fn graph(code: &Code, node: impl Fn(&Path) -> Option<String>) -> Graph {
    let mut graph = Graph::new();
    for (module, names) in code.modules() {
        let Some(from) = code.file(module).and_then(&node) else {
            continue;
        };
        let others = graph.entry(from.clone()).or_default();
        let targets = names
            .paths
            .iter()
            .filter_map(|path| code.resolve(module, path));
        others.extend(
            targets
                .filter_map(|target| node(code.file(&target)?))
                .filter(|to| *to != from),
        );
    }
    graph
}

/// The groups of more than one node in which every node reaches every other one.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: Graph = graph
        .keys()
        .map(|node| (node.clone(), reachable(graph, node)))
        .collect();
    let reaches = |from: &str, to: &str| reach.get(from).is_some_and(|nodes| nodes.contains(to));
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for node in graph.keys().filter(|node| reaches(node, node)) {
        let group = graph
            .keys()
            .filter(|other| reaches(node, other) && reaches(other, node));
        groups.insert(group.cloned().collect());
    }
    groups.into_iter().collect()
}

/// Everything that can be reached from a node in one step or more.
fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(node) = open.pop() {
        for next in graph.get(&node).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

//! Pages and static files.

use crate::support::{Server, aerial, output};

#[test]
fn pages() {
    let server = Server::start(&[]);
    for path in ["/", "/watch/demo", "/publish/", "/publish/demo"] {
        let reply = server.get(path).expect(200);
        assert_eq!(
            reply.header("content-type"),
            Some("text/html; charset=utf-8"),
            "{path}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-cache"));
        assert!(reply.text().starts_with("<!doctype html>"), "{path}");
        assert!(
            server
                .request("HEAD", path, &[], "")
                .expect(200)
                .body
                .is_empty()
        );
    }
    for (path, target) in [("/publish?a", "publish/?a"), ("/watch/demo/", "../demo")] {
        let reply = server.get(path).expect(308);
        assert_eq!(reply.header("location"), Some(target));
    }
    for path in [
        "/watch/..",
        "/watch/.x",
        "/publish/a/b",
        "/index.html",
        "/nothing",
    ] {
        server.get(path).expect(404);
    }
    server.request("POST", "/", &[], "").expect(405);
}

#[test]
fn people_at_a_wrong_address_get_a_page_and_programs_a_problem() {
    let server = Server::start(&[]);
    let as_person = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for (path, target) in [("/demo", "watch/demo"), ("/demo/?a=1", "../watch/demo?a=1")] {
        let reply = server.request("GET", path, &as_person, "").expect(307);
        assert_eq!(reply.header("location"), Some(target));
        server.get(path).expect(404);
    }
    for (path, root) in [
        ("/a/b/c", "../../"),
        ("/%ED%95%9C", "./"),
        ("/watch/.x", "../"),
    ] {
        let page = server.request("GET", path, &as_person, "");
        assert_eq!(page.status, 404, "{path}");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let link = format!("href=\"{root}\"");
        assert!(page.text().contains(&link), "{path}: {}", page.text());
        let problem = server.get(path).expect(404);
        let kind = problem.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{path}");
    }
    server.request("POST", "/a/b/c", &as_person, "").expect(404);
}

#[test]
fn files_are_compressed_and_kept_under_their_version() {
    let server = Server::start(&[]);
    let page = server.get("/watch/demo").expect(200);
    let page = page.text();
    let (_, rest) = page.split_once("src=\"../").expect("a module");
    let (module, _) = rest.split_once('"').unwrap();
    assert!(
        module.starts_with("v/") && module.ends_with("/js/watch.js"),
        "{module}"
    );
    let path = format!("/{module}");
    let plain = server.get(&path).expect(200);
    let immutable = Some("public, max-age=31536000, immutable");
    assert_eq!(plain.header("cache-control"), immutable);
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    for (accepted, coding) in [("gzip, deflate, br", "br"), ("gzip", "gzip")] {
        let headers = [("Accept-Encoding", accepted)];
        let packed = server.request("GET", &path, &headers, "").expect(200);
        assert_eq!(packed.header("content-encoding"), Some(coding));
        assert!(packed.body.len() * 2 < plain.body.len(), "{coding}");
        assert_ne!(packed.etag(), plain.etag());
        let headers = [
            ("Accept-Encoding", accepted),
            ("If-None-Match", &packed.etag()),
        ];
        server.request("GET", &path, &headers, "").expect(304);
    }
    // The files of an older page.
    let old = path.replace("/v/", "/v/0");
    assert_eq!(
        server.get(&old).expect(200).header("cache-control"),
        Some("no-cache")
    );
    let picture = [("Accept-Encoding", "br")];
    let picture = server.request("GET", "/card.png", &picture, "").expect(200);
    assert_eq!(picture.header("content-encoding"), None);
    for path in ["/favicon.ico", "/touch-icon.png", "/manifest.webmanifest"] {
        server.get(path).expect(200);
    }
    let languages = server.get("/js/words/languages.js").expect(200);
    assert_eq!(languages.text(), "export default [\"en\",\"ko\"];\n");
}

#[test]
fn other_sites_learn_what_a_link_shows() {
    let server = Server::start(&["--http.public_url", "https://live.example"]);
    let page = server.get("/watch/demo").expect(200);
    let page = page.text();
    for part in [
        "<meta property=\"og:title\" content=\"demo\" />",
        "<meta property=\"og:image\" content=\"https://live.example/card.png\" />",
        "href=\"https://live.example/oembed?url=https%3A%2F%2Flive%2Eexample%2Fwatch%2Fdemo\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let oembed = "/oembed?url=https%3A%2F%2Flive.example%2Fwatch%2Fdemo&maxwidth=320";
    let reply = server.get(oembed).expect(200);
    let embed: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!(
        (&embed["type"], &embed["height"]),
        (&"video".into(), &180.into())
    );
    let html = embed["html"].as_str().unwrap();
    assert!(
        html.contains("src=\"https://live.example/watch/demo?embed=1\""),
        "{html}"
    );
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    server
        .get("/oembed?url=https://other.example/watch/demo")
        .expect(404);
    server.get(&format!("{oembed}&format=xml")).expect(501);
}

#[test]
fn pages_load_only_from_here_and_only_the_player_is_framed() {
    let server = Server::start(&["--http.redirect_viewers", "https://edge.example"]);
    for (path, ancestors, camera) in [
        ("/", "'none'", "camera=()"),
        ("/publish/", "'none'", "camera=(self)"),
        ("/publish/demo?embed=1", "'none'", "camera=(self)"),
        ("/watch/demo", "'none'", "camera=()"),
        ("/watch/demo?embed=1", "*", "camera=()"),
    ] {
        let page = server.get(path).expect(200);
        let policy = page.header("content-security-policy").unwrap();
        let directives: Vec<_> = policy.split("; ").collect();
        let framed = format!("frame-ancestors {ancestors}");
        for wanted in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self' https://edge.example",
            &framed,
        ] {
            assert!(directives.contains(&wanted), "{path}: {wanted} in {policy}");
        }
        let permissions = page.header("permissions-policy").unwrap();
        assert!(permissions.contains(camera), "{path}: {permissions}");
        assert_eq!(page.header("referrer-policy"), Some("same-origin"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("strict-transport-security"), None);
    }
}

#[test]
fn browsers_stay_on_https_if_so_configured() {
    let url = ["--http.public_url", "https://live.example"];
    let server = Server::start(&[&url[..], &["--http.hsts", "8760h"]].concat());
    for path in ["/", "/api/server", "/nothing"] {
        let reply = server.get(path);
        assert_eq!(
            reply.header("strict-transport-security"),
            Some("max-age=31536000")
        );
    }
    let refused = output(aerial(&["serve", "--http.hsts", "8760h"]));
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn files_have_types_and_entity_tags() {
    let server = Server::start(&[]);
    for (path, kind) in [
        ("/js/whip.js", "text/javascript; charset=utf-8"),
        ("/js/whep.js", "text/javascript; charset=utf-8"),
        ("/css/aerial.css", "text/css; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        let reply = server.get(path).expect(200);
        assert_eq!(reply.header("content-type"), Some(kind));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let etag = reply.etag();
        let again = server
            .request("GET", path, &[("If-None-Match", &etag)], "")
            .expect(304);
        assert!(again.body.is_empty());
        assert_eq!(again.etag(), etag);
        server
            .request("GET", path, &[("If-None-Match", "\"other\"")], "")
            .expect(200);
    }
}

#[test]
fn a_folder_can_replace_the_pages_and_nothing_leads_out_of_it() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("outer/web");
    std::fs::create_dir_all(folder.join("js")).unwrap();
    std::fs::write(folder.join("../secret.js"), "secret").unwrap();
    std::fs::write(folder.join("index.html"), "<!doctype html>mine").unwrap();
    std::fs::write(folder.join("js/a.js"), "1").unwrap();
    let server = Server::start(&["--web", folder.to_str().unwrap()]);
    assert_eq!(server.get("/").expect(200).text(), "<!doctype html>mine");
    let reply = server.get("/js/a.js").expect(200);
    server
        .request("GET", "/js/a.js", &[("If-None-Match", &reply.etag())], "")
        .expect(304);
    for path in [
        "/../secret.js",
        "/js/../../secret.js",
        "/js/%2e%2e/%2e%2e/secret.js",
        "/js/..%2fsecret.js",
        "/js",
        "/js/",
        "/js//a.js",
        "//js/a.js",
        "/js/missing.js",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 404, "{path}");
    }
    let output = output(aerial(&["serve", "--web", "/missing"]));
    assert_eq!(output.status.code(), Some(2));
}

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

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().filter_map(|text| Pattern::new(text)).collect()
}

fn grants(publish: &[&str], watch: &[&str]) -> Grants {
    Grants {
        publish: patterns(publish),
        watch: patterns(watch),
        ..Grants::default()
    }
}

fn operator(metrics: bool, admin: bool) -> Grants {
    Grants {
        metrics,
        admin,
        ..Grants::default()
    }
}

fn rule(secret: &str, grants: Grants) -> Rule {
    Rule::for_token(secret, &Secret::new(secret).unwrap(), grants)
}

fn rules_only(rules: Vec<Rule>, public: Option<Vec<Pattern>>) -> Access {
    Access::new(rules, public, Authorities::default())
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn without_rules_everything_is_open() {
    let access = Access::default();
    assert!(access.is_open(Role::Publisher, &name("a")));
    assert!(access.is_open(Role::Viewer, &name("a")));
    assert!(access.is_open_to_viewers());
    assert!(access.holder("", Some(HERE)).is_none());
}

/// Each right is closed by what grants it, and by nothing else.
#[test]
fn a_right_is_open_until_something_grants_it() {
    let network = |grants| Rule::for_networks("lan", vec!["10.0.0.0/8".parse().unwrap()], grants);
    for (rules, publishing_is_open, watching_is_open) in [
        (vec![], true, true),
        (vec![rule("m", operator(true, false))], true, true),
        (vec![rule("a", operator(false, true))], true, true),
        (vec![rule("w", grants(&[], &["*"]))], true, false),
        (vec![rule("p", grants(&["live-*"], &[]))], false, true),
        (vec![rule("b", grants(&["a"], &["b"]))], false, false),
        (vec![network(grants(&["a"], &[]))], false, true),
        (vec![network(grants(&[], &["*"]))], true, false),
    ] {
        let access = rules_only(rules, None);
        let shown = format!("{access:?}");
        assert_eq!(
            access.is_open(Role::Publisher, &name("x")),
            publishing_is_open,
            "{shown}"
        );
        assert_eq!(access.is_open_to_viewers(), watching_is_open, "{shown}");
        assert_eq!(
            access.is_open(Role::Viewer, &name("x")),
            watching_is_open,
            "{shown}"
        );
    }
}

#[test]
fn public_broadcasts_stay_open() {
    let publish = rule("p", grants(&["live-*"], &[]));
    let access = rules_only(vec![publish], Some(patterns(&["lobby", "*-open"])));
    assert!(access.is_open(Role::Viewer, &name("lobby")));
    assert!(access.is_open(Role::Viewer, &name("a-open")));
    assert!(!access.is_open(Role::Viewer, &name("other")));
    assert!(!access.is_open_to_viewers());
}

#[test]
fn tokens_are_for_a_role_and_for_names() {
    let access = rules_only(vec![rule("p", grants(&["live-*"], &["vip"]))], None);
    let known = access.holder("p", Some(HERE)).unwrap();
    assert!(known.may(Role::Publisher, &name("live-1")));
    assert!(!known.may(Role::Viewer, &name("live-1")));
    assert!(known.may(Role::Viewer, &name("vip")));
    assert!(!known.may(Role::Publisher, &name("vip")));
    for wrong in ["", "P", "p ", "pp"] {
        assert!(access.holder(wrong, Some(HERE)).is_none(), "{wrong:?}");
    }
}

#[test]
fn the_same_token_twice_is_for_both() {
    let rules = vec![
        rule("t", grants(&["a"], &[])),
        rule("t", grants(&["b"], &[])),
    ];
    let known = rules_only(rules, None).holder("t", Some(HERE)).unwrap();
    assert!(known.may(Role::Publisher, &name("a")));
    assert!(known.may(Role::Publisher, &name("b")));
    assert_eq!(known.only(Role::Publisher), None);
    assert!(!known.may_any(Role::Viewer));
}

#[test]
fn a_token_for_one_broadcast_names_it() {
    let access = rules_only(vec![rule("k", grants(&["studio"], &["*"]))], None);
    let known = access.holder("k", Some(HERE)).unwrap();
    assert_eq!(known.only(Role::Publisher), Some(name("studio")));
    assert_eq!(known.only(Role::Viewer), None, "a pattern names nothing");
}

#[test]
fn rights_are_apart_from_broadcasts() {
    let access = rules_only(vec![rule("a", operator(false, true))], None);
    let access = access.with(rule("m", operator(true, false)));
    let admin = access.holder("a", Some(HERE)).unwrap();
    let metrics = access.holder("m", Some(HERE)).unwrap();
    assert!(admin.has(Right::Admin) && admin.has(Right::Metrics));
    assert!(metrics.has(Right::Metrics) && !metrics.has(Right::Admin));
    for known in [admin, metrics] {
        assert!(!known.may_any(Role::Publisher) && !known.may_any(Role::Viewer));
    }
    assert!(access.grants(Right::Admin));
    assert!(!Access::default().grants(Right::Metrics));
}

#[test]
fn networks_have_rights_of_their_own_and_limit_tokens() {
    let lan = || vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let access = rules_only(
        vec![
            Rule::for_networks("lan", lan(), grants(&[], &["*"])),
            rule("t", grants(&["studio"], &[])).within(lan()),
        ],
        None,
    );
    let inside: [IpAddr; 2] = ["10.1.2.3".parse().unwrap(), "fd00::1".parse().unwrap()];
    for client in inside {
        let network = access.network(Some(client)).unwrap();
        assert_eq!(network.name(), "lan");
        assert!(network.may(Role::Viewer, &name("a")) && !network.may_any(Role::Publisher));
        let known = access.holder("t", Some(client)).unwrap();
        assert!(known.may(Role::Publisher, &name("studio")));
    }
    let outside: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    for client in outside {
        assert!(access.network(Some(client)).is_none());
        let known = access.holder("t", Some(client)).unwrap();
        assert!(
            !known.may_any(Role::Publisher),
            "known, but good for nothing"
        );
    }
}

//! Changes to offers, and a reader for answers.

/// A session description, split into its sections.
pub(super) struct Sdp<'a> {
    pub(super) session: Vec<&'a str>,
    pub(super) media: Vec<Section<'a>>,
}

/// The lines of one m= section, the m= line first.
pub(super) struct Section<'a>(Vec<&'a str>);

impl<'a> Sdp<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut sdp = Self {
            session: Vec::new(),
            media: Vec::new(),
        };
        for line in text.lines() {
            match sdp.media.last_mut() {
                _ if line.starts_with("m=") => sdp.media.push(Section(vec![line])),
                Some(section) => section.0.push(line),
                None => sdp.session.push(line),
            }
        }
        sdp
    }

    /// The mids of the bundle, the tagged one first.
    pub(super) fn bundle(&self) -> Vec<&'a str> {
        let group = self
            .session
            .iter()
            .find_map(|line| line.strip_prefix("a=group:BUNDLE"));
        group.unwrap_or_default().split_whitespace().collect()
    }

    pub(super) fn section(&self, mid: &str) -> &Section<'a> {
        let found = self.media.iter().find(|section| section.mid() == mid);
        found.unwrap_or_else(|| panic!("no section {mid}"))
    }
}

impl<'a> Section<'a> {
    /// The words of the m= line: medium, port, protocol, formats.
    pub(super) fn words(&self) -> Vec<&'a str> {
        self.0[0][2..].split(' ').collect()
    }

    pub(super) fn medium(&self) -> &'a str {
        self.words()[0]
    }

    pub(super) fn port(&self) -> &'a str {
        self.words()[1]
    }

    pub(super) fn formats(&self) -> Vec<&'a str> {
        self.words()[3..].to_vec()
    }

    pub(super) fn mid(&self) -> &'a str {
        self.value("mid").unwrap_or_default()
    }

    /// The values of an attribute, in order.
    pub(super) fn values(&self, name: &str) -> Vec<&'a str> {
        let value = |line: &&'a str| {
            line.strip_prefix("a=")?
                .strip_prefix(name)?
                .strip_prefix(':')
        };
        self.0.iter().filter_map(value).collect()
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.values(name).first().copied()
    }

    /// The value of an attribute of one format.
    pub(super) fn of_format(&self, name: &str, format: &str) -> Option<&'a str> {
        self.values(name)
            .into_iter()
            .find_map(|value| value.strip_prefix(format)?.strip_prefix(' '))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.0
            .iter()
            .any(|line| line.strip_prefix("a=") == Some(flag))
    }

    pub(super) fn direction(&self) -> &'a str {
        let mut found = ["sendrecv", "sendonly", "recvonly", "inactive"]
            .into_iter()
            .filter(|direction| self.has(direction));
        let direction = found.next().unwrap_or("sendrecv");
        assert_eq!(found.next(), None, "one direction");
        direction
    }
}

/// Whether all lines of the text with this prefix are equal.
pub(super) fn all_equal(text: &str, start: &str) -> bool {
    let mut found = text.lines().filter(|line| line.starts_with(start));
    let first = found.next();
    first.is_some() && found.all(|line| Some(line) == first)
}

/// The text without the lines with this prefix.
pub(super) fn without(text: &str, start: &str) -> String {
    text.split_inclusive("\r\n")
        .filter(|line| !line.starts_with(start))
        .collect()
}

/// The text without its m= section of this medium, which also leaves the bundle.
pub(super) fn without_section(text: &str, medium: &str) -> String {
    let start = text.find(&format!("m={medium} ")).unwrap();
    let rest = &text[start..];
    let end = rest.find("\r\nm=").map_or(rest.len(), |end| end + 2);
    let mid = Sdp::of(rest).media[0].mid().to_owned();
    let text = format!("{}{}", &text[..start], &rest[end..]);
    let lines = text.split_inclusive("\r\n").map(|line| {
        if line.starts_with("a=group:BUNDLE") {
            line.replace(&format!(" {mid}"), "")
        } else {
            line.to_owned()
        }
    });
    lines.collect()
}

/// The text with its sections in reverse order, and the bundle in the new order.
pub(super) fn reversed(text: &str) -> String {
    let mut sections: Vec<_> = text.split("\r\nm=").collect();
    let session = sections.remove(0);
    sections.reverse();
    let sections = sections.iter().map(|section| {
        let section = section.trim_end();
        format!("m={section}\r\n")
    });
    format!("{session}\r\n{}", sections.collect::<String>())
        .replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0")
}

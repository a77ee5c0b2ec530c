//! What proxies append to a request: where it came from, and to which URL it was sent. Pure; other
//! modules decide whom to believe.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ::http::{HeaderMap, HeaderName, header};

use crate::client::{ClientAddress, ForwardedHeader};

/// `X-Forwarded-For`, which most proxies send.
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Longest host, in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// What the proxies on a request's way have said, the nearest one last.
pub(super) struct Chain {
    /// Whom each got it from; `None` for what is not an address.
    pub(super) clients: Vec<Option<ClientAddress>>,
    /// Over which scheme.
    schemes: Vec<Option<String>>,
    /// At which host.
    hosts: Vec<Option<String>>,
}

impl Chain {
    /// Reads only this header, or this family of headers: the other may be the client's own.
    pub(super) fn of(headers: &HeaderMap, header: ForwardedHeader) -> Self {
        match header {
            ForwardedHeader::XForwardedFor => Self {
                clients: values(headers, &X_FORWARDED_FOR, node),
                schemes: values(headers, &X_FORWARDED_PROTO, scheme),
                hosts: values(headers, &X_FORWARDED_HOST, host),
            },
            ForwardedHeader::Forwarded => Self {
                clients: parameters(headers, "for", node),
                schemes: parameters(headers, "proto", scheme),
                hosts: parameters(headers, "host", host),
            },
        }
    }

    /// The scheme and host that the client used, according to the outermost of this many proxies.
    pub(super) fn site(&self, proxies: usize) -> Option<String> {
        let scheme = outermost(&self.schemes, proxies)?;
        let host = outermost(&self.hosts, proxies)?;
        Some(format!("{scheme}://{host}"))
    }
}

/// What the outermost of this many proxies has said. If there are fewer values, not all of them
/// have added one.
fn outermost(values: &[Option<String>], proxies: usize) -> Option<&str> {
    let index = values.len().saturating_sub(proxies);
    values.get(index)?.as_deref()
}

/// The values of a list, in order; several lines are one list.
fn values<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<T>,
) -> Vec<Option<T>> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(|value| read(std::str::from_utf8(value).ok()?))
        .collect()
}

/// A parameter of the elements of `Forwarded` (RFC 7239 §4), in order; `None` for elements without
/// it.
fn parameters<T>(headers: &HeaderMap, wanted: &str, read: fn(&str) -> Option<T>) -> Vec<Option<T>> {
    let lines = headers.get_all(header::FORWARDED).iter();
    let mut values = Vec::new();
    for line in lines {
        // A quote that a client has left open would hide what its proxy appends.
        let line = line.to_str().ok().filter(|line| is_balanced(line));
        let Some(line) = line else {
            values.push(None);
            continue;
        };
        values.extend(split(line, ',').map(|element| {
            let mut pairs = split(element, ';').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
            read(value)
        }));
    }
    values
}

/// Whether text that is read so far ends within quotes.
#[derive(Default)]
struct Quotes {
    is_open: bool,
    is_escaped: bool,
}

impl Quotes {
    fn read(&mut self, c: char) {
        let is_escaped = std::mem::take(&mut self.is_escaped);
        match c {
            '\\' if self.is_open && !is_escaped => self.is_escaped = true,
            '"' if !is_escaped => self.is_open = !self.is_open,
            _ => {}
        }
    }
}

/// Whether every quote is closed.
fn is_balanced(text: &str) -> bool {
    let mut quotes = Quotes::default();
    text.chars().for_each(|c| quotes.read(c));
    !quotes.is_open
}

/// Splits at a separator outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quotes = Quotes::default();
    text.split(move |c: char| {
        quotes.read(c);
        c == separator && !quotes.is_open
    })
}

/// A value without spaces and quotes around it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let unquoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    unquoted.unwrap_or(text)
}

/// An address, with or without quotes, brackets and port. `unknown` and made-up names are none
/// (RFC 7239 §6).
fn node(text: &str) -> Option<ClientAddress> {
    let text = bare(text);
    let address = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || {
        let address: SocketAddr = address.parse().ok()?;
        Some(address.ip())
    };
    let address = address.parse::<IpAddr>().ok().or_else(with_port)?;
    Some(ClientAddress::new(address))
}

/// A scheme that this server can be reached over.
fn scheme(text: &str) -> Option<String> {
    let scheme = bare(text).to_ascii_lowercase();
    ["http", "https"]
        .contains(&scheme.as_str())
        .then_some(scheme)
}

/// A host that can stand in a URL as it is, with or without a port.
fn host(text: &str) -> Option<String> {
    let text = bare(text);
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    (is_host(name) && port.is_none_or(is_port)).then(|| text.to_ascii_lowercase())
}

fn is_host(name: &str) -> bool {
    let bracketed = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(is_harmless)
    };
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}
